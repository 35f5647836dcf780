"""Networks whose data tie class and background by a known amount: is what an audit calls pull what was planted?

    python -m benchmarks.planted_links [--output FILE] [--seeds 0 1 2 3 4] [--links 0.5 0.75 0.95]

Generated scenes of four classes stand before four kinds of background. With a link of R, a share R of the images of
each class has the background of its class and the rest any of the four alike, so that Cramer's V of class and
background is R. For each link and seed a small network is trained from random weights, and asked about the same objects
before two backgrounds each, see :mod:`focalnets.auditing.statistics.pull`. How much of the network's modulator lies on
the object is noted beside it, and over all networks how far both go together. The file is written after each network; a
second call goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from benchmarks.machine import machine_fields, source_fields, version_fields
from focalnets.api import Trained, train
from focalnets.auditing.statistics.association import cramers_v, cross_table
from focalnets.auditing.statistics.pull import measure_pull
from focalnets.cli.destinations import require_file
from focalnets.data.scenes.generator import VAL_OFFSET, SceneGenerator
from focalnets.data.scenes.pairs import ScenePairs
from focalnets.errors import ConfigError
from focalnets.files import read_json, write_json
from focalnets.visualize.localization.measure import make_view
from focalnets.visualize.localization.scores import energy_inside
from focalnets.visualize.localization.sources import main_map
from focalnets.visualize.maps import default_focus

__all__ = ["CLASSES", "KINDS", "Plan", "main", "plant", "summarise"]

CLASSES = ("balloon", "kite", "rocket", "umbrella")
KINDS = ("summer", "sunset", "winter", "night")
"""The background of each class."""

GAP, ALPHA = 0.05, 0.05
_PLAIN = 124
_LEAST = {"train": 8 * len(CLASSES), "pairs": 1, "mapped": 1, "image_size_px": 32, "epochs": 1, "embed_dim": 1}
_NETWORK = {"depths": [1, 1], "focal_levels": [3, 3], "focal_windows": [3, 3], "initialization": "fan_in"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is drawn and how a network is trained.

    Attributes:
        train: Images to train, a multiple of the number of classes; an eighth as many are held out.
        pairs: Objects that are asked about before two backgrounds.
        mapped: Images whose modulator is measured.
        image_size_px: Side of the pictures.
        epochs: Passes over the images.
        embed_dim: Width of the network's first of two stages.
        learning_rate: The highest.

    Raises:
        ConfigError: If one is out of range.
    """

    train: int = 320
    pairs: int = 400
    mapped: int = 100
    image_size_px: int = 64
    epochs: int = 60
    embed_dim: int = 24
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if self.train % len(CLASSES):
            raise ConfigError(f"train must be a multiple of {len(CLASSES)}, got {self.train}.")


def plant(labels: Sequence[int], link: float, seed: int) -> list[int]:
    """Choose the kind of background of each image, as many of each as the link says.

    Args:
        labels: Class of each.
        link: Share of each class that has the background of its class; the rest has all kinds alike.
        seed: Of which images these are.
    """
    kinds = np.empty(len(labels), dtype=int)
    for label in range(len(CLASSES)):
        places = np.flatnonzero(np.asarray(labels) == label)
        shares = np.full(len(KINDS), (1 - link) / len(KINDS))
        shares[label] += link
        ends = np.rint(np.cumsum(shares) * len(places)).astype(int)
        column = np.repeat(np.arange(len(KINDS)), np.diff(ends, prepend=0))
        kinds[places] = np.random.default_rng([seed, label]).permutation(column)
    return kinds.tolist()


