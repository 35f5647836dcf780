"""Saying what a network answers to sequences, whatever they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focalnets.data.inputs import Input
from focalnets.tasks.evaluation import Failure
from focalnets.tasks.results import Predicted, Results
from focalnets.tasks.running import predict, spec_at
from focalnets.tasks.trained import TrainedNetwork

__all__ = ["predict_sequences"]


def predict_sequences(
    trained: TrainedNetwork,
    sequences: Sequence[tuple[str, Any]],
    failures: Sequence[Failure] = (),
    *,
    batch_size: int | None = None,
    size: int | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Results:
    """Say what a network answers to sequences, in their order.

    Args:
        trained: The network, with its task.
        sequences: What each is called, and the sequence itself as the task's data has it.
        failures: What could not be read.
        batch_size: Sequences at once; None takes the task's usual number.
        size: Positions that the network reads of each at most; None takes its own.
        on_progress: Called with the number of sequences done, and of all.

    Raises:
        ConfigError: If a number is out of range.
        CheckpointError: If the network answers with numbers that are not finite.
    """
    task, network = trained.task, trained.network
    answers = predict(
        task, network, [Path(name) for name, _ in sequences], lambda index: sequences[index][1],
        batch_size=batch_size, size_px=size,
        on_progress=None if on_progress is None else lambda done: on_progress(done, len(sequences)),
    )  # fmt: skip
    entries = []
    for (name, sequence), answer in zip(sequences, answers, strict=True):
        result = dataclasses.replace(answer, text=sequence) if isinstance(sequence, str) else answer
        entries.append(Predicted(result, Input(name, b""), task))
    model = trained.source or trained.origin
    return Results(entries, failures, task, model=model, input_size_px=spec_at(network, size).size)
