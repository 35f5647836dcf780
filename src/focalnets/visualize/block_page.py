"""One HTML file on one photo in which a slider leads through all blocks. It loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.report.colours import HEAT_MAP, SIGNED_MAP
from focalnets.report.figure import shortened
from focalnets.report.names import without_folders
from focalnets.report.page import write_page
from focalnets.report.parts import Column, Opening, Paragraph, Picture, Row, Section, Table, Templated
from focalnets.report.pictures import seen_well
from focalnets.visualize.draw import level_name, overlay, robust_limits
from focalnets.visualize.map_names import UNSHOWN
from focalnets.visualize.maps import gate_maps, modulator_map
from focalnets.visualize.recording import BlockId, Inside
from focalnets.visualize.relevance import Relevance, recorded_relevance

__all__ = ["write_block_page"]

_PHOTO_PX, _MAP_PX = 1280, 384


def write_block_page(
    path: str | Path,
    picture: Image.Image,
    inside: Inside,
    *,
    predictions: Sequence[tuple[str, float]] = (),
    focus: BlockId | None = None,
    relevance: Relevance | None = None,
    title: str = "",
    notes: str = "",
    index: int = 0,
) -> None:
    """Write a page with a slider over all blocks: the modulator and each gate of the block, over the photo.

    A second slider mixes maps and photo, from the photo alone to the map alone. Everything is in the file, so that it
    can be sent and kept; it needs no network.

    Args:
        path: The file to write, complete or not at all.
        picture: What the network saw, in any resolution.
        inside: What ``look_inside`` recorded while it ran.
        predictions: Class names with probabilities, most probable first.
        focus: The block that is shown first; None takes the last block of the last stage but one.
        relevance: The map of where it looks; None takes what was recorded.
        title: Heading, e.g. what the network says.
        notes: A line below it.
        index: Which image of the batch.
    """
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    photo = Picture(seen_well(picture, _PHOTO_PX), "The photo")
    size = Picture(photo.image(), "", longest_px=_MAP_PX).image().size
    relevance = recorded_relevance(inside, focus) if relevance is None else relevance
    heat = relevance.heat[index]
    seen = {
        "photo": photo.address(),
        "heat": _map(heat, (0.0, max(robust_limits(heat)[1], 1e-30)), HEAT_MAP, size),
        "map": f"{relevance.label[:1].lower()}{relevance.label[1:]}",
        "answers": _answers(predictions) if predictions else None,
    }
    blocks = {
        "blocks": [_block(inside, block, index, size) for block in inside],
        "first": list(inside).index(focus),
        "scales": [
            _scale("Length of the modulator", HEAT_MAP, ("low", "high")),
            _scale("Gates: purple subtracts that context, orange adds it", SIGNED_MAP, ("minus", "plus")),
        ],
    }
    words = (
        "How strongly the surroundings change each place, and which surroundings it listens to. Stages and blocks "
        "count from 0; the widths are pixels of the network's input."
    )
    write_page(
        path,
        title=title or "Inside a network",
        opening=[
            Opening(title, without_folders(notes)),
            Templated("visualize/seen.html", seen),
            Paragraph(f"{relevance.label}. {UNSHOWN[relevance.name]}", "note"),
        ],
        sections=[Section("Block by block", [Paragraph(words), Templated("visualize/blocks.html", blocks)])],
        styles=["visualize/blocks.css"],
    )


def _answers(predictions: Sequence[tuple[str, float]]) -> Table:
    rows = [Row((shortened(name, 60), probability)) for name, probability in predictions]
    return Table((Column("what it says"), Column("probability", "bar", ".1%")), rows)


def _block(inside: Inside, block: BlockId, index: int, size: tuple[int, int]) -> dict[str, Any]:
    record = inside[block]
    length = modulator_map(inside, block)[index]
    gates = gate_maps(inside, block)[index]
    limits, reach = robust_limits(length), max(float(np.percentile(np.abs(gates), 99)), 1e-6)
    maps = [{"name": "Length of the modulator", "picture": _map(length, limits, HEAT_MAP, size)}]
    for number, gate in enumerate(gates):
        name = f"Gate of {level_name(number, len(gates), record.context_widths_px).lower()}"
        maps.append({"name": name, "picture": _map(gate, (-reach, reach), SIGNED_MAP, size)})
    return {
        "name": f"{block[0]}.{block[1]}, one token every {record.grid.stride_px} px",
        "low": f"{limits[0]:.3g}",
        "high": f"{limits[1]:.3g}",
        "reach": f"{reach:.3g}",
        "maps": maps,
    }


def _map(values: np.ndarray, limits: tuple[float, float], colours: str, size: tuple[int, int]) -> str:
    ground = np.zeros((size[1], size[0], 3), np.uint8)
    drawn = overlay(ground, values, limits=limits, colours=colours, strength=1.0)
    return Picture(drawn, "", quality=85).address()


def _scale(name: str, colours: str, ends: tuple[str, str]) -> dict[str, Any]:
    """Turn a colour map into steps, with the names of the places that hold its ends."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    steps = [to_hex(colormaps[colours](place)) for place in np.linspace(0, 1, 9)]
    return {"name": name, "colours": steps, "low": ends[0], "high": ends[1]}
