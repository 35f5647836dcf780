"""Names and shapes of weights in the four layouts, as declarative maps: official, timm, transformers <-> ours.

A rule pairs two name templates. ``{stage}``, ``{block}`` and ``{level}`` stand for numbers, ``{part}`` for ``weight``
or ``bias``. Where the layouts differ in more than names, the rule says how the numbers are arranged there.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet

__all__ = [
    "LAYOUTS",
    "OWN_LAYOUT",
    "Layout",
    "Rule",
    "blank_network",
    "expected_shapes",
    "find_networks",
    "from_layout",
    "from_rules",
    "to_layout",
    "to_rules",
]

OWN_LAYOUT = "focalnets"

Arrangement = Literal["same", "pointwise", "depthwise", "regions"]
"""How a layout keeps a tensor: ``same`` as ours; ``pointwise`` = our linear weight (O, I) as a 1x1 convolution
(O, I, 1, 1); ``depthwise`` = our kernel (C, k, k) as a convolution weight (C, 1, k, k); ``regions`` = our linear weight
(O, 7 x 7 x C) on the values of a region, whose channels come last, as (O, C x 7 x 7)."""

_REGION_BINS = 49


@dataclasses.dataclass(frozen=True)
class Rule:
    """One kind of tensor in two layouts.

    Attributes:
        ours: Template of the name here.
        theirs: Template of the name there.
        arrangement: How the tensor is kept there, see :data:`Arrangement`; biases are always the same.
        stage_offset: Their stage number minus ours.
        post_norm: The rule holds only for networks with that setting; None for all.
    """

    ours: str
    theirs: str
    arrangement: Arrangement = "same"
    stage_offset: int = 0
    post_norm: bool | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """A way to name and arrange the weights of a FocalNet.

    Attributes:
        name: What users write for it.
        anchor: A name that every file of this layout holds and no other layout has.
        rules: One entry for each kind of tensor.
    """

    name: str
    anchor: str
    rules: tuple[Rule, ...]


_OURS = "stages.{stage}.blocks.{block}."
_BLOCK = "layers.{stage}.blocks.{block}."
_HF_BLOCK = "focalnet.encoder.stages.{stage}.layers.{block}."


def _block_rules(block: str, names: Mapping[str, str], pointwise: frozenset[str]) -> tuple[Rule, ...]:
    return tuple(
        Rule(_OURS + ours, block + theirs, "pointwise" if ours in pointwise else "same")
        for ours, theirs in names.items()
    )


_OFFICIAL = Layout(
    "official",
    "patch_embed.proj.weight",
    (
        Rule("stem.projection.{part}", "patch_embed.proj.{part}"),
        Rule("stem.norm.{part}", "patch_embed.norm.{part}"),
        Rule("stages.{stage}.downsample.projection.{part}", "layers.{stage}.downsample.proj.{part}", stage_offset=-1),
        Rule("stages.{stage}.downsample.norm.{part}", "layers.{stage}.downsample.norm.{part}", stage_offset=-1),
        *_block_rules(
            _BLOCK,
            {
                "norm1.{part}": "norm1.{part}",
                "norm2.{part}": "norm2.{part}",
                "modulation.input_projection.{part}": "modulation.f.{part}",
                "modulation.modulator_projection.{part}": "modulation.h.{part}",
                "modulation.output_projection.{part}": "modulation.proj.{part}",
                "modulation.norm.{part}": "modulation.ln.{part}",
                "mlp.fc1.{part}": "mlp.fc1.{part}",
                "mlp.fc2.{part}": "mlp.fc2.{part}",
                "layer_scale1": "gamma_1",
                "layer_scale2": "gamma_2",
            },
            frozenset({"modulation.modulator_projection.{part}"}),
        ),
        Rule(_OURS + "modulation.kernels.{level}", _BLOCK + "modulation.focal_layers.{level}.0.weight", "depthwise"),
        Rule("norm.{part}", "norm.{part}"),
        Rule("head.{part}", "head.{part}"),
        Rule("pyramid_norms.{stage}.{part}", "norm{stage}.{part}"),
    ),
)

_TIMM = Layout(
    "timm",
    "stem.proj.weight",
    (
        Rule("stem.projection.{part}", "stem.proj.{part}"),
        Rule("stem.norm.{part}", "stem.norm.{part}"),
        Rule("stages.{stage}.downsample.projection.{part}", "layers.{stage}.downsample.proj.{part}"),
        Rule("stages.{stage}.downsample.norm.{part}", "layers.{stage}.downsample.norm.{part}"),
        Rule(_OURS + "norm1.{part}", _BLOCK + "norm1.{part}", post_norm=False),
        Rule(_OURS + "norm2.{part}", _BLOCK + "norm2.{part}", post_norm=False),
        Rule(_OURS + "norm1.{part}", _BLOCK + "norm1_post.{part}", post_norm=True),
        Rule(_OURS + "norm2.{part}", _BLOCK + "norm2_post.{part}", post_norm=True),
        *_block_rules(
            _BLOCK,
            {
                "modulation.input_projection.{part}": "modulation.f.{part}",
                "modulation.modulator_projection.{part}": "modulation.h.{part}",
                "modulation.output_projection.{part}": "modulation.proj.{part}",
                "modulation.norm.{part}": "modulation.norm.{part}",
                "mlp.fc1.{part}": "mlp.fc1.{part}",
                "mlp.fc2.{part}": "mlp.fc2.{part}",
                "layer_scale1": "ls1.gamma",
                "layer_scale2": "ls2.gamma",
            },
            frozenset(
                {
                    "modulation.input_projection.{part}",
                    "modulation.modulator_projection.{part}",
                    "modulation.output_projection.{part}",
                    "mlp.fc1.{part}",
                    "mlp.fc2.{part}",
                }
            ),
        ),
        Rule(_OURS + "modulation.kernels.{level}", _BLOCK + "modulation.focal_layers.{level}.0.weight", "depthwise"),
        Rule("norm.{part}", "norm.{part}"),
        Rule("head.{part}", "head.fc.{part}"),
    ),
)

_TRANSFORMERS = Layout(
    "transformers",
    "embeddings.patch_embeddings.projection.weight",
    (
        Rule("stem.projection.{part}", "focalnet.embeddings.patch_embeddings.projection.{part}"),
        Rule("stem.norm.{part}", "focalnet.embeddings.norm.{part}"),
        Rule(
            "stages.{stage}.downsample.projection.{part}",
            "focalnet.encoder.stages.{stage}.downsample.projection.{part}",
            stage_offset=-1,
        ),
        Rule(
            "stages.{stage}.downsample.norm.{part}",
            "focalnet.encoder.stages.{stage}.downsample.norm.{part}",
            stage_offset=-1,
        ),
        *_block_rules(
            _HF_BLOCK,
            {
                "norm1.{part}": "norm1.{part}",
                "norm2.{part}": "norm2.{part}",
                "modulation.input_projection.{part}": "modulation.projection_in.{part}",
                "modulation.modulator_projection.{part}": "modulation.projection_context.{part}",
                "modulation.output_projection.{part}": "modulation.projection_out.{part}",
                "modulation.norm.{part}": "modulation.layernorm.{part}",
                "mlp.fc1.{part}": "mlp.fc1.{part}",
                "mlp.fc2.{part}": "mlp.fc2.{part}",
                "layer_scale1": "gamma_1",
                "layer_scale2": "gamma_2",
            },
            frozenset({"modulation.modulator_projection.{part}"}),
        ),
        Rule(_OURS + "modulation.kernels.{level}", _HF_BLOCK + "modulation.focal_layers.{level}.0.weight", "depthwise"),
        Rule("norm.{part}", "focalnet.layernorm.{part}"),
        Rule("head.{part}", "classifier.{part}"),
    ),
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (_OFFICIAL, _TIMM, _TRANSFORMERS)}
"""The foreign layouts by name. Ours needs no map."""

_ANCHORS = {
    "stem.projection.weight": OWN_LAYOUT,
    "stem.convolutions.0.weight": OWN_LAYOUT,
    **{layout.anchor: layout.name for layout in LAYOUTS.values()},
}


def find_networks(names: Iterable[str]) -> set[tuple[str, str]]:
    """Find the FocalNets among names of tensors: layout and prefix of each."""
    return {
        (layout, name.removesuffix(anchor))
        for name in names
        for anchor, layout in _ANCHORS.items()
        if name == anchor or name.endswith("." + anchor)
    }


def from_layout(layout: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], set[bool]]:
    """Rename and rearrange a state dict of some layout into ours.

    Returns:
        The tensors under our names; the names that no rule knows or that would fill a place twice; and which settings
        of ``post_norm`` the names give away (empty where the layout does not show it).
    """
    if layout == OWN_LAYOUT:
        return dict(tensors), [], set()
    return from_rules(LAYOUTS[layout].rules, tensors)


def from_rules(
    rules: tuple[Rule, ...], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], set[bool]]:
    """Rename and rearrange a state dict by rules into ours; returns what :func:`from_layout` does."""
    ours: dict[str, Tensor] = {}
    unknown: list[str] = []
    post_norms: set[bool] = set()
    for name, tensor in tensors.items():
        found = _rename(name, _reading_patterns(rules))
        if found is None or found[0] in ours:
            unknown.append(name)
            continue
        renamed, rule = found
        if rule.post_norm is not None:
            post_norms.add(rule.post_norm)
        ours[renamed] = _read_arrangement(tensor, rule.arrangement)
    return ours, unknown, post_norms


def to_layout(layout: str, tensors: Mapping[str, Tensor], *, post_norm: bool) -> dict[str, Tensor]:
    """Rename and rearrange our state dict into another layout.

    Names that the layout has no place for are left out; callers refuse such networks beforehand.
    """
    if layout == OWN_LAYOUT:
        return dict(tensors)
    return to_rules(LAYOUTS[layout].rules, tensors, post_norm=post_norm)


def to_rules(rules: tuple[Rule, ...], tensors: Mapping[str, Tensor], *, post_norm: bool) -> dict[str, Tensor]:
    """Rename and rearrange our state dict by rules; names that no rule knows are left out."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = _rename(name, _writing_patterns(rules, post_norm))
        if found is not None:
            theirs[found[0]] = _write_arrangement(tensor, found[1].arrangement)
    return theirs


