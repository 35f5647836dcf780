"""Names of the classes of ImageNet-1K and ImageNet-22K, in the order of the published classifiers.

The published classifiers of ImageNet-22K have 21,842 outputs: the 1,000 classes of ImageNet-1K in their usual order,
then all others by WordNet id. The label map that was published with them has 21,841 lines: class 850 (n04399382, teddy)
of ImageNet-1K is absent from it, and so from the training data of ImageNet-22K, but it has its output.

Names and ids are those of WordNet 3.0, see ``NOTICE`` beside this file.
"""

from __future__ import annotations

import collections
import functools
import lzma
from collections.abc import Sequence
from importlib import resources
from typing import Literal

from focalnets.errors import ConfigError, UnknownNameError, nearest

__all__ = ["LABEL_MAP_GAP", "as_class_names", "class_names", "names_for_outputs", "readable_names", "wordnet_ids"]

Dataset = Literal["imagenet1k", "imagenet22k"]

LABEL_MAP_GAP = 850
"""Output of the 22K classifiers that has no line in the official label map."""

_SIZES: dict[str, int] = {"imagenet1k": 1000, "imagenet22k": 21842}


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """One English name an output; names that occur twice carry their WordNet id.

    Args:
        dataset: ``imagenet1k`` (1,000 names) or ``imagenet22k`` (21,842 names).

    Raises:
        UnknownNameError: If the data set is another one.
    """
    rows = _rows(dataset)
    counts = collections.Counter(name for _, name in rows)
    return tuple(name if counts[name] == 1 else f"{name} ({identity})" for identity, name in rows)


def wordnet_ids(dataset: Dataset) -> tuple[str, ...]:
    """One WordNet id an output, such as ``n01440764``; the folder names of the data set."""
    return tuple(identity for identity, _ in _rows(dataset))


def names_for_outputs(outputs: int) -> tuple[tuple[str, ...], str] | None:
    """Class names that a published classifier with that many outputs has, with a note; None for other numbers."""
    if outputs == 1000:
        return class_names("imagenet1k"), "1000 outputs are taken for the classes of ImageNet-1K."
    if outputs == _SIZES["imagenet22k"]:
        return class_names("imagenet22k"), "21842 outputs are taken for the classes of ImageNet-22K."
    if outputs == _SIZES["imagenet22k"] - 1:
        names = class_names("imagenet22k")
        note = "21841 outputs are taken for the lines of the official ImageNet-22K label map, without n04399382."
        return names[:LABEL_MAP_GAP] + names[LABEL_MAP_GAP + 1 :], note
    return None


def as_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes as a tuple; a single text is refused, which would be taken for its letters.

    Raises:
        ConfigError: If they are something else.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"class_names must be a list of texts, one for each class, got {names!r:.80}.")
    return tuple(names)


def readable_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of folders as people write them: spaces for underscores, the first English name for a WordNet id.

    Where two would become the same, all stay as they are.
    """
    english = {identity: name.partition(",")[0] for identity, name in _table()}
    readable = tuple(english.get(name, name.replace("_", " ").strip()) for name in names)
    return readable if len(set(readable)) == len(set(names)) else tuple(names)


def _rows(dataset: str) -> tuple[tuple[str, str], ...]:
    if dataset not in _SIZES:
        listing = f"names are known for {' and '.join(_SIZES)}."
        raise UnknownNameError(f"No class names are known for {dataset!r}; {nearest(dataset, _SIZES, listing)}")
    return _table()[: _SIZES[dataset]]


@functools.cache
def _table() -> tuple[tuple[str, str], ...]:
    packed = resources.files("focalnets").joinpath("imagenet22k.tsv.xz").read_bytes()
    lines = lzma.decompress(packed).decode("utf-8").splitlines()
    return tuple((identity, name) for identity, _, name in (line.partition("\t") for line in lines))
