"""JSON texts changed at random places into what people and attackers write."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 10**6, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63), 10**30, 10**400,
    0.5, -0.5, 1e-30, 1e-320, 1e300,
    float("nan"), float("inf"), -float("inf"), "", "a", "1", "0.5", "true", "null", "ünï", "\ud800", "\0", "a\nb",
    "\x1b[31m", "../x", "/etc/passwd", "~", "x" * 5000,
    "٣", "²", [], [[]], [None], [1, "a"], [0] * 1000, {}, {"": ""}, {"a": {"b": {"c": []}}},
)  # fmt: skip


def changed_json(content: Any, draw: random.Random) -> bytes:
    """A text of JSON like this one, with one to three values, names or letters changed."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = _changed(content, draw)
    text = json.dumps(content)
    if draw.random() < 0.1:
        place = draw.randrange(len(text))
        text = draw.choice(
            (text[:place], text[:place] + text[place + 1 :], text[:place] + draw.choice('{}[]",:0eN') + text[place:])
        )
    if draw.random() < 0.05:
        text = text.replace("NaN", "1e999")
    return text.encode("utf-8", "surrogatepass")


def _changed(content: Any, draw: random.Random) -> Any:
    """Change something in a value, in place where that is possible."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in list(entries)[:60]:
            places.append((value, key))
            walk(inner)

    walk(content)
    if not places or draw.random() < 0.03:
        return copy.deepcopy(draw.choice(ODD_VALUES))
    holder, key = draw.choice(places)
    kind = draw.choice(("value", "value", "value", "number", "away", "twice", "name", "wrap"))
    if kind == "number" and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = draw.choice(
            (holder[key] + 1, -holder[key], holder[key] * 1000, holder[key] / 3, str(holder[key]), [holder[key]])
        )
    elif kind == "away":
        del holder[key]
    elif kind == "twice" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == "name" and isinstance(holder, dict):
        holder[draw.choice((f"{key}x", str(key).upper(), "", "a\nb", "\udcff"))] = holder.pop(key)
    elif kind == "wrap":
        holder[key] = draw.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
    else:
        holder[key] = copy.deepcopy(draw.choice(ODD_VALUES))
    return content
