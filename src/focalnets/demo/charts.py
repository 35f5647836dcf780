"""Charts of the report as markup that takes its colours from the page: text and shapes, no pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence

from focalnets.demo.scores import MapScore

__all__ = ["confusion_table", "learning_curve", "score_table"]

_WIDTH, _HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 34


def learning_curve(lessons: Sequence[tuple[str, Sequence[float]]], chance: float) -> str:
    """Accuracy after each epoch, one stretch a lesson, as SVG.

    Args:
        lessons: Name of each lesson, and the accuracy after each of its epochs, from 0 to 1.
        chance: What guessing gets, drawn as a line.
    """
    epochs = sum(len(accuracies) for _, accuracies in lessons)
    step = (_WIDTH - _LEFT - _RIGHT) / epochs

    def y(share: float) -> float:
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Accuracy after each epoch of the lessons">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    parts.append(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(chance):.1f}" y2="{y(chance):.1f}" stroke="var(--soft)" '
        f'stroke-dasharray="4 5"/><text x="{_WIDTH - _RIGHT}" y="{y(chance) - 6:.1f}" text-anchor="end">guessing</text>'
    )
    done = 0
    for number, (name, accuracies) in enumerate(lessons, 1):
        left = _LEFT + done * step
        width = len(accuracies) * step
        if number % 2 == 0:
            parts.append(
                f'<rect x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{_HEIGHT - _TOP - _BOTTOM}" '
                'fill="var(--track)" opacity=".45"/>'
            )
        parts.append(
            f'<text class="strong" x="{left + width / 2:.1f}" y="20" text-anchor="middle">'
            f"{number}. {html.escape(name)}</text>"
        )
        points = [(left + (index + 0.5) * step, y(share)) for index, share in enumerate(accuracies)]
        path = " ".join(f"{x:.1f},{at:.1f}" for x, at in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="var(--accent)" stroke-width="2.5"/>')
        for index, ((x, at), share) in enumerate(zip(points, accuracies, strict=True), done + 1):
            below = at < _TOP + 22
            parts.append(
                f'<circle cx="{x:.1f}" cy="{at:.1f}" r="4.5" fill="var(--accent)" stroke="var(--card)" '
                f'stroke-width="2"/>'
                f'<text class="strong" x="{x:.1f}" y="{at + (22 if below else -12):.1f}" text-anchor="middle">'
                f'{share:.0%}</text><text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{index}</text>'
            )
        done += len(accuracies)
    return "".join([*parts, "</svg>"])


def confusion_table(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """What was called what, as a table with one row for each true class, shaded by the share of the row."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = max(1, sum(row))
        cells = []
        for count in row:
            share = count / total
            ink = "var(--on-accent)" if share > 0.5 else "inherit"
            shade = f'style="background: rgba(var(--accent-rgb), {0.12 + 0.8 * share:.2f}); color: {ink}"'
            cells.append(f"<td {shade}>{count}</td>" if count else '<td class="empty">0</td>')
        rows.append(f"<tr><th>{html.escape(name)}</th>{''.join(cells)}</tr>")
    return f'<table class="confusion"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def score_table(scores: Sequence[MapScore]) -> str:
    """How well each kind of map finds the object, as a table with bars."""
    rows = []
    for number, score in enumerate(scores):
        kind = "drawn" if score.drawn else "blind" if number >= len(scores) - 2 else ""
        low, high = score.hits_interval
        rows.append(
            f'<tr class="{kind}"><td>{html.escape(score.name)}</td>'
            f'<td><span class="bar"><i style="width: {100 * score.near:.1f}%"></i></span></td>'
            f'<td class="number">{score.near:.1%}</td>'
            f'<td class="number" title="95 % interval {low:.1%} to {high:.1%}">{score.hits:.1%}</td>'
            f'<td class="number">{score.on_others:.1%}</td><td class="number">{score.energy:.1%}</td></tr>'
        )
    return (
        "<table><thead><tr><th>map</th><th>brightest point on the object or just beside it</th><th></th>"
        '<th class="number">exactly on it</th><th class="number">on something else</th>'
        '<th class="number">share of the map on it</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
