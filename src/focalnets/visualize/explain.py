"""From a photo on disk to a page that shows what a network says about it and where it looks."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from focalnets.data.images import DEFAULT_MAX_PIXELS, read_image
from focalnets.data.transforms import LONGEST_ASPECT, resize_whole, to_tensor
from focalnets.errors import ConfigError
from focalnets.files import user_path
from focalnets.models.complexity import complexity
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.report.fonts import fitting_fonts
from focalnets.report.names import unique_names, without_folders
from focalnets.report.pictures import widening
from focalnets.report.showing import show_picture
from focalnets.visualize.block_page import write_block_page
from focalnets.visualize.draw import Style, explain_figure, save_figure
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.map_names import choose_map
from focalnets.visualize.maps import modulator_map
from focalnets.visualize.recording import BlockId, Inside
from focalnets.visualize.relevance import Relevance, draw_relevance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "MOST_SEEN_PIXELS",
    "Explanation",
    "explain_file",
    "explain_picture",
    "named_probabilities",
    "output_names",
    "shorter_side",
]

MOST_SEEN_PIXELS = 2**25
"""Largest picture that a network is looked into with [px]: its gradients need hundreds of bytes for each pixel."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """What a network says about one photo and where it looks.

    Attributes:
        name: What the photo is called.
        predictions: Class names with probabilities, most probable first; none for a network without classifier.
        seen_px: Width and height at which the network saw it [px].
        macs: Multiply-accumulates of one pass at that size; with the gradients for the evidence it takes about three,
            and the map of several views as many times that as it has views.
        usual_macs: The same at the size of the network's evaluation, in the photo's proportions.
        focus: Stage and block whose gates are drawn, and whose modulator where the large map is of one.
        relevance: The map that is drawn large.
        inside: What happened in every block, with maps that :mod:`focalnets.visualize.maps` reads.
        photo: The photo in mode RGB.
        figure: The page as a matplotlib figure.
        title, notes: First lines of the page.
        result: What the network says, as its task types it, where it is no classifier.
    """

    name: str
    predictions: tuple[tuple[str, float], ...]
    seen_px: tuple[int, int]
    macs: int
    usual_macs: int
    focus: BlockId
    relevance: Relevance
    inside: Inside
    photo: Image.Image
    figure: Figure
    title: str
    notes: str
    result: Any = None

    def __repr__(self) -> str:
        return f"Explanation({self._in_words()})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the classes, the cost, and a summary of the maps.

        Of the modulators of each stage's last block it tells the least, mean and largest length, and of where the
        network looks most its place, from the left and from the top, as fractions of the photo's sides from 0 to 1.
        """
        heat = self.relevance.heat[0]
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        maps = []
        for block in self.inside.last_blocks():
            values = modulator_map(self.inside, block, upsample=False)[0]
            figures = {"least": values.min(), "mean": values.mean(), "largest": values.max()}
            tokens = {"height": values.shape[0], "width": values.shape[1]}
            maps.append(
                {"block": _name(block), "tokens": tokens, **{key: float(value) for key, value in figures.items()}}
            )
        answer = {} if self.result is None else {"result": self.result.to_dict()}
        return {
            "input": self.name,
            **answer,
            "classes": [{"name": name, "confidence": confidence} for name, confidence in self.predictions],
            "seen_px": list(self.seen_px),
            "macs": self.macs,
            "usual_macs": self.usual_macs,
            "focus": {
                "map": self.relevance.name,
                "block": _name(self.focus),
                "looks_most_at": {"x": (float(column) + 0.5) / heat.shape[1], "y": (float(row) + 0.5) / heat.shape[0]},
            },
            "modulators": maps,
        }

    def save(self, path: str | Path) -> Path:
        """Write the page as .png, .pdf or .svg, or as .html with a slider over all blocks; returns the file.

        Raises:
            ConfigError: If the file ends otherwise.
        """
        path = user_path(path)
        if path.suffix.lower() != ".html":
            return save_figure(self.figure, path)
        write_block_page(
            path, self.photo, self.inside, predictions=self.predictions, focus=self.focus, relevance=self.relevance,
            title=self.title, notes=self.notes,
        )  # fmt: skip
        return path

    def draw(self) -> Image.Image:
        """The page as a picture in mode RGB."""
        stream = io.BytesIO()
        with fitting_fonts(self.figure):
            self.figure.savefig(stream, format="png", facecolor=self.figure.get_facecolor())
        return Image.open(stream).convert("RGB")

    def show(self) -> None:
        """Show the page, in the notebook or in a window."""
        show_picture(self.draw(), f"{self._in_words()} (there is no display here; write it with save('name.png'))")

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_picture

        return render_picture(self.draw(), f"where the network looks in {Path(self.name).name}", longest_px=1400)

    def _in_words(self) -> str:
        says = f": {self.predictions[0][0]} {self.predictions[0][1]:.1%}" if self.predictions else ""
        return f"{self.name}{says}"


