"""Writes docs/results.md from what ``focalnets compare`` measured: ``python -m benchmarks.results_page``.

``--comparison DIR``, ``--equal_training DIR`` and ``--ablation DIR`` first take over the result file of an output
folder; the files are kept in benchmarks/results/, from which the page and its pictures are made. The training of the
network in the package is told from the files that lie there beside its weights.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import causal, language_tables, shipped_training
from benchmarks.command import RESULTS
from benchmarks.dense_baselines import COMMANDS, DESCRIPTION, format_tables
from benchmarks.markdown import commands, table, wrapped
from focalnets.compare.accuracy import Accuracies, Accuracy, read_accuracies
from focalnets.compare.charts import draw_accuracies, draw_comparison
from focalnets.compare.results import Cell, Comparison, read_comparison
from focalnets.files import read_json

__all__ = ["DOCUMENT", "main", "write_page"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "results.md"

COMPARISON_COMMAND = (
    "focalnets compare --models focalnet_tiny_lrf swin_tiny_patch4_window7_224 convnext_tiny vit_small_patch16_224 "
    "poolformer_s24 --sizes 224 384 512 1024 --batch 1 8 --minutes 15 --output build/comparison"
)

EQUAL_TRAINING_COMMAND = (
    "focalnets compare --models focalnet_pico swin_tiny_patch4_window7_224:embed_dim=36 convnext_atto "
    "vit_tiny_patch16_224:depth=9 --train DATA --config benchmarks/equal_training.yaml --parallel 2 "
    "--output build/equal_training"
)

_ABLATION = (
    "--skeleton.embed_dim 16 --skeleton.initialization fan_in --train DATA --config benchmarks/ablation.yaml "
    "--parallel 2 --output build/ablation"
)

ABLATION_COMMANDS = (
    f"focalnets compare --variations full additive no_gates no_global top_level_only --seeds 3 {_ABLATION}",
    "focalnets compare --variations levels_0 levels_1 levels_4 overlapped_embedding depthwise_convolution "
    f"pooling_aggregator pooling windowed_attention global_attention --seeds 1 {_ABLATION}",
)

_INTRODUCTION = """# Results

