"""``focalnets shard``: images packed into tar files that are read without unpacking."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from focalnets.errors import DataError

EXAMPLES = """\
  focalnets shard photos shards
  focalnets shard photos.csv shards --samples-per-shard 2000
  focalnets shard photos shards --max-bytes 500000000 --val_fraction 0.1

  DATA is a folder of classes or a CSV file. Image files are kept byte for byte; index.json says what lies where, with
  the hash of every shard. Stopped and started again, it goes on after the last whole shard.
  Without train and val in DATA, the shards are split when training as DATA would be, unless --val_fraction is given."""


def add_arguments(parser: Any) -> None:
    """Add the data, the output and how large shards become."""
    parser.add_argument("data", metavar="DATA", help="folder of images or CSV file")
    parser.add_argument("output", metavar="OUT", help="folder for the shards")
    parser.add_argument("--samples_per_shard", type=int, default=10_000, help="images in a shard (default: 10000)")
    parser.add_argument("--max_bytes", type=int, help="bytes in a shard, at most (default: no limit)")
    parser.add_argument(
        "--val_fraction", type=float, help="hold out this share of each class now (default: when training)"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses the order and what is held out (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace shards that are already in the output folder")


def run(arguments: Any) -> int:
    """Write the shards and say what was written."""
    from focalnets.cli.output import progress
    from focalnets.data.samples import Sample
    from focalnets.data.shards.index import Side
    from focalnets.data.shards.open import is_shards
    from focalnets.data.shards.writing import write_shards
    from focalnets.data.sources import open_evaluation_images, open_images

    if is_shards(arguments.data):
        raise DataError(f"'{arguments.data}' already holds shards; expected a folder of images or a CSV file.")
    fixed = arguments.val_fraction is not None
    found = open_images(arguments.data, val_fraction=arguments.val_fraction if fixed else 0.2, seed=arguments.seed)
    sides: dict[Side, tuple[Sample, ...]] = {"train": found.train, "val": found.val}
    split = found.split
    if not fixed and "held out, seed" in split:
        # Names count from the folder of the classes, because they decide what is held out later.
        inner = Path(arguments.data).expanduser() / "train"
        place = (
            inner if all(isinstance(file, Path) and inner in file.parents for file, _ in found.train) else found.root
        )
        sides, split = {"all": open_evaluation_images(place, found.classes).samples}, "not split"
        found = dataclasses.replace(found, root=place)
    images = sum(map(len, sides.values()))
    with progress("writing", images) as show:
        result = write_shards(
            sides,
            found.classes,
            arguments.output,
            name_of=found.name_of,
            split=split,
            samples_per_shard=arguments.samples_per_shard,
            max_bytes=arguments.max_bytes,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
            on_progress=show,
        )
    kept = f", {result.kept} of them already there" if result.kept else ""
    print(
        f"{result.images:,} images of {len(found.classes)} classes in {result.shards} shards{kept}, "
        f"{result.size / 1e6:,.1f} MB; index: {result.index}\n"
        f"next: focalnets train {arguments.output}"
    )
    return 0
