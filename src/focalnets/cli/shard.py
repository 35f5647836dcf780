"""``focalnets shard``: images packed into tar files that are read without unpacking."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.options import add_flag, add_json, add_output, require_whole
from focalnets.cli.output import deliver, note, progress
from focalnets.errors import ConfigError, DataError

EXAMPLES = """\
  focalnets shard photos shards
  focalnets shard photos.csv shards --samples_per_shard 2000
  focalnets shard photos --output shards --max_bytes 500000000 --val_fraction 0.1

  DATA is a folder of classes or a CSV file. Image files are kept byte for byte; index.json says what lies where, with
  the hash of every shard. Stopped and started again, it goes on after the last whole shard.
  Without train and val in DATA, the shards are split when training as DATA would be, unless --val_fraction is given."""


def add_arguments(parser: Any) -> None:
    """Add the data, the output and how large shards become."""
    parser.add_argument("data", type=str, metavar="DATA", help="folder of images or CSV file")
    parser.add_argument("folder", type=str, nargs="?", metavar="OUT", help="folder for the shards; --output as well")
    add_output(parser, "folder for the shards, in place of OUT")
    parser.add_argument("--samples_per_shard", type=int, default=10_000, help="images in a shard (default: 10000)")
    parser.add_argument("--max_bytes", type=int, help="bytes in a shard, at most (default: no limit)")
    parser.add_argument(
        "--val_fraction", type=float, help="hold out this fraction of each class now (default: when training)"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses the order and what is held out (default: 0)")
    add_flag(parser, "overwrite", "replace shards that focalnets shard wrote into the output folder")
    add_json(parser, "what was written")


def run(arguments: Any) -> int:
    """Write the shards and say what was written."""
    if (arguments.folder is None) == (arguments.output is None):
        raise ConfigError("focalnets shard needs one folder for the shards; give it after DATA, or by --output.")
    require_whole(arguments, samples_per_shard=1, max_bytes=1, seed=0)
    output = arguments.folder or arguments.output
    require_folder(output, ("index.json", "unfinished.jsonl"))
    from focalnets.data.folders import folder_of_classes
    from focalnets.data.samples import Sample
    from focalnets.data.shards.open import is_shards
    from focalnets.data.shards.writing import write_shards
    from focalnets.data.sources import open_evaluation_images, open_images

    if is_shards(arguments.data):
        raise DataError(f"'{arguments.data}' already holds shards; expected a folder of images or a CSV file.")
    fixed = arguments.val_fraction is not None
    found = open_images(arguments.data, val_fraction=arguments.val_fraction if fixed else 0.2, seed=arguments.seed)
    parts: dict[Any, tuple[Sample, ...]] = {"train": found.train, "val": found.val}
    split = found.split
    if not fixed and "held out, seed" in split:
        # Names count from the folder of the classes, because they decide what is held out later.
        place = found.root if found.kind == "csv" else folder_of_classes(arguments.data)
        parts, split = {"all": open_evaluation_images(place, found.classes).samples}, "not split"
        found = dataclasses.replace(found, root=place)
    for text in found.notes:
        note(text)
    images = sum(map(len, parts.values()))
    with progress("writing", images) as show:
        result = write_shards(
            parts,
            found.classes,
            output,
            name_of=found.name_of,
            split=split,
            samples_per_shard=arguments.samples_per_shard,
            max_bytes=arguments.max_bytes,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
            on_progress=show,
        )
    deliver(
        arguments,
        lambda: _show(result, found.classes, output),
        json=lambda: {
            "output": str(output),
            "index": str(result.index),
            "images": result.images,
            "classes": list(found.classes),
            "shards": result.shards,
            "shards_already_there": result.kept,
            "bytes": result.size,
        },
    )
    return 0


def _show(result: Any, classes: Any, output: str) -> None:
    kept = f", {result.kept} of them already there" if result.kept else ""
    print(
        f"{result.images:,} images of {len(classes)} classes in {result.shards} shards{kept}, "
        f"{result.size / 1e6:,.1f} MB; index: {result.index}\n"
        f"next: focalnets train {output}"
    )
