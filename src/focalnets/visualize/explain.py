"""From a photo on disk to a page that shows what a network says about it and where it looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from focalnets.data.images import DEFAULT_MAX_PIXELS, image_size, read_image
from focalnets.data.transforms import load_for_model
from focalnets.errors import ConfigError
from focalnets.models.complexity import complexity
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.report.names import without_folders
from focalnets.visualize.block_page import write_block_page
from focalnets.visualize.draw import Style, explain_figure, save_figure
from focalnets.visualize.evidence import look_inside
from focalnets.visualize.recording import BlockId

__all__ = ["Explanation", "explain_file", "named_probabilities", "output_names", "shorter_side"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was drawn about one photo.

    Attributes:
        path, output: The photo and the page.
        predictions: Class names with probabilities, most probable first.
        seen_px: Width and height at which the network saw it [px].
        macs: Multiply-accumulates of one pass at that size; with the gradients for the evidence it takes about three.
        usual_macs: The same at the size of the network's evaluation, in the photo's proportions.
    """

    path: Path
    output: Path
    predictions: tuple[tuple[str, float], ...]
    seen_px: tuple[int, int]
    macs: int
    usual_macs: int


def explain_file(
    model: FocalNet,
    path: str | Path,
    output: str | Path,
    *,
    focus: BlockId | None = None,
    size_px: int | Literal["native"] | None = None,
    top_k: int = 5,
    model_name: str = "",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    style: Style = "overlay",
    html_output: str | Path | None = None,
) -> Explanation:
    """Run a network on one whole photo, aspect kept, and draw what happened inside.

    Args:
        model: The network, on the device to use and in evaluation mode.
        path: The photo.
        output: The file to write (.png, .pdf or .svg), complete or not at all; its folder is made if needed.
        focus: Stage and block whose modulator is drawn large; None chooses, see
            :func:`focalnets.visualize.maps.default_focus`.
        size_px: Shorter side at which the network sees the photo [px]; None takes the scale of its evaluation, so that
            the prediction is the usual one; ``"native"`` the photo's own size.
        top_k: Classes to name, at most.
        model_name: How the page calls the network.
        max_pixels: Largest photo that is read [px].
        style: How maps are shown, see :data:`focalnets.visualize.draw.Style`.
        html_output: Where to write the page of all blocks, see
            :func:`focalnets.visualize.block_page.write_block_page`; None writes none.

    Raises:
        ImageError: If the photo cannot be read.
        ConfigError: If a number is out of range.
    """
    if top_k < 1:
        raise ConfigError(f"top_k must be a whole number from 1 up, got {top_k}.")
    path, output = Path(path), Path(output)
    side = min(image_size(path)) if size_px == "native" else size_px or shorter_side(model.preprocessing)
    tensor, _ = load_for_model(path, model.preprocessing, side, keep_aspect=True, max_pixels=max_pixels)
    inside, probabilities = look_inside(model, tensor.unsqueeze(0))
    predictions = named_probabilities(model, probabilities[0].tolist(), top_k)
    photo = read_image(path, max_pixels=max_pixels)
    seen = (tensor.shape[2], tensor.shape[1])
    notes = f"{path.name}, {photo.width} × {photo.height} px"
    notes += "" if seen == photo.size else f", seen at {seen[0]} × {seen[1]} px"
    notes += f" by {without_folders(model_name)}" if model_name else ""
    title = f"{predictions[0][0]}, {100 * predictions[0][1]:.0f} %" if predictions else path.name
    figure = explain_figure(photo, inside, predictions=predictions, focus=focus, title=title, notes=notes, style=style)
    save_figure(figure, output)
    if html_output is not None:
        write_block_page(html_output, photo, inside, predictions=predictions, focus=focus, title=title, notes=notes)
    usual = shorter_side(model.preprocessing) / min(seen)
    usual_macs = complexity(model.config, round(usual * seen[1]), round(usual * seen[0])).macs
    return Explanation(
        path=path, output=output, predictions=predictions, seen_px=seen,
        macs=complexity(model.config, seen[1], seen[0]).macs, usual_macs=usual_macs,
    )  # fmt: skip


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
    names = [f"{file.stem}_explained{extension}" for file in files]
    for level in (1, 2):
        meeting = _find_repeated(names)
        names = [
            f"{'-'.join([*file.absolute().parts[-1 - level : -1], file.stem])}_explained{extension}"
            if name.casefold() in meeting
            else name
            for file, name in zip(files, names, strict=True)
        ]
    used: set[str] = set()
    for index, (file, name) in enumerate(zip(files, names, strict=True)):
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{file.stem}-{number}_explained{extension}"
        used.add(name.casefold())
        names[index] = name
    return names


def _find_repeated(names: Sequence[str]) -> set[str]:
    folded = [name.casefold() for name in names]
    return {name for name in folded if folded.count(name) > 1}
