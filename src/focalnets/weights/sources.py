"""Where published weights are, and how they are fetched.

Nothing is fetched unless asked for. Files come from the Hugging Face hub through its cache, or from the release page of
the official repository into torch's cache; both are reused afterwards without a network. Imports no torch until a
release file is fetched.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable
from pathlib import Path

from focalnets.errors import CheckpointError
from focalnets.models.variants import VARIANTS
from focalnets.weights.shipped import shipped_for_variant

__all__ = ["SOURCES", "Source", "fetch_hub", "fetch_variant", "hub_id", "release_cache"]

_logger = logging.getLogger("focalnets")

_RELEASE = "https://github.com/microsoft/FocalNet/releases/download/v1.0.0/"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
_COMPANIONS = ("config.json", "preprocessor_config.json")
_HUB_ID = re.compile(r"(?:hf-hub:|hf_hub:)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One place that holds the weights of a variant.

    Attributes:
        place: Hub id, or address of the file.
        filename: Name of the weights file there.
        sha256: Digest of that file, or None: no digests are published.
        licence: Licence of the weights.
        trained_on: ``ImageNet-1K`` or ``ImageNet-22K``.
        input_size_px: Size that the published figure holds for.
        top1_percent: Published ImageNet-1K accuracy of these very weights, or None.
        num_classes: Outputs in the file; 0 for a file without classifier.
    """

    place: str
    filename: str
    sha256: str | None = None
    licence: str = "MIT"
    trained_on: str
    input_size_px: int
    top1_percent: float | None
    num_classes: int

    @property
    def is_hub(self) -> bool:
        """Whether the place is a hub id."""
        return not self.place.startswith("https://")


def _catalogue() -> dict[str, tuple[Source, ...]]:
    sources: dict[str, tuple[Source, ...]] = {}
    places: tuple[tuple[str, str], ...]
    for size in ("tiny", "small", "base"):
        for focus in ("srf", "lrf"):
            name = f"focalnet_{size}_{focus}"
            published = VARIANTS[name].published
            places = (
                (f"timm/{name}.ms_in1k", "model.safetensors"),
                (f"microsoft/focalnet-{size}{'' if focus == 'srf' else '-lrf'}", "model.safetensors"),
                (f"{_RELEASE}{name}.pth", f"{name}.pth"),
            )
            sources[name] = tuple(
                Source(
                    place=place,
                    filename=filename,
                    trained_on="ImageNet-1K",
                    input_size_px=224,
                    top1_percent=None if published is None else published.top1_percent,
                    num_classes=1000,
                )
                for place, filename in places
            )
    for size in ("large", "xlarge", "huge"):
        for levels in ("fl3", "fl4"):
            name = f"focalnet_{size}_{levels}"
            places = ((f"timm/{name}.ms_in22k", "model.safetensors"),)
            if size != "huge":
                release = f"focalnet_{size}_lrf_384{'' if levels == 'fl3' else '_fl4'}.pth"
                places += ((_RELEASE + release, release),)
            sources[name] = tuple(
                Source(
                    place=place,
                    filename=filename,
                    trained_on="ImageNet-22K",
                    input_size_px=VARIANTS[name].preprocessing.input_size_px,
                    top1_percent=None,
                    num_classes=0 if name == "focalnet_huge_fl4" else 21842,
                )
                for place, filename in places
            )
    return sources


SOURCES: dict[str, tuple[Source, ...]] = _catalogue()
"""Places of the published weights of each variant, in the order in which they are tried. Other variants have none."""


def hub_id(source: str) -> tuple[str, str | None] | None:
    """Read hub id and revision from a text such as ``timm/focalnet_tiny_srf.ms_in1k@main``; None for other texts."""
    match = _HUB_ID.fullmatch(source)
    return (match[1], match[2]) if match else None


def fetch_variant(name: str) -> Path:
    """Fetch weights of a variant: those inside the package, or published ones from the cache or a place that answers.

    Raises:
        CheckpointError: If none is published, or no place could be reached; names the places and what to do.
    """
    inside = shipped_for_variant(name)
    if inside is not None:
        return inside.weights
    if name not in SOURCES:
        raise CheckpointError(
            f"No weights of {name} are published; train it, or give a local file to focalnets.load_model(path)."
        )
    tried = []
    for source in SOURCES[name]:
        try:
            return fetch_hub(source.place) if source.is_hub else _fetch_release(source)
        except CheckpointError as error:
            _logger.info("%s", error)
            tried.append(source.place)
    raise CheckpointError(
        f"The published weights of {name} could not be fetched from {', '.join(tried)}; check the network, or download "
        "one of them elsewhere and give the file to focalnets.load_model(path)."
    )


def fetch_hub(repository: str, revision: str | None = None) -> Path:
    """Fetch the weights file of a hub repository into the local cache, with its descriptions beside it.

    Raises:
        CheckpointError: If the repository does not exist, has no weights, or cannot be reached and is not cached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    only_cache = False
    reason = "it holds no weights file"

    def fetch(filename: str) -> Path | None:
        nonlocal only_cache, reason
        try:
            return Path(hf_hub_download(repository, filename, revision=revision, local_files_only=only_cache))
        except LocalEntryNotFoundError:
            # No answer and not in the cache: the other files of this repository are looked for in the cache only.
            only_cache, reason = True, "the hub does not answer and it is not in the cache"
        except EntryNotFoundError:
            pass
        except Exception as error:  # the hub's client lets errors of its transport through
            only_cache, reason = True, str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        return None

    for filename in _HUB_FILES:
        path = fetch(filename)
        if path is None:
            continue
        for companion in _COMPANIONS:
            fetch(companion)
        if filename.endswith(".index.json"):
            _fetch_shards(path, fetch)
        return path
    raise CheckpointError(
        f"Weights of {repository} could not be fetched ({reason}); give a local file to focalnets.load_model(path)."
    )


def _fetch_shards(index: Path, fetch: Callable[[str], Path | None]) -> None:
    from focalnets.weights.readers import read_json_object

    places = read_json_object(index).get("weight_map")
    for filename in sorted(set(map(str, places.values()))) if isinstance(places, dict) else ():  # the reader complains
        if Path(filename).name == filename:  # the reader refuses others
            fetch(filename)


def release_cache() -> Path:
    """Find the folder that files from the release page are kept in."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / "focalnets"


def _fetch_release(source: Source) -> Path:
    import torch
    from huggingface_hub import constants

    path = release_cache() / source.filename
    if path.is_file():
        return path
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(f"{source.place} is not in the cache and HF_HUB_OFFLINE forbids the network.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Writes under a temporary name and renames, so that a broken download leaves nothing.
        torch.hub.download_url_to_file(source.place, str(path), hash_prefix=source.sha256, progress=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{source.place} could not be downloaded: {error}.") from error
    return path
