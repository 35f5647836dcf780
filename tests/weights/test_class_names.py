"""The packaged class names, checked against independent lists."""

from __future__ import annotations

import pytest

from focalnets.class_names import LABEL_MAP_GAP, class_names, names_for_outputs, readable_names, wordnet_ids
from focalnets.errors import UnknownNameError


def test_sizes_and_order() -> None:
    assert len(class_names("imagenet1k")) == len(wordnet_ids("imagenet1k")) == 1000
    assert len(class_names("imagenet22k")) == len(set(wordnet_ids("imagenet22k"))) == 21842
    assert wordnet_ids("imagenet22k")[:1000] == wordnet_ids("imagenet1k")
    rest = wordnet_ids("imagenet22k")[1000:]
    assert list(rest) == sorted(rest)


@pytest.mark.parametrize(
    ("index", "identity", "start"),
    [
        (0, "n01440764", "tench"),
        (1, "n01443537", "goldfish"),
        (281, "n02123045", "tabby"),
        (850, "n04399382", "teddy"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_well_known_classes(index: int, identity: str, start: str) -> None:
    assert wordnet_ids("imagenet1k")[index] == identity
    assert class_names("imagenet1k")[index].startswith(start)


def test_agreement_with_torchvision() -> None:
    """Its names are the first lemma of each class, apart from those that would occur twice."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    renamed = [
        (ours, theirs)
        for ours, theirs in zip(class_names("imagenet1k"), _IMAGENET_CATEGORIES, strict=True)
        if ours.split(", ")[0].split(" (")[0] != theirs
    ]
    assert len(renamed) <= 10, renamed


def test_agreement_with_timm() -> None:
    from timm.data import ImageNetInfo

    assert wordnet_ids("imagenet22k") == tuple(ImageNetInfo("imagenet-22k-ms").label_names())
    assert wordnet_ids("imagenet1k") == tuple(ImageNetInfo("imagenet-1k").label_names())


def test_names_are_unique() -> None:
    for dataset in ("imagenet1k", "imagenet22k"):
        names = class_names(dataset)  # type: ignore[arg-type]
        assert len(set(names)) == len(names)
    assert class_names("imagenet1k")[134] == "crane (n02012849)"


def test_the_label_map_lacks_the_teddy() -> None:
    complete, lacking = class_names("imagenet22k"), names_for_outputs(21841)
    assert lacking is not None
    assert complete[LABEL_MAP_GAP] not in lacking[0]
    assert lacking[0][LABEL_MAP_GAP] == complete[LABEL_MAP_GAP + 1]
    assert len(lacking[0]) == 21841
    assert names_for_outputs(10) is None


def test_other_data_sets_are_unknown() -> None:
    with pytest.raises(UnknownNameError, match="imagenet1k and imagenet22k"):
        class_names("cifar10")  # type: ignore[arg-type]


def test_names_of_folders_become_readable() -> None:
    assert readable_names(("n02102040", "French_horn", "red, large")) == (
        "English springer",
        "French horn",
        "red, large",
    )
    assert readable_names(("n02012849", "n03126707")) == ("n02012849", "n03126707")  # both are cranes
    assert readable_names(("a_b", "a b")) == ("a_b", "a b")