def explain_picture(
    model: FocalNet,
    photo: Image.Image,
    *,
    name: str = "the image",
    focus: BlockId | None = None,
    map_name: str | None = None,
    size_px: int | Literal["native"] | None = None,
    top_k: int = 5,
    model_name: str = "",
    max_pixels: int = MOST_SEEN_PIXELS,
    style: Style = "overlay",
) -> Explanation:
    """Run a network on one whole photo, aspect kept, and draw what happened inside.

    Memory is bounded whatever the proportions: unless a size is given, the network sees a photo more than 32 times as
    long as wide smaller than usual, with as many pixels as one that is 32 times as long.

    Args:
        model: The network, on the device to use and in evaluation mode.
        photo: In mode RGB, upright.
        name: What it is called, e.g. its path.
        focus: Stage and block whose gates are drawn; None chooses, see
            :func:`focalnets.visualize.maps.default_focus`.
        map_name: The map that is drawn large, of :data:`focalnets.visualize.map_names.MAPS`; None takes the default, or
            modulator times evidence where a block is named.
        size_px: Shorter side at which the network sees the photo [px]; None takes the scale of its evaluation, so that
            the prediction is the usual one; ``"native"`` the photo's own size.
        top_k: Classes to name, at most.
        model_name: How the page calls the network.
        max_pixels: Largest picture that the network sees [px].
        style: How maps are shown, see :data:`focalnets.visualize.draw.Style`.

    Raises:
        ImageError: If the photo would be larger than ``max_pixels`` after resizing.
        ConfigError: If a number is out of range.
    """
    map_name = choose_map(map_name, focus)
    if top_k < 1:
        raise ConfigError(f"top_k must be a whole number from 1 up, got {top_k}.")
    spec = model.preprocessing
    side = min(photo.size) if size_px == "native" else shorter_side(spec) if size_px is None else size_px
    if side < 1:
        raise ConfigError(f"size_px must be a whole number from 1 up, got {side}.")
    aspect = LONGEST_ASPECT if size_px is None else None
    seen_photo = resize_whole(photo, side, spec, name=f"'{name}'", max_pixels=max_pixels, longest_aspect=aspect)
    seen = seen_photo.size
    inputs = to_tensor(spec)(seen_photo).unsqueeze(0)
    inside, probabilities = look_inside(model, inputs)
    predictions = named_probabilities(model, probabilities[0].tolist(), top_k)
    file_name = Path(name).name
    notes = f"{file_name}, {photo.width} × {photo.height} px"
    notes += "" if seen == photo.size else f", seen at {seen[0]} × {seen[1]} px"
    notes += f" by {without_folders(model_name)}" if model_name else ""
    if (times := widening(photo.size)) > 1.0:
        notes += f", drawn {times:.3g} times as {'high' if photo.width > photo.height else 'wide'} as it is"
    title = f"{predictions[0][0]}, {100 * predictions[0][1]:.0f} %" if predictions else file_name
    focus = inside.last_blocks()[-2:][0] if focus is None else focus
    relevance = draw_relevance(model, inputs, inside, map_name, focus)
    figure = explain_figure(
        photo, inside, predictions=predictions, focus=focus, relevance=relevance, title=title, notes=notes, style=style
    )
    usual = shorter_side(spec) / min(seen)
    usual_macs = complexity(model.config, round(usual * seen[1]), round(usual * seen[0])).macs
    return Explanation(
        name=name, predictions=predictions, seen_px=seen, macs=complexity(model.config, seen[1], seen[0]).macs,
        usual_macs=usual_macs, focus=focus, relevance=relevance, inside=inside, photo=photo, figure=figure, title=title,
        notes=notes,
    )  # fmt: skip


def explain_file(
    model: FocalNet, path: str | Path, output: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, **options: Any
) -> Explanation:
    """Explain a photo on disk, see :func:`explain_picture`, and write the page.

    Args:
        model: The network, on the device to use and in evaluation mode.
        path: The photo.
        output: The file to write (.png, .pdf, .svg or .html), complete or not at all; its folder is made if needed.
        max_pixels: Largest photo that is read [px].
        **options: Those of :func:`explain_picture`, without ``max_pixels``.

    Raises:
        ImageError: If the photo cannot be read.
        ConfigError: If a number is out of range.
    """
    photo = read_image(path, max_pixels=max_pixels)
    explanation = explain_picture(model, photo, name=str(path), **options)
    explanation.save(output)
    return explanation


def named_probabilities(model: FocalNet, probabilities: Sequence[float], top_k: int) -> tuple[tuple[str, float], ...]:
    """Find the likeliest classes by name, likeliest first; none for a network without classifier."""
    if not model.config.num_classes:
        return ()
    names = model.class_names or [f"class {index}" for index in range(model.config.num_classes)]
    ranked = sorted(range(len(names)), key=lambda index: -probabilities[index])
    return tuple((names[index], float(probabilities[index])) for index in ranked[:top_k])


def shorter_side(preprocessing: Preprocessing) -> int:
    """Return the shorter side at which evaluation sees a whole photo, before it cuts out the centre [px]."""
    return int(preprocessing.input_size_px / preprocessing.crop_fraction + 1e-6)


def output_names(files: Sequence[Path], extension: str = ".png") -> list[str]:
    """Name the page of each photo: ``<name>_explained.png``, with folders in front where names meet.

    Args:
        files: The photos.
        extension: What all names end in.
    """
    return unique_names(files, f"_explained{extension}")


def _name(block: BlockId) -> str:
    return f"{block[0]}.{block[1]}"
