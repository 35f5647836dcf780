"""What network a set of tensors belongs to, read from the tensors' names and shapes.

Axes: C channels of a stage, D channels of the first stage, k kernel size [tokens or px].
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig
from focalnets.models.fields import shortened
from focalnets.models.network_configs import NetworkConfig
from focalnets.models.variants import VARIANTS
from focalnets.weights.description import CLASSIFY, Interface

__all__ = ["Recognition", "contradictions", "matching_variants", "variant_of", "visible_settings"]

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recognition(Interface):
    """What was found in a weights file.

    Attributes:
        layout: ``focalnets``, ``official``, ``timm`` or ``transformers``.
        task: What the network does; ``classify`` unless our metadata say otherwise.
        variant: Name of the published variant with these layers, or None.
        notes: What was chosen although the tensors do not show it, what was left out, what was replaced; sentences.
        files: The files read.
    """

    layout: str
    task: str = CLASSIFY
    variant: str | None
    notes: tuple[str, ...]
    files: tuple[str, ...]

    def __str__(self) -> str:
        ending = ""
        if isinstance(self.config, FocalNetConfig):
            name = self.variant or f"a FocalNet of {self.config.embed_dim} channels and depths {self.config.depths}"
            ending = "dense backbone" if self.config.pyramid_norms else f"{self.num_classes} classes"
        else:
            name = f"a network of {self.config.dim} channels and {self.config.depth} blocks"
        if self.task != CLASSIFY:
            outputs = f" of {self.num_classes} outputs" if self.num_classes else ""
            ending = f"task {self.task}, head {self.head['kind']}{outputs}, input {self.input.kind}"
        return f"{name}, {ending}, {self.layout} layout, from {', '.join(self.files)}"


def visible_settings(shapes: Shapes, file: str) -> dict[str, Any]:
    """Read the fields of a config that names and shapes of tensors (ours) give away.

    ``layer_scale`` is given as True or False: whether there is one. ``focal_windows`` holds None for stages without
    levels.

    Raises:
        CheckpointError: If a tensor is missing without which the network cannot be recognised.
    """
    counts = _stage_counts(shapes, file)
    first = _shape(shapes, "stages.0.blocks.0.mlp.fc1.weight", 2, file)
    settings: dict[str, Any] = {
        "depths": tuple(counts),
        "embed_dim": first[1],
        "mlp_ratio": first[0] / first[1],
        "modulation_norm": "stages.0.blocks.0.modulation.norm.weight" in shapes,
        "layer_scale": "stages.0.blocks.0.layer_scale1" in shapes,
        "pyramid_norms": any(name.startswith("pyramid_norms.") for name in shapes),
        "num_classes": _shape(shapes, "head.weight", 2, file)[0] if "head.weight" in shapes else 0,
    }
    levels, windows = [], []
    for stage in range(len(counts)):
        kernels = _indices(shapes, rf"stages\.{stage}\.blocks\.\d+\.modulation\.kernels\.(\d+)", file)
        levels.append(kernels)
        windows.append(_window(shapes, stage) if kernels else None)
    settings["focal_levels"], settings["focal_windows"] = tuple(levels), tuple(windows)
    settings.update(_stem_settings(shapes, file))
    settings["downsampling"] = "double" if "stages.1.downsample.convolutions.0.weight" in shapes else "single"
    return settings


def matching_variants(visible: Mapping[str, Any], *, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Find variants whose visible fields, apart from the classifier and those in ``ignore``, are these."""
    ignore |= {"num_classes", "pyramid_norms", "in_chans"}
    fields = {key: value for key, value in visible.items() if key not in ignore}
    return [name for name, row in VARIANTS.items() if not contradictions(row.config, fields)]


def variant_of(config: NetworkConfig) -> str | None:
    """Find the variant that has the layers of a config, whatever its classifier and channels, or None."""
    if not isinstance(config, FocalNetConfig):
        return None
    return next((name for name, row in VARIANTS.items() if _layers(row.config) == _layers(config)), None)


def _layers(config: FocalNetConfig) -> FocalNetConfig:
    """Drop from a config what leaves the layers between stem and head as they are."""
    return config.replace(
        num_classes=0,
        in_chans=3,
        stem_padding=2,
        pyramid_norms=False,
        drop_path=0.0,
        dropout=0.0,
        initialization="official",
        layer_scale=None if config.layer_scale is None else 1.0,
    )


def contradictions(config: FocalNetConfig, visible: Mapping[str, Any]) -> list[str]:
    """List fields in which a config differs from what the tensors show, as ``field: the config's against theirs``."""
    different = []
    for field, shown in visible.items():
        claimed: Any = getattr(config, field)
        if field == "layer_scale":
            claimed = claimed is not None
        elif field == "focal_windows":
            claimed = tuple(None if seen is None else window for window, seen in zip(claimed, shown, strict=False))
        elif field == "mlp_ratio":
            claimed, shown = (_hidden(config.embed_dim, value) for value in (claimed, shown))
        elif field == "num_classes" and visible.get("pyramid_norms"):
            continue
        if claimed != shown:
            different.append(f"{field}: {shortened(claimed)} against {shortened(shown)}")
    return different


def _hidden(dim: int, ratio: float) -> int:
    return round(min(dim * ratio, 1e9))


def _stem_settings(shapes: Shapes, file: str) -> dict[str, Any]:
    if "stem.convolutions.0.weight" in shapes:
        first = _shape(shapes, "stem.convolutions.0.weight", 4, file)
        return {"stem": "convolutional", "patch_size": 4, "in_chans": first[1]}
    _, in_chans, kernel, _ = _shape(shapes, "stem.projection.weight", 4, file)
    between = shapes.get("stages.1.downsample.projection.weight")
    overlapped = kernel == 7 and (between is None or between[-1] == 3)
    return {
        "stem": "overlapped" if overlapped else "patch",
        "patch_size": 4 if overlapped else kernel,
        "in_chans": in_chans,
    }


def _window(shapes: Shapes, stage: int) -> int:
    """Read the kernel size of a stage's first level off any kernel of that stage; at least 1."""
    pattern = re.compile(rf"stages\.{stage}\.blocks\.\d+\.modulation\.kernels\.(\d+)")
    name, match = next((name, match) for name in shapes if (match := pattern.fullmatch(name)))
    return max(1, (shapes[name] or (1,))[-1] - 2 * int(match[1]))


def _stage_counts(shapes: Shapes, file: str) -> list[int]:
    stages = _indices(shapes, r"stages\.(\d+)\.blocks\..*", file)
    return [max(1, _indices(shapes, rf"stages\.{stage}\.blocks\.(\d+)\..*", file)) for stage in range(max(1, stages))]


def _indices(shapes: Shapes, pattern: str, file: str) -> int:
    """Count one more than the largest number that the pattern's group takes; 0 if it never matches."""
    compiled = re.compile(pattern)
    numbers = {int(match[1]) for name in shapes if (match := compiled.fullmatch(name))}
    if numbers and max(numbers) >= len(shapes):
        raise CheckpointError(
            f"{file} numbers its layers up to {max(numbers)} but holds only {len(shapes)} tensors; it is incomplete or "
            "not a FocalNet."
        )
    return max(numbers) + 1 if numbers else 0


def _shape(shapes: Shapes, name: str, ndim: int, file: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != ndim or 0 in shape:
        got = "it is missing" if shape is None else f"its shape is {shape}"
        raise CheckpointError(
            f"{file} is no complete FocalNet checkpoint: a tensor with {ndim} axes is expected for {name} "
            f"(the name it has here), but {got}."
        )
    return shape
