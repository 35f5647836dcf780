"""How sure a classifier is of pictures of none of its classes.

    python -m benchmarks.unknown_images IMAGES [OTHER ...]

Measured are blanks, noise and generated scenes, made here by numbers that no training uses, and the folders named, e.g.
photos of other things. For each kind the table gives the mean of the highest confidence, the area under the ROC curve
(AUROC) of that confidence between IMAGES, which show the network's classes, and the kind, and how many of its pictures
stay below the network's threshold.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import version_fields
from focalnets.api import Trained, load
from focalnets.data.finding import find_images
from focalnets.data.scenes.generator import VAL_OFFSET, SceneGenerator
from focalnets.files import write_json
from focalnets.weights.shipped import DEFAULT

__all__ = ["KINDS", "auroc", "main", "measure"]

SIDE_PX = 224


def blanks(count: int) -> list[Image.Image]:
    """Draw plain colours: black, white and grey, then every mixture of five steps of red, green and blue in turn."""
    steps = (0, 64, 128, 192, 255)
    mixed = [(red, green, blue) for red in steps for green in steps for blue in steps]
    order = [0, len(mixed) - 1, len(mixed) // 2]
    order += [index for index in np.random.default_rng(0).permutation(len(mixed)).tolist() if index not in order]
    return [Image.new("RGB", (SIDE_PX, SIDE_PX), mixed[index % len(mixed)]) for index in order[:count]]


def noise(count: int) -> list[Image.Image]:
    """Draw uniform, normal, sparse, black-and-white, grey and coarse noise in turn."""
    pictures = []
    for number in range(count):
        rng = np.random.default_rng([number, 90_001])
        shape = (SIDE_PX, SIDE_PX, 3)
        kind = number % 6
        if kind == 0:
            values = rng.uniform(0, 255, shape)
        elif kind == 1:
            values = 127.5 + rng.normal(0, 50, shape)
        elif kind == 2:
            values = np.where(rng.random(shape[:2])[..., None] < 0.1, rng.choice([0, 255], shape), 128)
        elif kind == 3:
            values = np.broadcast_to(rng.choice([0, 255], shape[:2])[..., None], shape)
        elif kind == 4:
            values = np.broadcast_to(rng.uniform(0, 255, shape[:2])[..., None], shape)
        else:
            few = int(rng.choice([4, 8, 16, 32, 64]))
            small = Image.fromarray(rng.integers(0, 256, (few, few, 3), dtype=np.uint8))
            values = np.asarray(small.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
        pictures.append(Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)))
    return pictures


def scenes(count: int) -> list[Image.Image]:
    """Draw scenes by the numbers that generated data sets hold out."""
    generator = SceneGenerator()
    return [Image.fromarray(generator.scene(VAL_OFFSET + number).image) for number in range(count)]


KINDS: dict[str, Callable[[int], list[Image.Image]]] = {
    "blanks": blanks, "noise": noise, "generated scenes": scenes,
}  # fmt: skip


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Compute how often a picture inside gets a higher confidence than one outside; equal ones count half."""
    ordered = np.sort(outside)
    below, up_to = (np.searchsorted(ordered, inside, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(outside)))


def measure(
    network: Trained, images: str | Path, others: Sequence[str | Path] = (), *, count: int = 300
) -> list[dict[str, Any]]:
    """Measure a network.

    Args:
        network: A classifier.
        images: Folder of images of its classes, not trained on.
        others: Folders of pictures of other things.
        count: How many pictures of each kind to draw, and of each folder to take at most; of IMAGES all are taken.

    Returns:
        A row for IMAGES and for each kind.
    """
    threshold: float | None = getattr(network.network, "threshold", None)
    inside = _confidences(network, find_images(images))
    kinds: dict[str, Any] = {name: draw(count) for name, draw in KINDS.items()}
    kinds |= {Path(folder).as_posix(): find_images(folder)[:count] for folder in others}
    rows = []
    for name, confidences in [
        (Path(images).as_posix(), inside),
        *((name, _confidences(network, pictures)) for name, pictures in kinds.items()),
    ]:
        rows.append(
            {
                "kind": name,
                "pictures": len(confidences),
                "mean_confidence": float(confidences.mean()),
                "auroc": None if confidences is inside else auroc(inside, confidences),
                "below_threshold": None if threshold is None else float(np.mean(confidences < threshold)),
            }
        )
    return rows


def _confidences(network: Trained, pictures: Sequence[Any]) -> np.ndarray:
    return np.array([result.confidences[0] for result in network.predict(list(pictures))])


def show(rows: Sequence[dict[str, Any]], threshold: float | None) -> str:
    """Write the rows as a table in Markdown."""
    below = "none of the classes" if threshold is None else f"called none (below {threshold:g})"
    lines = [f"| pictures | number | mean highest confidence | AUROC | {below} |", "|---|---|---|---|---|"]
    for row in rows:
        area = "" if row["auroc"] is None else f"{row['auroc']:.3f}"
        share = "" if row["below_threshold"] is None else f"{row['below_threshold']:.1%}"
        lines.append(f"| {row['kind']} | {row['pictures']:,} | {row['mean_confidence']:.3f} | {area} | {share} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="images of the network's classes, not trained on")
    parser.add_argument("others", type=Path, nargs="*", metavar="OTHER", help="folders of pictures of other things")
    parser.add_argument("--model", default=DEFAULT, help="the network (default: the one in the package)")
    parser.add_argument("--count", type=int, default=300, help="pictures of each kind (default: 300)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    network = load(options.model, device="cpu")
    rows = measure(network, options.images, options.others, count=options.count)
    threshold = getattr(network.network, "threshold", None)
    print(show(rows, threshold))
    if options.json is not None:
        write_json(options.json, {"model": options.model, "threshold": threshold, "rows": rows, **version_fields()})


if __name__ == "__main__":
    main()
