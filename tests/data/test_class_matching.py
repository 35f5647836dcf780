"""Folders by name, WordNet id or in another spelling mean the classes that they should, and nothing else."""

from __future__ import annotations

import pytest

from focalnets.class_names import class_names, wordnet_ids
from focalnets.data.class_matching import match_classes
from focalnets.errors import DataError

IDS = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413", "n03445777",
    "n03888257",
)  # fmt: skip
WORDS = (
    "tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck", "gas pump",
    "golf ball", "parachute",
)  # fmt: skip
UNDERSCORES = tuple(name.replace(" ", "_") for name in WORDS)


@pytest.mark.parametrize("names", [IDS, WORDS, UNDERSCORES], ids=["ids", "words", "underscores"])
@pytest.mark.parametrize("classes", [IDS, WORDS, UNDERSCORES], ids=["ids", "words", "underscores"])
def test_imagenette_by_any_name(names, classes):
    assert list(match_classes(names, classes, "x").values()) == list(range(10))
    backwards = match_classes(names[::-1], classes, "x")
    assert [backwards[name] for name in names] == list(range(10))


@pytest.mark.parametrize("dataset", ["imagenet1k", "imagenet22k"])
def test_the_published_classifiers_know_the_folders_of_imagenet(dataset):
    ids, classes = wordnet_ids(dataset), class_names(dataset)
    assert list(match_classes(ids, classes, "x").values()) == list(range(len(classes)))
    expected = [ids.index(identity) for identity in IDS]
    for names in (IDS, WORDS, UNDERSCORES):
        assert list(match_classes(names, classes, "x").values()) == expected


def test_a_class_of_just_that_name_goes_first():
    classes = ("red", "Red", "a_b", "a b")
    assert match_classes(["Red", "a b"], classes, "x") == {"Red": 1, "a b": 3}


@pytest.mark.parametrize("name", ["RED", "A B", "crane", "n03126707"])
def test_what_could_mean_two_classes_or_none_is_refused(name):
    classes = ("red", "Red", "a_b", "a b", "crane (machine)")
    with pytest.raises(DataError, match="no class of the network"):
        match_classes([name], classes, "x")
    with pytest.raises(DataError, match="'crane'"):
        match_classes(["crane"], class_names("imagenet1k"), "x")
