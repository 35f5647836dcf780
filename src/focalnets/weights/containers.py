"""Which of the things that a training script saved is the network: state dicts within dicts, averaged and raw ones."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import CheckpointError, quoted_list
from focalnets.models.fields import printable
from focalnets.weights.assembly import is_dense
from focalnets.weights.key_maps import find_networks

__all__ = ["choose_tensors", "tensors_below"]

_DEEPEST = 4
_OF_OPTIMISERS = re.compile(r"optim|scheduler|scaler|callbacks|loops|^amp$|rng", re.IGNORECASE)
_AVERAGED = re.compile(r"(?:^|[._])(?:ema|averaged?|avg|swa)(?:$|[._])", re.IGNORECASE)
_RAW = {
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "params",
    "weights",
    "module",
    "generator",
}
_USUAL = ("state_dict_ema", "model_ema", "model", "state_dict", "model_state_dict", "net", "network", "params")


@dataclasses.dataclass(frozen=True)
class _StateDict:
    """Named tensors at one place of what was saved.

    Attributes:
        keys: The way to them.
        entries: Everything there.
        tensors: What of it is tensors.
    """

    keys: tuple[Any, ...]
    entries: Mapping[Any, Any]
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The way, as users write it."""
        return ".".join(map(str, self.keys))


def choose_tensors(content: Any, path: Path, entry: str | None = None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find the state dict in what a training script saved.

    Entries that hold a FocalNet are looked for under any name, some levels deep; optimisers are passed over. Of an
    averaged and a raw network the averaged one is taken. Where none holds a FocalNet, the usual names decide.

    Args:
        content: What was read.
        path: The file, for messages.
        entry: The entry to take, ``name`` or ``name.name``; or what the names of its tensors begin with.

    Returns:
        The tensors by name, and notes on what was taken and what was left.

    Raises:
        CheckpointError: If there are no named tensors, no such entry, or several networks and it is not clear which one
            is meant.
    """
    found = _state_dicts(content)
    if not found:
        raise CheckpointError(f"{path} holds no named tensors; a state dict is expected.")
    if entry is None:
        chosen = _exchanged(found, content) or _choose(found, path)
    else:
        named = next((candidate for candidate in found if candidate.name == entry), None)
        if named is None:
            return _below(found, entry, path)
        chosen = named
    notes = []
    place = content
    for key in chosen.keys:
        if others := sorted(printable(str(other)) for other in place if other != key):
            notes.append(f"Of the entries of {path.name}, {key!r} was used and not {', '.join(others)}.")
        place = place[key]
    if left := [printable(str(name)) for name in chosen.entries if name not in chosen.tensors]:
        notes.append(f"{len(left)} entries that are no tensors were left out: {', '.join(left[:5])}.")
    return chosen.tensors, tuple(notes)


def tensors_below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names begin with a prefix and a dot, without it."""
    start = f"{prefix.rstrip('.')}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _state_dicts(content: Any) -> list[_StateDict]:
    """List places that hold named tensors, those on top first."""
    found: list[_StateDict] = []
    seen: set[int] = set()
    waiting: collections.deque[tuple[tuple[Any, ...], Any]] = collections.deque([((), content)])
    while waiting:
        keys, entries = waiting.popleft()
        if not isinstance(entries, Mapping) or id(entries) in seen:
            continue
        seen.add(id(entries))
        tensors = {
            key: value
            for key, value in entries.items()
            # Lists of tensors that torch calls a tensor have no shape.
            if isinstance(key, str) and isinstance(value, Tensor) and not value.is_nested
        }
        if tensors:
            found.append(_StateDict(keys, entries, tensors))
        if len(keys) < _DEEPEST:
            waiting.extend(
                ((*keys, key), value) for key, value in entries.items() if not _OF_OPTIMISERS.search(str(key))
            )
    return found


def _choose(found: Sequence[_StateDict], path: Path) -> _StateDict:
    networks = [candidate for candidate in found if find_networks(candidate.tensors)]
    if not networks:
        usual = {candidate.name: candidate for candidate in found}
        return next((usual[name] for name in _USUAL if name in usual), found[0])
    averaged = [candidate for candidate in networks if _AVERAGED.search(candidate.name)]
    raw = [candidate for candidate in networks if candidate not in averaged]
    if len(averaged) == 1 and all(not candidate.keys or candidate.keys[-1] in _RAW for candidate in raw):
        return averaged[0]
    if all(_equal(candidate.tensors, networks[0].tensors) for candidate in networks[1:]):
        return networks[0]
    names = [printable(candidate.name) for candidate in networks if candidate.name]
    raise CheckpointError(
        f"{path} holds several networks, {quoted_list(names)}, and it is not clear which one is meant; name it: "
        f"entry={names[0]!r} for focalnets.load_model, --entry {names[0]} for `focalnets convert`."
    )


def _exchanged(found: Sequence[_StateDict], content: Any) -> _StateDict | None:
    """Find the averaged network that mmengine, alone among all, keeps as ``state_dict`` beside ``ema_state_dict``."""
    if not isinstance(content, Mapping) or not {"message_hub", "ema_state_dict"} <= set(map(str, content)):
        return None
    return next((candidate for candidate in found if candidate.keys == ("state_dict",)), None)


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[name] is second[name]
        or (is_dense(first[name]) and is_dense(second[name]) and torch.equal(first[name], second[name]))
        for name in first
    )


def _below(found: Sequence[_StateDict], entry: str, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take the tensors whose names begin with what was asked for, from the state dict that has such."""
    for candidate in found:
        start = f"{candidate.name}." if candidate.name else ""
        for prefix in (entry, entry.removeprefix(start)):
            if tensors := tensors_below(candidate.tensors, prefix):
                return tensors, (f"Of {path.name}, the tensors under {entry!r} were used, as asked for.",)
    names = [printable(candidate.name) for candidate in found if candidate.name]
    offer = f"there are {quoted_list(names)}" if names else "it holds one state dict"
    raise CheckpointError(f"{path} has no entry {entry!r} with named tensors; {offer}.")
