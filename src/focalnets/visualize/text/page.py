"""One HTML file on one text: its tokens, coloured by what each listens to, and tables. It loads nothing from anywhere.

Axes: T tokens, L levels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from focalnets.report.colours import LIGHT
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import (
    Column,
    Fact,
    Facts,
    Opening,
    Paragraph,
    Part,
    Row,
    Section,
    Table,
    TableCell,
    Templated,
)
from focalnets.report.words import Mark
from focalnets.visualize.text.figures import TextFigures

__all__ = ["WHAT_SHARES_SAY", "coloured_tokens", "levels_by_block", "visible", "write_token_page"]

WHAT_SHARES_SAY = (
    "Each block gathers what surrounds a token at several levels and weighs them by gates. The share of a level is the "
    "length of what it adds, the level times its gate, as a fraction of those of all levels together. It says what "
    "flows in, not why the network answers as it does. The length of the modulator says how strongly all of it acts."
)
"""What the colours mean, for people."""

_MOST_SURPRISING, _BEFORE = 12, 32
_FAINTEST, _STRONGEST = 0.06, 0.5
"""Opacity of colours behind letters, which stay readable on the strongest."""

_SIGNS = {"\n": "⏎", "\t": "⇥", " ": "␣"}


def visible(piece: str) -> str:
    """Write a token so that spaces and ends of lines can be seen."""
    return "".join(_SIGNS.get(letter, letter) for letter in piece)


def coloured_tokens(figures: TextFigures, *, still: bool = False) -> Part:
    """Show the tokens of a text, coloured by the level that each takes most of, its modulator or its surprise.

    Args:
        figures: Of the text.
        still: Leave out what needs a script: the choice of block and of what is coloured.
    """
    views = [("levels", "the level it takes most of"), ("modulator", "the length of the modulator")]
    views = views if figures.blocks else []
    if figures.surprise is not None:
        views.append(("surprise", "how much it surprises"))
    blocks = [_block("all blocks, on average", figures.shares, figures.modulator)] if figures.blocks else []
    blocks += [_block(f"block {block.block}", block.shares, block.modulator) for block in figures.blocks]
    surprise: dict[str, Any] | None = None
    if figures.surprise is not None:
        known = figures.surprise[~np.isnan(figures.surprise)]
        surprise = {"values": [_rounded(nats) for nats in figures.surprise], "low": 0.0, "high": _high(known)}
    data = {
        "names": [visible(piece) for piece in figures.pieces],
        "unit": figures.unit.removesuffix("s"),
        "levels": list(figures.levels),
        "blocks": blocks,
        "surprise": surprise,
        "guesses": [None if guess is None else [visible(guess.piece), guess.probability] for guess in figures.guesses],
        "opacity": [_FAINTEST, _STRONGEST],
        "colours": len(LIGHT.series),
    }
    values = {
        "still": still or not views,
        "views": views,
        "data": data,
        "tokens": [_token(figures, data, place) for place in range(len(figures.pieces))],
        "between": figures.between,
        "opacity": _STRONGEST,
    }
    return Templated("visualize/tokens.html", values)


def levels_by_block(figures: TextFigures) -> Table:
    """Write down how much each block takes of each level, as the mean over the text."""
    columns = [Column("block"), *(Column(name, "number", ".0%") for name in figures.levels)]
    columns.append(Column("length of the modulator", "number", ".3g"))
    listening = {block.block: block for block in figures.blocks}
    rows = []
    for number in range(figures.depth):
        block = listening.get(number)
        name: TableCell = str(number) if block is not None else f"{number}, without focal modulation"
        cells: list[TableCell] = [None] * (len(columns) - 1)
        if block is not None:
            cells = [*map(float, block.shares.mean(0)), float(block.modulator.mean())]
        rows.append(Row((name, *cells)))
    mean = (*map(float, figures.shares.mean(0)), float(figures.modulator.mean()))
    return Table(columns, [*rows, Row(("all", *mean), "strong")])


def write_token_page(figures: TextFigures, path: str | Path) -> Path:
    """Write a page about a text, complete or not at all; returns the file."""
    unit = figures.unit.removesuffix("s")
    sections = []
    if figures.classes:
        rows = [Row((name, probability)) for name, probability in figures.classes]
        table = Table((Column("what it says"), Column("probability", "bar", ".1%")), rows)
        sections.append(Section("Its answer", [table]))
    tokens: list[Part] = [Paragraph(WHAT_SHARES_SAY)] if figures.blocks else []
    sections.append(Section("The text", [*tokens, coloured_tokens(figures)]))
    if figures.blocks:
        sections.append(Section("Block by block", [levels_by_block(figures)]))
    if figures.nats is not None:
        sections.append(Section("What surprises it most", [_most_surprising(figures)]))
    heading = f"What each {unit} listens to" if figures.blocks else f"{unit.capitalize()} by {unit}"
    notes = f"{without_folders(figures.name)}, {len(figures.pieces):,} {figures.unit}"
    notes += f" (the {figures.left_out:,} after them were left out)" if figures.left_out else ""
    notes += f", read by {without_folders(figures.model)}" if figures.model else ""
    return write_page(
        path,
        title=f"{heading}: {without_folders(figures.name)}",
        opening=[Opening(heading, notes), *_facts(figures)],
        sections=sections,
    )


def _facts(figures: TextFigures) -> list[Part]:
    unit = figures.unit.removesuffix("s")
    facts: list[Fact] = []
    if figures.classes:
        facts.append(Fact(f"{figures.classes[0][1]:.1%}", ("for ", Mark(figures.classes[0][0], "strong"))))
    if figures.nats is not None:
        facts.append(Fact(f"{figures.nats:.2f}", f"nats a {unit}: how much the next one surprises, on average"))
        facts.append(Fact(f"{math.exp(min(figures.nats, 700)):.1f}", "perplexity: as unsure as between so many"))
    if figures.blocks:
        shares = figures.shares.mean(0)
        most = int(shares.argmax())
        facts.append(Fact(f"{shares[most]:.0%}", f"of what is taken in comes from the level “{figures.levels[most]}”"))
    return [Facts(facts)] if facts else []


def _block(name: str, shares: np.ndarray, modulator: np.ndarray) -> dict[str, Any]:
    low, high = np.percentile(modulator, (1, 99))
    return {
        "name": name,
        "shares": np.round(1000 * shares).astype(int).tolist(),
        "modulator": [_rounded(length) for length in modulator],
        "low": _rounded(low),
        "high": _rounded(max(high, low + 1e-6)),
    }


def _token(figures: TextFigures, data: dict[str, Any], place: int) -> dict[str, Any]:
    """Describe a token as it is shown first: its letters, its colour, and its figures in words."""
    if data["blocks"]:
        shares = data["blocks"][0]["shares"][place]
        level, even = shares.index(max(shares)), 1 / len(shares)
        strength = max(0.0, (shares[level] / 1000 - even) / (1 - even)) if len(shares) > 1 else 1.0
        colour = f"l{level % data['colours']}"
    else:
        value = None if data["surprise"] is None else data["surprise"]["values"][place]
        strength = 0.0 if value is None else min(1.0, value / data["surprise"]["high"])
        colour = "scale"
    return {
        "text": figures.pieces[place].replace("\n", "⏎\n"),
        "colour": colour,
        "strength": f"{_FAINTEST + (_STRONGEST - _FAINTEST) * strength:.2f}",
        "title": _in_words(data, place),
    }


def _in_words(data: dict[str, Any], place: int) -> str:
    """Write the figures of a token, those of the blocks on average; the script of the page writes the same."""
    lines = [f"{data['unit']} {place + 1}: {data['names'][place]}"]
    if data["surprise"] is not None and data["surprise"]["values"][place] is not None:
        piece, probability = data["guesses"][place]
        lines.append(
            f"surprise {data['surprise']['values'][place]:.2f} nats; likeliest {piece} ({100 * probability:.0f} %)"
        )
    if data["blocks"]:
        block = data["blocks"][0]
        shares = zip(data["levels"], block["shares"][place], strict=True)
        lines.append(f"takes {', '.join(f'{share / 10:.0f} % {name}' for name, share in shares)}")
        lines.append(f"modulator {block['modulator'][place]:.3g}, {block['name']}")
    return "\n".join(lines)


def _most_surprising(figures: TextFigures) -> Table:
    assert figures.surprise is not None
    columns = (
        Column(figures.unit.removesuffix("s"), "number"), Column("where"), Column("nats", "number", ".2f"),
        Column("likeliest in its place"), Column("its probability", "number", ".0%"),
    )  # fmt: skip
    order = np.argsort(-np.nan_to_num(figures.surprise, nan=-1.0), kind="stable")[:_MOST_SURPRISING]
    rows = []
    for place in order.tolist():
        guess = figures.guesses[place]
        if guess is None:
            continue
        before = figures.between.join(figures.pieces[max(0, place - _BEFORE) : place]).replace("\n", "⏎")
        where = (Mark(f"{before}{figures.between}", "soft"), Mark(visible(figures.pieces[place]), "strong"))
        rows.append(
            Row((f"{place + 1:,}", where, float(figures.surprise[place]), visible(guess.piece), guess.probability))
        )
    return Table(columns, rows)


def _high(values: np.ndarray) -> float:
    return max(_rounded(np.percentile(values, 99)) or 0.0, 1e-3) if len(values) else 1.0


def _rounded(value: float) -> float | None:
    """Keep three digits, which keeps pages small; None for what is no number."""
    return None if math.isnan(value) else float(f"{value:.3g}")