def measure(plan: Plan, link: float, seed: int) -> dict[str, Any]:
    """Train one network and ask it."""
    started = time.monotonic()
    generator = SceneGenerator(
        CLASSES, image_size_px=plan.image_size_px, target_size=(0.45, 0.5), seed=seed, clutter=0.0
    )
    scenes = ScenePairs(generator)
    labels = [generator.label(index) for index in range(plan.train)]
    kinds = plant(labels, link, seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "scenes"
        _write(scenes, root / "train", range(plan.train), kinds)
        held_out = range(VAL_OFFSET, VAL_OFFSET + plan.train // 8)
        _write(scenes, root / "val", held_out, plant([generator.label(index) for index in held_out], link, seed + 1))
        network = train(
            root, output=Path(folder) / "run", quiet=True, epochs=plan.epochs, image_size=plan.image_size_px,
            learning_rate=plan.learning_rate, batch_size=32, workers=0, device="cpu", seed=seed, label_smoothing=0.0,
            min_crop_scale=0.8, model_overrides={"embed_dim": plan.embed_dim, **_NETWORK},
        ).load(device="cpu")  # fmt: skip
    return {
        "link": link,
        "seed": seed,
        "association": cramers_v(cross_table(np.array(labels), np.array(kinds), (len(CLASSES), len(KINDS)))),
        **_ask(network, scenes, plan, seed),
        "seconds": round(time.monotonic() - started, 1),
    }


def _write(scenes: ScenePairs, folder: Path, indices: Sequence[int], kinds: Sequence[int]) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for index, kind in zip(indices, kinds, strict=True):
        scene = scenes.scene(index, index, KINDS[kind])
        Image.fromarray(scene.image).save(folder / CLASSES[scene.label] / f"{index:07d}.png", compress_level=1)


def _ask(network: Trained, scenes: ScenePairs, plan: Plan, seed: int) -> dict[str, Any]:
    """Ask about the same objects before two backgrounds, neither of them that of the object's class."""
    random = np.random.default_rng([seed, 7])
    first_number = VAL_OFFSET + plan.train // 8
    shown: dict[str, list[Image.Image]] = {"own": [], "given": [], "elsewhere": [], "object": [], "background": []}
    truth, typical, annotated = [], [], []
    plain = np.full((plan.image_size_px, plan.image_size_px, 3), _PLAIN, dtype=np.uint8)
    for place in range(plan.pairs):
        index = first_number + place
        cutout = scenes.cutout(index)
        given, elsewhere = random.permutation([kind for kind in range(len(KINDS)) if kind != cutout.label])[:2]
        behind = [scenes.background(index, KINDS[kind]) for kind in (cutout.label, given, elsewhere)]
        for key, background in zip(("own", "given", "elsewhere"), behind, strict=True):
            shown[key].append(Image.fromarray(cutout.over(background.image)))
        shown["object"].append(Image.fromarray(cutout.over(plain)))
        shown["background"].append(Image.fromarray(behind[1].image))
        truth.append(cutout.label)
        typical.append(int(given))
        annotated.append(cutout.mask)
    names = list(network.labels)
    number = {name: CLASSES.index(name) for name in names}
    said = {
        key: np.array([number[result.class_names[0]] for result in network.predict(pictures)])
        for key, pictures in shown.items()
    }
    label, typical_of = np.array(truth), np.array(typical)
    pull = measure_pull(said["given"] == typical_of, said["elsewhere"] == typical_of)
    own, mixed = (float((said[key] == label).mean()) for key in ("own", "given"))
    return {
        "pull": dataclasses.asdict(pull.value),
        "p": pull.p,
        "found": pull.found(gap=GAP, alpha=ALPHA),
        "recognised_on_own_background": own,
        "recognised_on_another": mixed,
        "background_gap": own - mixed,
        "recognised_by_object_alone": float((said["object"] == label).mean()),
        "typical_answer_to_background_alone": float((said["background"] == typical_of).mean()),
        **_map_share(network, shown["given"][: plan.mapped], annotated),
    }


def _map_share(network: Trained, pictures: Sequence[Image.Image], masks: Sequence[np.ndarray]) -> dict[str, float]:
    """Measure which share of the modulator lies on the object, and which share of the picture the object is."""
    from focalnets.data.annotated.images import AnnotatedImage

    model: Any = network.network
    focus, shares, areas = default_focus(model), [], []
    for place, (picture, mask) in enumerate(zip(pictures, masks, strict=False)):
        image = AnnotatedImage(name=f"scene {place}", picture=picture, union=mask)
        view = make_view(image, place, model.preprocessing, picture.height)
        shares.append(float(energy_inside(main_map(model, view, focus), view.mask)[0]))
        areas.append(float(view.mask.mean()))
    return {"map_share": float(np.mean(shares)), "object_area": float(np.mean(areas))}


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the networks of each link together, and compare the share of the map with pull over all of them."""
    links = []
    for link in sorted({row["link"] for row in rows}):
        own = [row for row in rows if row["link"] == link]
        pulls = [row["pull"]["value"] for row in own]
        links.append(
            {
                "link": link,
                "networks": len(own),
                "association": [min(row["association"] for row in own), max(row["association"] for row in own)],
                "pull": [min(pulls), float(np.mean(pulls)), max(pulls)],
                "found": sum(row["found"] for row in own),
                "map_share": float(np.mean([row["map_share"] for row in own])),
            }
        )
    correlation = None
    if len(rows) > 2:
        found = spearmanr([row["map_share"] for row in rows], [row["pull"]["value"] for row in rows])
        correlation = {"spearman": float(found.statistic), "p": float(found.pvalue), "networks": len(rows)}
    return {"links": links, "map_share_and_pull": correlation}


def show(summary: dict[str, Any]) -> str:
    """Write the summary as a table in Markdown."""
    lines = ["| link | networks | V in the data | pull: least, mean, most | found | map on the object |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in summary["links"]:
        low, high = row["association"]
        pull = ", ".join(f"{value:.3f}" for value in row["pull"])
        lines.append(
            f"| {row['link']:g} | {row['networks']} | {low:.3f} to {high:.3f} | {pull} | {row['found']} | "
            f"{row['map_share']:.1%} |"
        )
    return "\n".join(lines)


def _measured_before(output: Path, plan: Plan) -> list[dict[str, Any]]:
    """Read the networks of an earlier call, none without one.

    Raises:
        ConfigError: If the file is not of this plan.
    """
    if not output.exists():
        return []
    try:
        before = read_json(output)
        planned, rows = before["plan"], before["networks"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{output} is no complete file of this command; name another file or remove it.") from error
    if planned != dataclasses.asdict(plan):
        raise ConfigError(f"{output} holds networks of another plan; name another file or remove it.")
    return list(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, ask, write after each network, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/planted_links.json"), help="the figures as JSON")
    parser.add_argument("--links", type=float, nargs="+", default=[0.5, 0.75, 0.95], metavar="R")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="N")
    for field in dataclasses.fields(Plan):
        kind = float if isinstance(field.default, float) else int
        parser.add_argument(f"--{field.name}", type=kind, default=field.default, help=f"(default: {field.default})")
    options = parser.parse_args(arguments)
    try:
        plan = Plan(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Plan)})
        if not all(0 <= link <= 1 for link in options.links) or min(options.seeds) < 0:
            raise ConfigError("--links must be shares from 0 to 1, and --seeds whole numbers from 0 up.")
        require_file("--output", options.output)
        rows = _measured_before(options.output, plan)
    except ConfigError as error:
        parser.error(str(error))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for link in options.links:
            if any((row["link"], row["seed"]) == (link, seed) for row in rows):
                continue
            rows.append(measure(plan, link, seed))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            write_json(
                options.output,
                {
                    "plan": dataclasses.asdict(plan), "networks": rows, "summary": summarise(rows),
                    "machine": machine_fields(), "versions": version_fields(), "source": source_fields(),
                },
            )  # fmt: skip
    print(show(summarise(rows)))


if __name__ == "__main__":
    main()