Made from `benchmarks/results/` by `python -m benchmarks.results_page`; do not edit. What the commands mean stands in
[comparing.md](comparing.md); speed and memory beside other implementations of the same network in
[performance.md](performance.md)."""

_COMPARISON = """\
Random weights, float32. All networks of a task, size and batch were timed in one process, in rounds whose order was
drawn anew; peak memory is what one call adds, alone in a process of its own. Multiply-accumulates leave elementwise
products out. Accuracy is quoted from the publications, not measured."""

_EQUAL_TRAINING = """\
Four families, the depth or width of three changed so that all are of about one size, trained alike from random weights:
the same images, changes of images, schedule, epochs and drop path. Top-1 is that of the last epoch on all validation
images, with the 95 % interval by their number; one seed. The start is not equal: stem, downsampling and initialisation
of pico were chosen for short trainings on these very images ([log](log.md)), and the rate suits it, while the others
are timm's networks as they are, made for hundreds of epochs on a hundred times as many images. So the table says what
to take for a short training on few images, not which family is best."""

_VARIATIONS = """\
One skeleton, one change a row, all trained alike from random weights. Top-1 is that of the last epoch on the validation
images: the mean over the seeds with its 95 % interval by Student's distribution, of a single seed with the interval by
the number of images. The skeleton is a small one and the training short, so that all fits on two cores; the published
figures beside are those of the full-size skeleton after 300 epochs on ImageNet-1K (Yang et al., NeurIPS 2022), and
only the differences to the first row may be compared with each other, with care. Rows whose intervals overlap are not
told apart."""


def write_page(results: Path = RESULTS, document: Path = DOCUMENT) -> str:
    """Write the page, and the pictures into ``images`` beside it; what was not measured is named. Returns the page."""
    comparison = read_comparison(results / "comparison", None)
    accuracies = read_accuracies(results / "ablation")
    parts = [_INTRODUCTION, "## Networks side by side", _COMPARISON]
    if comparison.cells:
        parts += [_provenance(comparison.origin), *_costs(comparison), *_pictures(comparison, document)]
    else:
        parts += ["Not measured yet; this does:", commands(COMPARISON_COMMAND)]
    parts += ["## The network in the package", shipped_training.DESCRIPTION, *shipped_training.show(document)]
    parts += ["## Networks of one size after equal training", _EQUAL_TRAINING]
    equal = read_accuracies(results / "equal_training")
    if equal is not None and equal.rows:
        parts += [_provenance(equal.origin), _training(equal), table(_networks_trained(equal))]
        if draw_accuracies(equal, document.parent / "images" / "equal_training.png"):
            parts.append("![top-1 after equal training](images/equal_training.png)")
        parts.append("Made by:")
    else:
        parts.append("Not measured yet; this does, with DATA a folder of Imagenette:")
    parts.append(commands(EQUAL_TRAINING_COMMAND))
    parts += ["## Objects and pixels beside torchvision", DESCRIPTION, *_dense(results / "dense_baselines.json")]
    parts += _language(results / "language_peers.json")
    parts += _causal(results / "causal.json")
    parts += ["## Variations of the architecture", _VARIATIONS]
    if accuracies is not None and accuracies.rows:
        parts += [_provenance(accuracies.origin), _skeleton(accuracies), table(_variations(accuracies))]
        if draw_accuracies(accuracies, document.parent / "images" / "ablation.png"):
            parts.append("![top-1 of the variations](images/ablation.png)")
        parts.append("Made by:")
    else:
        parts.append("Not measured yet; these do, with DATA a folder of Imagenette:")
    parts.append(commands(*ABLATION_COMMANDS))
    page = "\n\n".join(_wrap(part) for part in parts) + "\n"
    document.write_text(page, encoding="utf-8")
    return page


def _dense(file: Path) -> list[str]:
    if not file.exists():
        return ["Not measured yet; these do, with folders of these data:", commands(*COMMANDS)]
    content = read_json(file)
    return _measured(content, _newest(content["rows"]), format_tables(content["rows"]), COMMANDS)


def _language(file: Path) -> list[str]:
    """Show language models after equal training; nothing where none were trained."""
    content = read_json(file) if file.exists() else {}
    if not content.get("trainings"):
        return []
    tables = language_tables.format_tables(content)
    parts = _measured(content, _newest(content["trainings"]), tables, language_tables.COMMANDS)
    return ["## Language models of one size", language_tables.DESCRIPTION, *parts]


def _newest(rows: Sequence[dict[str, Any]]) -> str:
    return max(row["date"] for row in rows)


def _measured(content: dict[str, Any], date: str, tables: str, made_by: Sequence[str]) -> list[str]:
    machine = {**content["machine"], "date": date[:10], **content["versions"]}
    words = ", ".join(f"{key} {_in_words(value)}" for key, value in machine.items() if value is not None)
    return [f"{words}.", *tables.split("\n\n"), "Made by:", commands(*made_by)]


def _in_words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _causal(file: Path) -> list[str]:
    parts = ["## Language: speed beside attention", causal.DESCRIPTION]
    if not file.exists():
        return [*parts, "Not measured yet; this does:", commands(*causal.COMMANDS)]
    content = read_json(file)
    return [*parts, *_measured(content, content["date"], causal.format_tables(content), causal.COMMANDS)]


def _costs(comparison: Comparison) -> list[str]:
    parts = [table(_networks(comparison))]
    groups = dict.fromkeys((cell.task, cell.batch) for cell in comparison.sorted_cells())
    for task, batch in groups:
        cells = {
            (cell.model, cell.size_px): cell
            for cell in comparison.cells.values()
            if (cell.task, cell.batch) == (task, batch)
        }
        sizes = sorted({size for _, size in cells})
        words = "Training step" if task == "training" else "Inference"
        parts += [f"### {words}, batch {batch}", table(_times(comparison, cells, sizes, batch))]
        memory = _memory(comparison, cells, sizes)
        parts += ["Peak memory added [MiB]:", table(memory)]
    return parts


def _networks(comparison: Comparison) -> list[list[str]]:
    sizes = sorted({cell.size_px for cell in comparison.cells.values()})
    rows = [["network", "M parameters", *(f"GMACs at {size} px" for size in sizes), "published top-1 [%]", "by"]]
    for network in comparison.networks.values():
        cells = [cell for cell in comparison.cells.values() if cell.model == network.name]
        macs = {cell.size_px: cell.macs for cell in cells if cell.macs}
        published = "" if network.published_top1_percent is None else f"{network.published_top1_percent:.1f}"
        counted = [f"{macs[size] / 1e9:.2f}" if size in macs else "" for size in sizes]
        parameters = "" if network.parameters is None else f"{network.parameters / 1e6:.2f}"
        rows.append([network.name, parameters, *counted, published, network.published_by or ""])
    return rows


def _times(
    comparison: Comparison, cells: dict[tuple[str, int], Cell], sizes: Sequence[int], batch: int
) -> list[list[str]]:
    heads = [f"{size} px [ms]" for size in sizes]
    rows = [["network", *heads, f"per pixel, {sizes[-1]} against {sizes[0]} px"]]
    for name in comparison.networks:
        row, per_pixel = [name], []
        for size in sizes:
            cell = cells.get((name, size))
            row.append("" if cell is None else cell.result + (f"; {cell.rounds} rounds" if cell.rounds else ""))
            if cell is not None and cell.latency_s is not None:
                per_pixel.append((size, cell.latency_s["median"] / (batch * size**2)))
        whole = len(per_pixel) > 1 and (per_pixel[0][0], per_pixel[-1][0]) == (sizes[0], sizes[-1])
        rows.append([*row, f"{per_pixel[-1][1] / per_pixel[0][1]:.2f}" if whole else ""])
    return rows


def _memory(comparison: Comparison, cells: dict[tuple[str, int], Cell], sizes: Sequence[int]) -> list[list[str]]:
    rows = [["network", *(f"{size} px" for size in sizes)]]
    for name in comparison.networks:
        found = [cells.get((name, size)) for size in sizes]
        rows.append(
            [name, *("" if c is None or c.peak_bytes is None else f"{c.peak_bytes / 2**20:.0f}" for c in found)]
        )
    return rows


def _pictures(comparison: Comparison, document: Path) -> list[str]:
    """Draw time, and accuracy where it is published; the others lie in the output folder of the command."""
    links = []
    with tempfile.TemporaryDirectory() as folder:
        for name in draw_comparison(comparison, Path(folder)):
            if "latency" in name or name == "published_accuracy.png":
                target = document.parent / "images" / f"comparison_{name}"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(Path(folder) / name, target)
                links.append(f"![{name.removesuffix('.png').replace('_', ' ')}](images/{target.name})")
    return links


def _networks_trained(accuracies: Accuracies) -> list[list[str]]:
    rows = [["network", "M parameters", "MMACs", "top-1 (95 % interval)", "minutes of training"]]
    for network in sorted(accuracies.rows, key=lambda row: -1.0 if row.mean is None else row.mean, reverse=True):
        parameters = "" if network.parameters is None else f"{network.parameters / 1e6:.2f}"
        macs = "" if network.macs is None else f"{network.macs / 1e6:.0f}"
        minutes = "" if network.training_s is None else f"{network.training_s / 60:.1f}"
        rows.append([network.model, parameters, macs, network.result, minutes])
    return rows


def _skeleton(accuracies: Accuracies) -> str:
    skeleton = ", ".join(f"{key} {value}" for key, value in accuracies.setting["skeleton"].items())
    return f"Skeleton: focalnet_tiny_lrf with {skeleton or 'nothing changed'}. {_training(accuracies)}"


def _training(accuracies: Accuracies) -> str:
    training, data = accuracies.setting["training"], accuracies.setting["data"]
    return (
        f"{data['name']}: {data['images_to_train']:,} images to train, {data['images_to_validate']:,} to validate, "
        f"{training['image_size']} px; {training['epochs']} epochs in batches of {training['batch_size']}, "
        f"{training['optimizer']} at {training['learning_rate']:g}, {training['augmentation']} augmentation, drop path "
        f"{accuracies.setting['drop_path']:g}."
    )


def _variations(accuracies: Accuracies) -> list[list[str]]:
    first = accuracies.rows[0]
    rows = [
        [
            "variation", "what it changes", "M parameters", "MMACs", "seeds", "top-1 (95 % interval)",
            f"against {first.model}", "published [%]", f"published, against {first.model}",
        ]
    ]  # fmt: skip
    for variation in accuracies.rows:
        published = variation.published_top1_percent
        against = _difference(
            100 * variation.mean if variation.mean is not None else None, _percent(first), variation is first
        )
        rows.append(
            [
                variation.model,
                variation.summary or "",
                "" if variation.parameters is None else f"{variation.parameters / 1e6:.2f}",
                "" if variation.macs is None else f"{variation.macs / 1e6:.1f}",
                str(len(variation.scores)),
                variation.result,
                against,
                "" if published is None else f"{published:.1f}",
                _difference(published, first.published_top1_percent, variation is first),
            ]
        )
    return rows


def _percent(row: Accuracy) -> float | None:
    return None if row.mean is None else 100 * row.mean


def _difference(value: float | None, base: float | None, same: bool) -> str:
    return "" if same or value is None or base is None else f"{value - base:+.1f}"


def _provenance(origin: dict[str, Any]) -> str:
    machine = ", ".join(f"{key} {value}" for key, value in origin["machine"].items() if value not in (None, {}))
    return f"`{origin['command']}`, {origin['date'][:10]}, {origin['seconds']:.0f} s. {machine}."


def _wrap(part: str) -> str:
    if part.startswith(("#", "|", "    ", "!")):
        return part
    return wrapped(" ".join(part.split()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Take over results, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results_page", description=__doc__)
    parser.add_argument("--comparison", type=Path, metavar="DIR", help="output folder of the comparison")
    parser.add_argument("--equal_training", type=Path, metavar="DIR", help="output folder of the equal training")
    parser.add_argument("--ablation", type=Path, metavar="DIR", help="output folder of the ablation")
    options = parser.parse_args(arguments)
    files = (("comparison", "comparison.json"), ("equal_training", "accuracy.json"), ("ablation", "accuracy.json"))
    for name, file in files:
        folder = getattr(options, name)
        if folder is not None:
            (RESULTS / name).mkdir(parents=True, exist_ok=True)
            text = (folder / file).read_text(encoding="utf-8")
            # Where the data lay on this machine is nobody's business: --train keeps the last part of the path.
            text = re.sub(r"(--train )\S*/(?=[^/\s]+)", r"\1", text)
            (RESULTS / name / file).write_text(text, encoding="utf-8")
    write_page()
    print(f"written to {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