def expected_shapes(layout: str, config: FocalNetConfig) -> dict[str, tuple[int, ...]]:
    """List every name that a network of this config has in a layout, with its shape; nothing is allocated."""
    tensors = to_layout(layout, blank_network(config).state_dict(), post_norm=config.post_norm)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def blank_network(config: FocalNetConfig) -> FocalNet:
    """Build a network whose weights have shapes but no memory (device ``meta``)."""
    with torch.device("meta"):
        return FocalNet(config)


def _read_arrangement(tensor: Tensor, arrangement: Arrangement) -> Tensor:
    if arrangement == "pointwise" and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        return tensor.flatten(1)
    if arrangement == "depthwise" and tensor.ndim == 4 and tensor.shape[1] == 1:
        return tensor.squeeze(1)
    if arrangement == "regions" and tensor.ndim == 2 and tensor.shape[1] % _REGION_BINS == 0:
        return tensor.unflatten(1, (-1, _REGION_BINS)).mT.flatten(1)
    return tensor


def _write_arrangement(tensor: Tensor, arrangement: Arrangement) -> Tensor:
    if arrangement == "pointwise" and tensor.ndim == 2:
        return tensor[:, :, None, None]
    if arrangement == "depthwise":
        return tensor.unsqueeze(1)
    if arrangement == "regions" and tensor.ndim == 2:
        return tensor.unflatten(1, (_REGION_BINS, -1)).mT.flatten(1)
    return tensor


