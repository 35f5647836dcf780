"""``focalnets models``: every network with its size and cost, beside the published figures. Imports no torch."""

from __future__ import annotations

import fnmatch
from typing import Any

from focalnets.cli.options import add_csv, add_json, add_size, require_whole
from focalnets.cli.output import deliver
from focalnets.errors import UnknownNameError, nearest
from focalnets.files import csv_text
from focalnets.models.complexity import complexity
from focalnets.models.heads.sizes import COUNTED_CLASSES, head_parameters
from focalnets.models.heads.table import DENSE_NETWORKS
from focalnets.models.variants import VARIANTS, list_models
from focalnets.weights.shipped import SHIPPED, Shipped, shipped_for_variant
from focalnets.weights.sources import SOURCES, Source

EXAMPLES = """\
  focalnets models
  focalnets models tiny
  focalnets models "*_lrf" --size 384
  focalnets models --json models.json
  focalnets models mask                     # networks for places in images too
"""

_TABLE_WIDTH = 100


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "pattern",
        type=str,
        nargs="?",
        metavar="PATTERN",
        help="names to list, a part of them or with * and ?",
    )
    add_size(parser, "height and width that costs are counted for", default=224)
    add_json(parser, "the table")
    add_csv(parser, "the table")


def run(arguments: Any) -> int:
    """List the networks."""
    require_whole(arguments, size=(1, 1_000_000))
    pattern = arguments.pattern or "*"
    pattern = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = list_models(pattern)
    inside = [_inside(row) for row in SHIPPED.values() if row.is_present and _is_meant(row, pattern, names)]
    dense = [_dense_row(name) for name in DENSE_NETWORKS if fnmatch.fnmatchcase(name, pattern)]
    if not names and not inside and not dense:
        hint = nearest(arguments.pattern, [*VARIANTS, *SHIPPED, *DENSE_NETWORKS], "`focalnets models` lists them all.")
        raise UnknownNameError(f"No network is called like {arguments.pattern!r}; {hint}")
    rows = [_row(name, arguments.size) for name in names]
    deliver(
        arguments,
        lambda: _show(rows, dense, inside, arguments.size),
        json=lambda: {"size_px": arguments.size, "models": rows, "dense_models": dense, "inside_the_package": inside},
        csv=lambda: _as_csv(rows),
    )
    return 0


def _show(rows: list[dict[str, Any]], dense: list[dict[str, Any]], inside: list[dict[str, Any]], size_px: int) -> None:
    if rows:
        _print_table(rows, size_px)
    if dense:
        _print_dense(dense)
    for row in inside:
        print(_describe_shipped(row))


def _as_csv(rows: list[dict[str, Any]]) -> str:
    lists = [{**row, "published_weights": " ".join(row["published_weights"])} for row in rows]
    return csv_text(list(lists[0]) if lists else ["name"], [list(row.values()) for row in lists])


def _is_meant(row: Shipped, pattern: str, names: list[str]) -> bool:
    return row.variant in names or fnmatch.fnmatchcase(row.name, pattern)


def _inside(row: Shipped) -> dict[str, Any]:
    return {
        "name": row.name,
        "variant": row.variant,
        "trained_on": row.trained_on,
        "licence": row.licence,
        "class_names": list(row.class_names),
        "input_size_px": row.input_size_px,
        "top1_percent": row.top1_percent,
        "size_mb": round(row.size_bytes / 1e6, 2),
    }


def _describe_shipped(row: dict[str, Any]) -> str:
    top1 = "" if row["top1_percent"] is None else f", top-1 {row['top1_percent']:.1f} % on its images held out"
    return (
        f"\nin the package, no network connection needed: {row['name']} ({row['size_mb']} MB, {row['trained_on']} at "
        f"{row['input_size_px']} px{top1})\nknows {len(row['class_names'])} classes: {', '.join(row['class_names'])}"
    )


