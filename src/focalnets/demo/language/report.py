"""The report of the demonstration of texts: one HTML file with everything inside."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from focalnets.demo.language.run import LanguageDemoResult, Sample
from focalnets.demo.language.text import PLAYS
from focalnets.demo.words import command_line, duration_in_words, made_where
from focalnets.report.colours import Theme
from focalnets.report.figure import new_figure
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Chart,
    CodeBlock,
    Column,
    Details,
    Fact,
    Facts,
    Opening,
    Paragraph,
    Part,
    Row,
    Section,
    Table,
)
from focalnets.training.console import short_duration
from focalnets.training.runs import RunSummary
from focalnets.visualize.text.page import WHAT_SHARES_SAY, coloured_tokens, levels_by_block

__all__ = ["chosen_samples", "write_report"]

_CLOSE = 0.01
"""Nats that are not told apart in words."""


def write_report(result: LanguageDemoResult, path: str | Path) -> Path:
    """Write the report, complete or not at all; returns the file."""
    return write_page(
        path,
        title="What a small network learned of Shakespeare",
        opening=_opening(result),
        sections=[_writing(result), _beside_attention(result), _listening(result), _next_steps(result)],
        footer=_footer(result),
    )


def chosen_samples(samples: Sequence[Sample], most: int = 5) -> list[Sample]:
    """Choose the first, the last, and of those between where steps double."""
    chosen, last = list(samples[:1]), samples[-1]
    for sample in samples[1:-1]:
        if not chosen[-1].step or sample.step >= 2 * chosen[-1].step:
            chosen.append(sample)
    return [*chosen[: most - 1], *([last] if last is not chosen[-1] else [])]


def _opening(result: LanguageDemoResult) -> list[Part]:
    ours, best = result.ours, _best(result.ours)
    facts = (
        Fact(f"{best:.2f}", f"nats a character of text that was held out; perplexity {math.exp(best):.1f}"),
        Fact(duration_in_words(ours.wall_time_s, short=True), f"of training on {os.cpu_count()} CPU cores"),
        Fact(f"{(ours.parameters or 0) / 1e6:.2f} M", "parameters: causal focal modulation"),
        Fact(
            f"{result.tokens_per_s:,.0f}",
            f"characters a second it writes, carrying {result.state_bytes / 1024:.0f} KiB from one to the next, "
            "however long the text",
        ),
    )
    opening = Opening(
        f"What a small network learned of Shakespeare in {duration_in_words(ours.wall_time_s)}",
        f"It read {result.characters:,} characters of {PLAYS} and learned to say which comes next; it started from "
        "random numbers and knows no words but those that it put together itself.",
    )
    return [opening, Facts(facts)]


def _writing(result: LanguageDemoResult) -> Section:
    prompt = result.settings.sample_prompt.strip()
    parts: list[Part] = [
        Paragraph(
            f"What it writes after “{prompt}” at stages of its training, each time with the same random numbers. A "
            "step shows it "
            f"{result.settings.batch_size * result.settings.context_length:,} characters."
        )
    ]
    for sample in chosen_samples(result.samples):
        when = f"After {sample.step:,} steps" if sample.step else "Before the first step"
        parts += [Paragraph(f"{when}, {sample.nats:.2f} nats a character:"), CodeBlock(sample.text)]
    return Section("How it learned to write", parts)


def _beside_attention(result: LanguageDemoResult) -> Section:
    networks = (("focal modulation", result.ours), ("attention", result.attention))
    columns = (
        Column("network"), Column("parameters", "number", ","), Column("nats a character", "number", ".3f"),
        Column("perplexity", "number", ".2f"), Column("training", "number"),
    )  # fmt: skip
    rows = [
        Row((name, run.parameters, _best(run), math.exp(_best(run)), short_duration(run.wall_time_s)))
        for name, run in networks
    ]
    difference = _best(result.attention) - _best(result.ours)
    verdict = (
        f"After these steps the two are within {_CLOSE:g} nats of each other"
        if abs(difference) < _CLOSE
        else f"After these steps {'focal modulation' if difference > 0 else 'attention'} is ahead by "
        f"{abs(difference):.2f} nats"
    )
    words = (
        "A transformer of the same skeleton, in which attention with rotary positions takes the place of focal "
        "modulation, was trained on the same passages with the same rates. The curves are of text that was held out. "
        f"{verdict}. That is one seed of small networks trained for minutes; it says nothing of long trainings."
    )
    chart = Chart(lambda theme: _curves(networks, theme), "Nats a character held out over the steps of both trainings")
    return Section("Beside attention", [Paragraph(words), chart, Table(columns, rows)])


def _listening(result: LanguageDemoResult) -> Section:
    figures = result.explanation
    words = f"A passage that was held out, as the network reads it. {WHAT_SHARES_SAY}"
    return Section(
        "What each character listens to", [Paragraph(words), coloured_tokens(figures), levels_by_block(figures)]
    )


def _next_steps(result: LanguageDemoResult) -> Section:
    commands = (
        command_line("generate", result.run.name, "--prompt", "RICHMOND:"),
        command_line("explain", result.passage.name, "--model", result.run.name),
        "focalnets train MY_TEXT.txt        # larger, for longer",
    )
    words = "The network is kept, and so is the passage above. In the folder of this page:"
    return Section("Go on", [Paragraph(words), CodeBlock("\n".join(commands))])


def _footer(result: LanguageDemoResult) -> list[Part]:
    settings, config = result.settings, result.network.config
    network = (
        f"Networks: {config.depth} blocks of {config.dim} channels; kernels of "
        f"{', '.join(map(str, config.kernel_sizes))} characters and the mean of everything so far, or "
        f"{config.attention_heads} heads of attention. Training: AdamW, {settings.epochs} epochs of "
        f"{settings.passages:,} passages of {settings.context_length:,} characters, {settings.batch_size} a step; "
        f"highest rate {settings.learning_rate:g} for both. The text, {PLAYS} by William Shakespeare, is in the public "
        f"domain; the last {result.held_out:,} characters were held out."
    )
    return [Details("How this was made", [Paragraph(made_where(result.seconds, settings.seed)), Paragraph(network)])]


def _curves(networks: Sequence[tuple[str, RunSummary]], theme: Theme) -> Any:
    figure, axes = new_figure(size=(6.4, 3.6))
    for (name, run), colour, line in zip(networks, (theme.orange, theme.blue), ("-", "--"), strict=True):
        steps = [row["step"] for row in run.history]
        axes.plot(
            steps, [row["val_nats"] for row in run.history], line, marker="o", markersize=3, color=colour, label=name
        )
    axes.set_xlabel("steps")
    axes.set_ylabel("nats a character, held out")
    axes.legend()
    return figure


def _best(run: RunSummary) -> float:
    assert run.best is not None, "the training came to its end"
    return run.best