Patterns = tuple[tuple[re.Pattern[str], str, int, Rule], ...]
"""Pattern of the name to read, template of the name to write, what to add to the stage, and the rule."""


@functools.cache
def _reading_patterns(rules: tuple[Rule, ...]) -> Patterns:
    return _patterns((rule.theirs, rule.ours, -rule.stage_offset, rule) for rule in rules)


@functools.cache
def _writing_patterns(rules: tuple[Rule, ...], post_norm: bool) -> Patterns:
    return _patterns(
        (rule.ours, rule.theirs, rule.stage_offset, rule) for rule in rules if rule.post_norm in (None, post_norm)
    )


def _patterns(rows: Iterable[tuple[str, str, int, Rule]]) -> Patterns:
    return tuple((_compile(template), written, offset, rule) for template, written, offset, rule in rows)


def _compile(template: str) -> re.Pattern[str]:
    pattern = re.escape(template)
    for name in ("stage", "block", "level"):
        pattern = pattern.replace(rf"\{{{name}\}}", rf"(?P<{name}>0|[1-9][0-9]{{0,5}})")
    return re.compile(pattern.replace(r"\{part\}", "(?P<part>weight|bias)"))


def _rename(name: str, patterns: Patterns) -> tuple[str, Rule] | None:
    for pattern, template, offset, rule in patterns:
        if match := pattern.fullmatch(name):
            values = match.groupdict()
            if "stage" in values:
                values["stage"] = str(int(values["stage"]) + offset)
            return template.format(**values), rule
    return None
