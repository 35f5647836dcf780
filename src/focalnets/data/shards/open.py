"""One door to labelled images in shards: on this disk or on a server, with an index or without."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from focalnets.data.class_matching import match_classes
from focalnets.data.finding import is_no_data_folder, list_folder
from focalnets.data.samples import ImageFile, Sample
from focalnets.data.shards.cache import length_of, reason_of, request, version_of, without_query
from focalnets.data.shards.index import (
    INDEX_NAME,
    ShardedImages,
    assemble,
    expand,
    is_pattern,
    place_in_shards,
    read_index,
)
from focalnets.data.shards.members import Shard, scan_shard
from focalnets.data.splits import EvaluationFolder, ImageFolders, labelled, split_by_class
from focalnets.errors import DataError, quoted_list
from focalnets.files import is_there, parse_json, read_json, user_path

__all__ = ["is_shards", "open_evaluation_shards", "open_image_shards", "open_remote", "open_shards"]

_MOST_INDEX_BYTES = 4 << 30


def is_shards(data: str | Path) -> bool:
    """Whether this names shards rather than a folder of images: a URL, a pattern, a tar file, or a folder of these."""
    text = str(data)
    if "://" in text or text.startswith("pipe:") or is_pattern(text):
        return True
    path = user_path(text)
    if is_there(path) and path.is_dir():
        entries = [path / entry.name for entry in list_folder(path) if not is_no_data_folder(entry.name)]
        if (path / INDEX_NAME).is_file():
            # Any other file may be called index.json, too.
            return any(entry.suffix == ".tar" for entry in entries) or not any(entry.is_dir() for entry in entries)
        # A tar file that lies beside folders of classes makes no shards of them.
        return any(entry.suffix == ".tar" for entry in entries) and not any(entry.is_dir() for entry in entries)
    return path.name == INDEX_NAME or path.suffix in (".tar", ".tgz") or ".tar." in path.name


def open_image_shards(location: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageFolders:
    """Say which images of some shards train a network and which are held out.

    The sides of the shards are taken where they have both; otherwise the same images are held out as would be from the
    folder or table that the shards were made of.

    Raises:
        DataError: If shards are missing, damaged or not as expected, or hold too few classes or images.
        ConfigError: If ``val_fraction`` is out of range.
    """
    found = open_shards(location)
    classes, sides, split = found.class_names, found.sides, found.split
    if not (sides.get("train") and sides.get("val")):
        by_class = _by_class([sample for samples in sides.values() for sample in samples], classes)
        train, val, split = split_by_class(
            by_class,
            place=found.location,
            name_of=lambda file: found.origins[file],  # type: ignore[index]
            val_fraction=val_fraction,
            seed=seed,
        )
        sides = {"train": labelled(train, classes), "val": labelled(val, classes)}
        if found.shards[0].is_remote:
            # As they lie in the shards, so that each is fetched once.
            sides = {side: tuple(sorted(samples, key=place_in_shards)) for side, samples in sides.items()}
    present = {label for _, label in sides["train"]}
    if len(present) < 2:
        raise DataError(f"the shards '{found.location}' hold fewer than two classes to train on; expected two or more.")
    alone = sorted({label for _, label in sides["val"]} - present)
    if alone:
        raise DataError(
            f"the shards '{found.location}' hold classes out that they do not train: "
            f"{quoted_list([classes[label] for label in alone])}."
        )
    return ImageFolders(
        root=found.location if found.shards[0].is_remote else Path(found.location),
        classes=classes,
        train=sides["train"],
        val=sides["val"],
        split=split,
        kind="shards",
        notes=found.notes,
    )


def open_evaluation_shards(location: str | Path, classes: Sequence[str] | None = None) -> EvaluationFolder:
    """The images of some shards that a network is measured on: those held out, or all where none are.

    Args:
        location: A folder, tar file, pattern or URL.
        classes: Names of the network's classes; labels index into them. None takes the shards' own.

    Raises:
        DataError: If shards are missing, damaged or not as expected, or hold classes that the network does not have.
    """
    found = open_shards(location)
    names = found.class_names
    samples = found.sides.get("val") or tuple(sample for side in found.sides.values() for sample in side)
    if classes is None:
        return EvaluationFolder(root=found.location, classes=names, samples=samples, notes=found.notes)
    present = sorted({label for _, label in samples})
    if found.classes is None:
        # Numbers count in the network's outputs.
        if present[-1] >= len(classes):
            raise DataError(
                f"the shards '{found.location}' name class {present[-1]}, but the network has {len(classes)} classes."
            )
        return EvaluationFolder(root=found.location, classes=tuple(classes), samples=samples, notes=found.notes)
    index = match_classes([names[label] for label in present], classes, found.location)
    return EvaluationFolder(
        root=found.location,
        classes=tuple(classes),
        samples=tuple((file, index[names[label]]) for file, label in samples),
        notes=found.notes,
    )


def open_shards(location: str | Path) -> ShardedImages:
    """Find what a folder, tar file, pattern (``train-{000000..000012}.tar``) or URL of shards holds.

    An ``index.json`` that ``focalnets shard`` wrote is believed; otherwise the headers of every tar file are read.

    Raises:
        DataError: If shards are missing, damaged or not as expected.
    """
    text = str(location)
    if "://" in text or text.startswith("pipe:"):
        return open_remote(text)
    path = user_path(text)
    if path.name == INDEX_NAME:
        path = path.parent
    if is_there(path) and path.is_dir():
        if (path / INDEX_NAME).is_file():
            try:
                content = read_json(path / INDEX_NAME)
            except (OSError, ValueError) as error:
                raise DataError(
                    f"'{path / INDEX_NAME}' is no index of shards ({error}); make the shards again."
                ) from error
            return read_index(content, str(path))
        files = [path / entry.name for entry in list_folder(path) if Path(entry.name).suffix == ".tar"]
        if not files:
            raise DataError(
                f"the folder '{path}' holds no tar file and no {INDEX_NAME}; make shards with focalnets shard."
            )
    elif ".tar." in path.name or path.suffix == ".tgz":
        raise DataError(f"'{path}' is a compressed tar; images can be read where they lie in plain .tar files only.")
    else:
        files = [Path(name) for name in expand(str(path))]
    shards = [Shard(str(file), file.stat().st_size if is_there(file) else None) for file in files]
    return assemble(text, [scan_shard(shard) for shard in shards], shards)


def _by_class(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, list[ImageFile]]:
    images: dict[str, list[ImageFile]] = {}
    for file, label in sorted(samples, key=lambda sample: sample[1]):
        images.setdefault(classes[label], []).append(file)
    return images


def open_remote(url: str) -> ShardedImages:
    """Find what shards on a server hold.

    Args:
        url: Of a folder with an ``index.json``, of that file, or of tar files, as a pattern if there are several. Tar
            files without an index are read once from beginning to end, and nothing of them kept.

    Raises:
        DataError: If the address is not http(s), the server does not answer, or the shards are not as expected.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(
            f"'{url}' is no address that shards are read from; expected http:// or https:// (commands such as "
            "pipe: are never run)."
        )
    path = urlsplit(url).path
    if path.endswith(".tar"):
        shards, scans = [], []
        for address in expand(url):
            with request(address) as answer:
                shard = Shard(address, length_of(answer), version=version_of(answer))
                shards.append(shard)
                try:
                    scans.append(scan_shard(shard, answer))
                except http.client.HTTPException as error:
                    raise DataError(
                        f"the shard '{shard.place}' cannot be read ({reason_of(error)}); try again later."
                    ) from error
        return assemble(without_query(url), scans, shards)
    base, mark, query = url.partition("?")
    base = base.removesuffix(INDEX_NAME).rstrip("/")
    with request(f"{base}/{INDEX_NAME}{mark}{query}") as answer:
        try:
            content = parse_json(answer.read(_MOST_INDEX_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise DataError(f"'{base}/{INDEX_NAME}' cannot be read ({reason_of(error)}); try again later.") from error
        except ValueError as error:
            raise DataError(f"'{base}/{INDEX_NAME}' is no index that focalnets shard wrote ({error}).") from error
    return read_index(content, base, f"{mark}{query}")
