"""Which class of a network a folder or label of some data means."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence, Set

from focalnets.class_names import class_names, wordnet_ids
from focalnets.errors import DataError, quoted_list

__all__ = ["known_classes", "match_classes"]


def match_classes(names: Sequence[str], classes: Sequence[str], place: str) -> dict[str, int]:
    """Index of the class that each name means.

    A name that is a class means it. Others are compared without regard to capitals, underscores and spaces, and classes
    of ImageNet by their WordNet id and by each of their names: n02102040, English_springer and the published
    classifiers' "English springer, English springer spaniel" are the same. A full name goes before one name of several;
    what could still mean two classes means none.

    Args:
        names: Folders or labels of the data.
        classes: Names of the network's classes.
        place: What errors call the data.

    Raises:
        DataError: If a name is no class of the network; lists both.
    """
    found = known_classes(names, classes)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise DataError(
            f"'{place}' holds folders or labels that are no class of the network: {quoted_list(unknown)}; its "
            f"{len(classes)} classes are {quoted_list(classes)}."
        )
    return found


def known_classes(names: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Find the index of the class that each name means, as :func:`match_classes`; names that mean none are left out."""
    found = {name: index for index, name in enumerate(classes)}
    for keys in (_full_keys, _all_keys):
        if set(names) <= set(found):
            break
        meant: dict[str, set[int]] = defaultdict(set)
        for index, name in enumerate(classes):
            for key in keys(name):
                meant[key].add(index)
        for name in names:
            candidates = {index for key in keys(name) for index in meant.get(key, ())}
            if name not in found and len(candidates) == 1:
                found[name] = candidates.pop()
    return {name: found[name] for name in names if name in found}


def _full_keys(name: str) -> Set[str]:
    """The name in its plainest spelling, and the WordNet id of the class of ImageNet that is called just so."""
    full = _wordnet()[0]
    plain = _plain(name)
    return {plain, full.get(name) or full.get(plain) or plain}


def _all_keys(name: str) -> Set[str]:
    """The same, and the ids of all classes of ImageNet-1K that have this among their names."""
    return _full_keys(name) | _wordnet()[1].get(_plain(name), set())


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


@functools.cache
def _wordnet() -> tuple[dict[str, str], dict[str, set[str]]]:
    """WordNet id by full name of a class of ImageNet, as it is or plain, and ids by each single name in ImageNet-1K."""
    full: dict[str, str] = {}
    for dataset in ("imagenet22k", "imagenet1k"):
        by_name = dict(zip(class_names(dataset), wordnet_ids(dataset), strict=True))
        full |= {_plain(name): identity for name, identity in by_name.items()} | by_name
    single: dict[str, set[str]] = defaultdict(set)
    for identity, name in zip(wordnet_ids("imagenet1k"), class_names("imagenet1k"), strict=True):
        for part in name.partition(" (n")[0].split(","):
            single[_plain(part)].add(identity)
    return full, dict(single)
