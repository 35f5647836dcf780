"""What a comparison of language models found, as typed results that are kept in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from focalnets.compare.language.recall import Recall
from focalnets.compare.language.speed import LanguageSpeed
from focalnets.compare.language.training import TextTraining
from focalnets.errors import ConfigError
from focalnets.files import csv_text, read_json, write_json, write_text

__all__ = ["LanguageComparison", "LanguageRow", "read_language_comparison"]

FILE = "language.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """One network.

    Attributes:
        model: Its name, as typed.
        summary: What it is.
        parameters: Learnt numbers, with the vocabulary of the text if there is one.
        training: What it learnt; None if there is no text.
        recall: What it recalls; None if that was not asked for.
        speed: What it costs.
    """

    model: str
    summary: str
    parameters: int
    training: TextTraining | None = None
    recall: Recall | None = None
    speed: LanguageSpeed | None = None


@dataclasses.dataclass
class LanguageComparison:
    """All networks of a folder.

    Attributes:
        setting: What the rows share: ``machine``, ``speed``, ``recall`` and ``training``; a part is None where that was
            not asked for.
        origin: Command, date and duration of the newest call.
        rows: By name, in the order in which they were first asked for.
    """

    setting: dict[str, Any]
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: dict[str, LanguageRow] = dataclasses.field(default_factory=dict)

    @property
    def lengths(self) -> list[int]:
        """Tokens read before texts were continued."""
        return list(self.setting["speed"]["lengths"])

    def add(self, row: LanguageRow) -> None:
        """Take a row in; what it leaves open stays as it was."""
        before = self.rows.get(row.model)
        if before is not None:
            parts = ("training", "recall", "speed")
            kept = {name: getattr(before, name) for name in parts if getattr(row, name) is None}
            row = dataclasses.replace(row, **kept)
        self.rows[row.model] = row

    def sorted_rows(self) -> list[LanguageRow]:
        """Sort the rows: what learnt the text best comes first."""
        return sorted(self.rows.values(), key=lambda row: _nats(row) or float("inf"))

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain values that survive JSON."""
        rows = [_plain(dataclasses.asdict(row)) for row in self.rows.values()]
        return {"setting": self.setting, "origin": self.origin, "rows": rows}

    def to_csv(self) -> str:
        """Format as CSV, one line a network."""
        heading = [
            "model", "parameters", "nats_mean", "nats_low", "nats_high", "nats_by_seed", "learning_rate", "training_s",
            "recall", "recall_learning_rate", "training_tokens_per_s",
        ]  # fmt: skip
        for length in self.lengths:
            heading += [f"generation_tokens_per_s_at_{length}", f"state_bytes_at_{length}"]
        heading.append("failed")
        lines = []
        for row in self.sorted_rows():
            training, recall, speed = row.training, row.recall, row.speed
            low, high = (None, None) if training is None or training.interval is None else training.interval
            by_seed = "" if training is None else " ".join(f"{nats:.6g}" for _, nats in sorted(training.nats.items()))
            line: list[Any] = [
                row.model, row.parameters, _nats(row), low, high, by_seed,
                None if training is None else training.learning_rate, None if training is None else training.training_s,
                None if recall is None else recall.fraction, None if recall is None else recall.learning_rate,
                None if speed is None else speed.training["median"],
            ]  # fmt: skip
            for length in self.lengths:
                line += (
                    [None, None] if speed is None else [speed.generation[length]["median"], speed.state_bytes[length]]
                )
            lines.append([*line, "" if training is None else "; ".join(training.failed)])
        return csv_text(heading, lines)

    def write(self, folder: Path) -> None:
        """Write ``language.json`` and ``language.csv``, whole or not at all."""
        write_json(folder / FILE, self.to_dict())
        write_text(folder / "language.csv", self.to_csv())


def read_language_comparison(folder: Path, setting: Mapping[str, Any] | None) -> LanguageComparison:
    """Read what is kept in ``folder``; nothing yet gives an empty comparison.

    Args:
        folder: Of the comparison.
        setting: What new rows will be measured under; None takes what is there as it is.

    Raises:
        ConfigError: If the file there is damaged or was made under another setting.
    """
    file = folder / FILE
    if not file.exists():
        return LanguageComparison(dict(setting or {}))
    try:
        content = read_json(file)
        known = LanguageComparison(dict(content["setting"]), content["origin"])
        for row in content["rows"]:
            known.rows[row["model"]] = _row(row)
        known.to_csv()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"'{file}' cannot be read ({type(error).__name__}); measure again with --fresh or name another --output."
        ) from error
    if setting is None:
        return known
    differing = [
        name
        for name, part in setting.items()
        if None not in (part, known.setting.get(name)) and part != known.setting[name]
    ]
    if differing:
        raise ConfigError(
            f"'{folder}' holds measurements made under another setting ({', '.join(differing)}), which must not stand "
            "beside new ones; name another --output, or measure all again with --fresh."
        )
    known.setting |= {name: part for name, part in setting.items() if part is not None}
    return known


def _nats(row: LanguageRow) -> float | None:
    return None if row.training is None else row.training.mean


def _plain(value: Any) -> Any:
    """Make names of the keys of mappings, and lists of tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _numbered(kind: type, values: Mapping[str, Any]) -> dict[Any, Any]:
    return {kind(key): value for key, value in values.items()}


def _pairs(values: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(tuple(each) for each in values)


def _row(values: dict[str, Any]) -> LanguageRow:
    """Undo what JSON has done: it made texts of numbers that are keys, and lists of tuples."""
    training, recall, speed = values.pop("training"), values.pop("recall"), values.pop("speed")
    if training is not None:
        training |= {"by_rate": _numbered(float, training["by_rate"]), "nats": _numbered(int, training["nats"])}
        training |= {"curve": _pairs(training["curve"]), "failed": tuple(training["failed"])}
        training["interval"] = training["interval"] and tuple(training["interval"])
    if recall is not None:
        recall["by_rate"] = _numbered(float, recall["by_rate"])
    if speed is not None:
        speed |= {name: _numbered(int, speed[name]) for name in ("generation", "state_bytes")}
    return LanguageRow(
        **values,
        training=None if training is None else TextTraining(**training),
        recall=None if recall is None else Recall(**recall),
        speed=None if speed is None else LanguageSpeed(**speed),
    )