def _row(name: str, size_px: int) -> dict[str, Any]:
    row = VARIANTS[name]
    counted = complexity(row.config, size_px)
    published = row.published
    inside = shipped_for_variant(name)
    sources = SOURCES.get(name, ())
    weights: Shipped | Source | None = inside or next(iter(sources), None)
    return {
        "name": name,
        "summary": row.summary,
        "parameters": counted.parameters,
        "parameters_without_classifier": complexity(row.config.replace(num_classes=0), size_px).parameters,
        "macs": counted.macs,
        "overlap_macs": counted.overlap_macs,
        "num_classes": row.config.num_classes,
        "input_size_px": row.preprocessing.input_size_px,
        "published_parameters_m": published.parameters_m if published else None,
        "published_parameters_without_classifier": bool(published and published.head_excluded),
        "published_gmacs_at_224": published.gmacs if published else None,
        "published_top1_percent": published.top1_percent if published else None,
        "published_weights": [source.place for source in sources] if inside is None else [inside.name],
        "weights_licence": weights.licence if weights else None,
        "weights_trained_on": weights.trained_on if weights else None,
    }


def _dense_row(name: str) -> dict[str, Any]:
    row = DENSE_NETWORKS[name]
    changes = {**row.backbone_fields, "num_classes": 0, "pyramid_norms": True}
    backbone = complexity(VARIANTS[row.backbone].config.replace(**changes), 224).parameters
    return {
        "name": name,
        "task": row.task,
        "backbone": row.backbone,
        "parameters": backbone + head_parameters(name),
        "parameters_of_backbone": backbone,
        "classes": COUNTED_CLASSES,
        "input_size_px": row.input.input_size_px,
        "summary": row.summary,
    }


def _print_dense(rows: list[dict[str, Any]]) -> None:
    import rich.markup
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("for places in images", "task", "backbone"):
        table.add_column(heading, no_wrap=True)
    for heading in ("params\n[M]", "of the\nbackbone", "input\n[px]"):
        table.add_column(rich.markup.escape(heading), justify="right", no_wrap=True)
    for row in rows:
        parameters = (f"{row[name] / 1e6:.2f}" for name in ("parameters", "parameters_of_backbone"))
        table.add_row(row["name"], row["task"], row["backbone"], *parameters, str(row["input_size_px"]))
    console = Console(width=max(Console().width, _TABLE_WIDTH))
    console.print()
    console.print(table)
    console.print(f"\nParameters with {COUNTED_CLASSES} classes.", highlight=False)


def _print_table(rows: list[dict[str, Any]], size_px: int) -> None:
    import rich.markup
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    headings = (
        "params\n[M]",
        "pub-\nlished",
        f"GMACs\nat {size_px}",
        "+ over-\nlap",
        "pub-\nlished",
        "top-1\n[%]",
        "input\n[px]",
    )
    for heading in map(rich.markup.escape, headings):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("published\nweights", no_wrap=True)
    for row in rows:
        excluded = row["published_parameters_without_classifier"]
        parameters = row["parameters_without_classifier"] if excluded else row["parameters"]
        table.add_row(
            row["name"],
            f"{parameters / 1e6:.2f}{'*' if excluded else ' '}",
            _digits(row["published_parameters_m"]) + ("*" if excluded else " "),
            f"{row['macs'] / 1e9:.2f}",
            f"{row['overlap_macs'] / 1e9:.2f}" if row["overlap_macs"] else "",
            _digits(row["published_gmacs_at_224"] if size_px == 224 else None),
            _digits(row["published_top1_percent"]),
            str(row["input_size_px"]),
            row["weights_trained_on"] or "none",
        )
    # Never narrower than the table: names that are cut cannot be copied.
    console = Console(width=max(Console().width, _TABLE_WIDTH))
    console.print(table)
    console.print(
        "\nMultiply-accumulates are counted as the published ones: an overlapped embedding counts as one without "
        "overlap;\nwhat it costs beyond that stands under + overlap. Top-1 is ImageNet-1K at 224 px, trained on "
        "ImageNet-1K alone.\n* without the classifier of 21,842 classes",
        highlight=False,
        markup=False,
    )


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
