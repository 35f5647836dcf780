"""What measuring a language model returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from focalnets.data.text.passages import Passages
from focalnets.tasks.evaluation import Failure, Measured
from focalnets.tasks.metric import PlainFigures

__all__ = ["Evaluation", "PassageScore", "make_evaluation"]


@dataclasses.dataclass(frozen=True)
class PassageScore:
    """How a passage surprised.

    Attributes:
        number: Of the passage in the text, from 0.
        nats: Mean over its tokens.
        text: The passage.
    """

    number: int
    nats: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A language model measured on a text.

    Attributes:
        inputs: Passages.
        tokens, bytes, characters: What was predicted in all.
        metrics: ``nats`` a token, ``perplexity``, ``bits_per_byte`` and ``bits_per_character``.
        loss: Mean over the passages of nats a token.
        by_position: Tokens read before, nats a token there, and how many tokens that is.
        surprising, expected: The passages that surprised most and least, in that order.
        preprocessing: How the text was read.
        left_out: Always empty: a text is read whole or not at all.
        model: Where the weights came from, in words.
        seconds: Duration, with reading.
    """

    inputs: int
    tokens: int
    bytes: int
    characters: int
    metrics: Mapping[str, float]
    loss: float | None
    by_position: tuple[tuple[int, float, int], ...]
    surprising: tuple[PassageScore, ...]
    expected: tuple[PassageScore, ...]
    preprocessing: dict[str, Any]
    left_out: tuple[Failure, ...] = ()
    model: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **dataclasses.asdict(self),
            "by_position": [
                {"tokens_before": place, "nats": nats, "tokens": count} for place, nats, count in self.by_position
            ],
            "left_out": [failure.to_dict() for failure in self.left_out],
        }

    def figures(self) -> PlainFigures:
        """Sum up the evaluation in one line."""
        return PlainFigures(self.inputs, self.metrics, self.loss)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return heading and rows of what is worth a table on a terminal: what context helps."""
        chosen = [row for row in self.by_position if row[0] & (row[0] - 1) == 0 or row is self.by_position[-1]]
        return ["tokens read before", "nats"], [[f"{place:,}", f"{nats:.3f}"] for place, nats, _ in chosen]


def make_evaluation(measured: Measured, *, worst: int) -> Evaluation:
    """Put together an evaluation from what one pass gathered.

    Args:
        measured: With the nats of each passage as answers.
        worst: Passages to keep of each kind, at most.
    """
    metric: Any = next(iter(measured.metrics.values()))
    order = sorted(range(len(measured.answers)), key=lambda place: -measured.answers[place])
    data: Any = measured.data

    def score(place: int) -> PassageScore:
        number = measured.indices[place]
        text = data.text(number) if isinstance(data, Passages) else ""
        return PassageScore(number, measured.answers[place], text)

    preprocessing = measured.preprocessing
    preprocessing["tokenizer"] = ""  # It stands in the checkpoint, and may be long.
    return Evaluation(
        inputs=len(measured.answers),
        tokens=int(metric.counts.sum()),
        bytes=int(metric.byte_count),
        characters=int(metric.character_count),
        metrics={name: float(value) for name, value in measured.metrics.compute().items()},
        loss=measured.loss,
        by_position=tuple(metric.by_position()),
        surprising=tuple(map(score, order[:worst])),
        expected=tuple(map(score, order[::-1][:worst])),
        preprocessing=preprocessing,
        left_out=measured.left_out,
        model=measured.model,
        seconds=measured.seconds,
    )
