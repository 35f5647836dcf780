"""What people call the parts of a data set: the one table of names for folders, columns of tables and shards."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["SplitRole", "is_split_name", "rank_of_name", "role_of_name", "role_of_shard"]

SplitRole = Literal["train", "val", "test"]
"""``train`` trains; ``val`` is held out; ``test`` is held out where there is no ``val``, and not used beside it."""

_NAMES: dict[SplitRole, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "val": ("val", "validation", "valid", "validate", "dev", "development", "eval", "evaluation", "holdout", "heldout"),
    "test": ("test", "testing", "tst"),
}
"""Names of each part; of several in one place the first is meant."""

_TAILS = ("set", "data", "split", "images", "folder", "")
"""What may follow a name, as in train_set."""

_ROLES = {name + tail: role for role, names in _NAMES.items() for name in names for tail in _TAILS}
_RANKS = {name + tail: rank for names in _NAMES.values() for rank, name in enumerate(names) for tail in _TAILS}
_YEAR = re.compile(r"(19|20)\d\d$")


def role_of_name(name: str) -> SplitRole | None:
    """The part that a name means, whatever its case, e.g. val for ``VALID``, ``val_set`` or ``Val2017``.

    None if it means none.
    """
    return _ROLES.get(_plain(name))


def is_split_name(name: str) -> bool:
    """Whether this is the name of a part of a data set."""
    return role_of_name(name) is not None


def rank_of_name(name: str) -> tuple[int, str]:
    """Sorts several names of one part, the one that is meant first."""
    return _RANKS.get(_plain(name), len(_RANKS)), name


def role_of_shard(name: str) -> SplitRole | None:
    """The part that the name of a shard means by the first of its words, e.g. train for ``imagenet-train-000.tar``."""
    for word in re.findall(r"[^\W\d_]+", name.rpartition(".")[0] or name):
        role = role_of_name(word)
        if role is not None:
            return role
    return None


def _plain(name: str) -> str:
    return _YEAR.sub("", re.sub(r"[\s_.-]", "", name.casefold()))
