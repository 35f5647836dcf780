"""One HTML file on one photo in which a slider leads through all blocks. It loads nothing from anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnets.files import write_text
from focalnets.report.page import jpeg_address, page
from focalnets.visualize.draw import GATE_COLOURS, HEAT_COLOURS, level_name, overlay, robust_limits
from focalnets.visualize.maps import focus_map, gate_maps, modulator_map
from focalnets.visualize.recording import BlockId, Inside

__all__ = ["write_block_page"]

_PHOTO_PX, _MAP_PX = 1280, 384

_STYLE = """
.controls { display: flex; flex-wrap: wrap; gap: .75rem 2rem; align-items: center; position: sticky; top: 0; z-index: 1;
  background: var(--paper); padding: .75rem 0; border-bottom: 1px solid var(--line); margin: 1.5rem 0; }
.controls label { flex: 1 1 260px; font-weight: 600; }
.controls input { display: block; width: 100%; accent-color: var(--accent); height: 1.75rem; }
.layers { position: relative; overflow: hidden; border-radius: 8px; }
.layers img { border-radius: 0; }
.layers img.map { position: absolute; inset: 0; height: 100%; }
.blocks { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.1rem; }
.blocks figcaption { font-size: .9rem; padding: .35rem 0; }
.ramp { height: 10px; border-radius: 5px; }
.ends { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft); }
"""

_SCRIPT = """
const blocks = JSON.parse(document.getElementById("blocks").textContent);
const slider = document.getElementById("block"), strength = document.getElementById("strength");
const photo = document.getElementById("photo").src;
function layers(figure, map) {
  const box = figure.appendChild(document.createElement("div"));
  box.className = "layers";
  const below = box.appendChild(new Image()), above = box.appendChild(new Image());
  below.src = photo; below.alt = ""; below.style.filter = "grayscale(1)";
  above.src = map.picture; above.alt = map.name; above.className = "map"; above.style.opacity = strength.value / 100;
}
function show() {
  const block = blocks[slider.value], holder = document.getElementById("maps");
  document.getElementById("name").textContent = block.name;
  slider.setAttribute("aria-valuetext", block.name);
  document.getElementById("low").textContent = block.low;
  document.getElementById("high").textContent = block.high;
  document.getElementById("minus").textContent = "-" + block.reach;
  document.getElementById("plus").textContent = block.reach;
  holder.replaceChildren();
  for (const map of block.maps) {
    const figure = holder.appendChild(document.createElement("figure"));
    figure.appendChild(document.createElement("figcaption")).textContent = map.name;
    layers(figure, map);
  }
}
function fade() {
  for (const map of document.querySelectorAll("img.map")) map.style.opacity = strength.value / 100;
}
slider.addEventListener("input", show);
strength.addEventListener("input", fade);
show(); fade();
"""


def write_block_page(
    path: str | Path,
    picture: Image.Image,
    inside: Inside,
    *,
    predictions: Sequence[tuple[str, float]] = (),
    focus: BlockId | None = None,
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
        focus: The block that is shown first and whose modulator counts in "where it looks"; None takes the last block
            of the last stage but one.
        title: Heading, e.g. what the network says.
        notes: A line below it.
        index: Which image of the batch.
    """
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    photo = _shrunk(picture.convert("RGB"), _PHOTO_PX)
    size = _shrunk(photo, _MAP_PX).size
    heat = focus_map(inside, focus)[index]
    looks = _map(heat, (0.0, max(robust_limits(heat)[1], 1e-30)), HEAT_COLOURS, size)
    # "<" as an escape: a class or file name must not be able to end the script.
    data = json.dumps([_block(inside, block, index, size) for block in inside]).replace("<", "\\u003c")
    says = "".join(f"<tr><td>{html.escape(name)}</td><td>{_bar(share)}</td></tr>" for name, share in predictions)
    sections = [
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><p class='lead'>{html.escape(notes)}</p>",
        "<div class='blocks'><figure><figcaption>The photo</figcaption>"
        f"<img id='photo' alt='The photo' src='{jpeg_address(photo)}'></figure>"
        f"<figure><figcaption>Where it looks: modulator of block {focus[0]}.{focus[1]} × evidence</figcaption>"
        f"<div class='layers'><img alt='' style='filter: grayscale(1)' src='{jpeg_address(photo)}'>"
        f"<img class='map' alt='Where the network looks' style='opacity: .62' src='{looks}'></div></figure>"
        + (f"<figure><figcaption>What it says</figcaption><table>{says}</table></figure>" if says else "")
        + "</div>",
        "<h2>Block by block</h2><p>How strongly the surroundings change each place, and which surroundings it listens "
        "to. Stages and blocks count from 0; the widths are pixels of the network's input.</p>",
        "<div class='controls'><label>Block <span id='name'></span>"
        f"<input id='block' type='range' min='0' max='{len(inside) - 1}' value='{list(inside).index(focus)}'></label>"
        "<label>Photo or map<input id='strength' type='range' min='0' max='100' value='62'></label></div>",
        "<noscript><p>The sliders need JavaScript.</p></noscript><div class='blocks' id='maps'></div>",
        "<div class='blocks'>"
        + _scale("Length of the modulator", HEAT_COLOURS, ("low", "high"))
        + _scale("Gates: purple subtracts that context, orange adds it", GATE_COLOURS, ("minus", "plus"))
        + "</div>",
        f"<script type='application/json' id='blocks'>{data}</script><script>{_SCRIPT}</script>",
    ]
    write_text(path, page(title or "Inside a network", sections))


def _block(inside: Inside, block: BlockId, index: int, size: tuple[int, int]) -> dict[str, Any]:
    record = inside[block]
    length = modulator_map(inside, block)[index]
    gates = gate_maps(inside, block)[index]
    limits, reach = robust_limits(length), max(float(np.percentile(np.abs(gates), 99)), 1e-6)
    maps = [{"name": "Length of the modulator", "picture": _map(length, limits, HEAT_COLOURS, size)}]
    for number, gate in enumerate(gates):
        name = f"Gate of {level_name(number, len(gates), record.context_widths_px).lower()}"
        maps.append({"name": name, "picture": _map(gate, (-reach, reach), GATE_COLOURS, size)})
    return {
        "name": f"{block[0]}.{block[1]}, one token every {record.grid.stride_px} px",
        "low": f"{limits[0]:.3g}",
        "high": f"{limits[1]:.3g}",
        "reach": f"{reach:.3g}",
        "maps": maps,
    }


def _map(values: np.ndarray, limits: tuple[float, float], colours: str, size: tuple[int, int]) -> str:
    ground = np.zeros((size[1], size[0], 3), np.uint8)
    return jpeg_address(Image.fromarray(overlay(ground, values, limits=limits, colours=colours, strength=1.0)), 85)


def _scale(name: str, colours: str, ends: tuple[str, str]) -> str:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ", ".join(to_hex(colormaps[colours](share)) for share in np.linspace(0, 1, 9))
    return (
        f"<div><div class='soft'>{name}</div><div class='ramp' style='background: linear-gradient(to right, {stops})'>"
        f"</div><div class='ends'><span id='{ends[0]}'></span><span id='{ends[1]}'></span></div></div>"
    )


def _bar(share: float) -> str:
    return f"{100 * share:.1f} %<span class='bar'><i style='width: {100 * share:.1f}%'></i></span>"


def _shrunk(picture: Image.Image, longest_px: int) -> Image.Image:
    scale = min(1.0, longest_px / max(picture.size))
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture.resize(size, Image.Resampling.LANCZOS)
