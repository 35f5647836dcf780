"""The models of a comparison: our networks, their variations, and any network of timm, by name."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from focalnets.compare.variations import VARIATIONS, build_variation
from focalnets.errors import CheckpointError, ConfigError, MissingPackageError, UnknownNameError, nearest
from focalnets.files import listed, parse_json, user_path
from focalnets.models.sequence_config import LANGUAGE_VARIANTS
from focalnets.models.variants import VARIANTS

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "PUBLISHED_TOP1",
    "ComparedModel",
    "Published",
    "build_module",
    "find_models",
    "load_timm_network",
    "multiply_accumulates",
    "timm_network",
]

Family = Literal["focalnets", "variation", "timm", "language"]


@dataclasses.dataclass(frozen=True)
class Published:
    """ImageNet-1K top-1 [%] at 224 px after training on ImageNet-1K alone, and who reports it."""

    top1_percent: float
    source: str


_QUOTED = "as quoted by Yang et al., NeurIPS 2022"
_SWIN = f"Liu et al., ICCV 2021, {_QUOTED}"
_CONVNEXT = f"Liu et al., CVPR 2022, {_QUOTED}"
_DEIT = f"Touvron et al., ICML 2021, {_QUOTED}"
_POOLFORMER = "Yu et al., CVPR 2022, official repository"
_FOCALNET = "Yang et al., NeurIPS 2022"

PUBLISHED_TOP1: dict[str, Published] = {
    "swin_tiny_patch4_window7_224": Published(81.2, _SWIN),
    "swin_small_patch4_window7_224": Published(83.1, _SWIN),
    "swin_base_patch4_window7_224": Published(83.5, _SWIN),
    "convnext_tiny": Published(82.1, _CONVNEXT),
    "convnext_small": Published(83.1, _CONVNEXT),
    "convnext_base": Published(83.8, _CONVNEXT),
    "deit_tiny_patch16_224": Published(72.2, _DEIT),
    "deit_small_patch16_224": Published(79.9, _DEIT),
    "deit_base_patch16_224": Published(81.8, _DEIT),
    "vit_tiny_patch16_224": Published(72.2, f"DeiT-Ti: {_DEIT}"),
    "vit_small_patch16_224": Published(79.9, f"DeiT-S: {_DEIT}"),
    "vit_base_patch16_224": Published(81.8, f"DeiT-B: {_DEIT}"),
    "poolformer_s12": Published(77.2, _POOLFORMER),
    "poolformer_s24": Published(80.3, _POOLFORMER),
    "poolformer_s36": Published(81.4, _POOLFORMER),
    "poolformer_m36": Published(82.1, _POOLFORMER),
    "poolformer_m48": Published(82.5, _POOLFORMER),
}
"""Of networks of timm; add a line for another one."""


@dataclasses.dataclass(frozen=True)
class ComparedModel:
    """One network of a comparison.

    Attributes:
        name: As typed and printed, with its changes and weights.
        family: Ours, a row of the table of variations, one of timm, or a language model of whatever mixer.
        published: Its accuracy on ImageNet-1K; of a variation with the skeleton of its publication.
        skeleton: Of a variation: fields of the skeleton's config that the comparison changes for all rows.
        changes: What was typed behind the name: fields of the config of one of ours, arguments of one of timm.
        weights: What its training starts from: of ours a file, a run or a name, of timm a file; None draws them.
    """

    name: str
    family: Family
    published: Published | None
    skeleton: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str | None = None

    @property
    def architecture(self) -> str:
        """The name without changes and weights."""
        return self.name.partition("@")[0].partition(":")[0]


def find_models(names: str | Sequence[str], skeleton: Mapping[str, Any] | None = None) -> list[ComparedModel]:
    """Find the networks of these names, each once.

    Args:
        names: One or several of :func:`focalnets.list_models`, of the variations, or of timm. Ours and timm's can be
            changed: ``swin_tiny_patch4_window7_224:embed_dim=36,depths=[2,2,2,2]``; values are JSON or text. Behind an
            ``@`` stands what a training starts from: ``resnet18@resnet18.safetensors``.
        skeleton: Fields of the skeleton's config that variations are built with.

    Raises:
        UnknownNameError: If there is none of a name; the message gives the closest ones.
        MissingPackageError: If a name is none of ours and timm is not installed.
        ConfigError: If the skeleton has no such field or does not take a value, or if changes cannot be read.
    """
    found = [_find(name) for name in dict.fromkeys(listed(names))]
    for index, model in enumerate(found):
        if model.family == "variation":
            VARIATIONS[model.name].settings(skeleton)
            found[index] = dataclasses.replace(model, skeleton=dict(skeleton or {}))
    return found


def _find(name: str) -> ComparedModel:
    typed, at, weights = name.partition("@")
    found = _find_changed(typed)
    if not at:
        return found
    if not weights:
        raise ConfigError(f"{name!r} is not understood; write NAME@WEIGHTS.")
    if found.family in ("variation", "language"):
        rows = "a row of the table of variations" if found.family == "variation" else "a language model"
        raise ConfigError(f"'{typed}' is {rows}, which all begin from random weights.")
    if found.family == "timm" and not user_path(weights).is_file():
        raise CheckpointError(f"There are no weights '{weights}'; name a file of weights of {found.architecture}.")
    return dataclasses.replace(found, name=name, published=None, weights=weights)


def _find_changed(name: str) -> ComparedModel:
    architecture, colon, typed = name.partition(":")
    if not colon:
        return _find_plain(name)
    plain, changes = _find_plain(architecture), _read_changes(name, typed)
    if plain.family == "variation":
        raise ConfigError(f"'{architecture}' is a row of the table of variations; change all of them by --skeleton.")
    if plain.family == "focalnets":
        VARIANTS[architecture].config.replace(**changes)  # refuses what it does not have
    if plain.family == "language":
        LANGUAGE_VARIANTS[architecture].config.replace(**changes)
    return dataclasses.replace(plain, name=name, published=None, changes=changes)


_OF_THE_COMPARISON = (
    "num_classes", "in_chans", "img_size", "drop_path", "drop_path_rate", "pretrained", "vocabulary_size",
)  # fmt: skip


def _read_changes(name: str, typed: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for part in re.split(r",(?=[A-Za-z_]\w*=)", typed):
        field, equals, value = part.partition("=")
        if not (equals and value and field.isidentifier()):
            raise ConfigError(f"{name!r} is not understood; write NAME:FIELD=VALUE,FIELD=VALUE.")
        if field in _OF_THE_COMPARISON:
            raise ConfigError(f"{name!r}: {field} is the same for all networks of a comparison; leave it out.")
        try:
            changes[field] = parse_json(value)
        except ValueError:
            changes[field] = value
    return changes


def _find_plain(name: str) -> ComparedModel:
    if name in VARIANTS:
        published = VARIANTS[name].published
        top1 = None if published is None else published.top1_percent
        return ComparedModel(name, "focalnets", None if top1 is None else Published(top1, _FOCALNET))
    if name in VARIATIONS:
        top1 = VARIATIONS[name].published_top1
        return ComparedModel(name, "variation", None if top1 is None else Published(top1, _FOCALNET))
    if name in LANGUAGE_VARIANTS:
        return ComparedModel(name, "language", None)
    if importlib.util.find_spec("timm") is None:
        listing = "pip install timm, or name one that `focalnets models` lists."
        raise MissingPackageError(
            f"{name!r} is no network of focalnets, and timm, which has others, is not installed; "
            f"{nearest(name, [*VARIANTS, *VARIATIONS, *LANGUAGE_VARIANTS], listing)}"
        )
    import timm

    if not timm.is_model(name):
        known = [*VARIANTS, *VARIATIONS, *LANGUAGE_VARIANTS, *timm.list_models()]
        hint = nearest(name, known, "`focalnets models` and timm.list_models() list them.")
        raise UnknownNameError(f"Neither focalnets nor timm has a network called {name!r}; {hint}")
    return ComparedModel(name, "timm", PUBLISHED_TOP1.get(name))


def build_module(
    model: ComparedModel,
    *,
    size_px: int,
    num_classes: int | None = None,
    drop_path: float | None = None,
    pyramid_norms: bool = False,
) -> nn.Module:
    """Build the network for square images of ``size_px``, in training mode on the CPU.

    Those of timm get the weights that the model names. Ours get random ones, for a head that classifies may have to be
    replaced; see :func:`focalnets.compare.backbones.build_compared`.

    Args:
        model: Which.
        size_px: Height and width of the images; networks of timm that are made for one size are made for this one.
        num_classes: Outputs; None keeps those of the network.
        drop_path: Stochastic depth; None keeps the network's own.
        pyramid_norms: Of ours: whether it gives maps of all stages, each normalised.

    Raises:
        ValueError, RuntimeError, AssertionError, TypeError: Of timm, if the network cannot take such images.
    """
    from focalnets.weights.loading import create_model

    settings: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if model.family != "timm":
        if drop_path is not None:
            settings["drop_path"] = drop_path
        if pyramid_norms:
            settings["pyramid_norms"] = True
        if model.family == "variation":
            return build_variation(VARIATIONS[model.name], model.skeleton, **settings)
        return create_model(model.architecture, **{**model.changes, **settings})
    if drop_path is not None:
        settings["drop_path_rate"] = drop_path
    settings = {**model.changes, **settings}
    if model.weights is not None:
        return load_timm_network(model.architecture, size_px, settings, model.weights)
    return timm_network(model.architecture, size_px, settings)


def load_timm_network(name: str, size_px: int, settings: dict[str, Any], weights: str) -> nn.Module:
    """Build a network of timm with the weights of a file, but for its classifier; arguments as :func:`timm_network`.

    Raises:
        CheckpointError: If the file cannot be read or leaves a part of the network as it was drawn.
    """
    import torch

    from focalnets.weights.readers import read_weights

    try:  # Not by timm, of which older versions execute what a pickle says.
        tensors = read_weights(user_path(weights)).tensors
    except CheckpointError as error:
        raise CheckpointError(f"'{weights}' cannot be read as weights of {name}: {error}") from error
    given = {"state_dict": tensors, "num_classes": -1, "custom_load": False}
    state = torch.get_rng_state()
    drawn = dict(timm_network(name, size_px, settings).named_parameters())
    torch.set_rng_state(state)
    try:
        network = timm_network(name, size_px, {**settings, "pretrained": True, "pretrained_cfg_overlay": given})
    except (RuntimeError, KeyError, ValueError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        words = f"it lacks {words}" if isinstance(error, KeyError) else words
        raise CheckpointError(f"'{weights}' cannot be read as weights of {name}: {words}") from error
    for attribute in ("pretrained_cfg", "default_cfg"):  # which would keep the file's tensors beside the network's
        getattr(network, attribute, {}).pop("state_dict", None)
    classifier = getattr(network, "default_cfg", {}).get("classifier") or ()
    heads = tuple(f"{head}." for head in ((classifier,) if isinstance(classifier, str) else classifier))
    for key, tensor in network.named_parameters():
        if tensor.ndim > 1 and torch.equal(tensor, drawn[key]) and not key.startswith(heads):
            raise CheckpointError(f"'{weights}' holds nothing for {key} of {name}; give weights of that network.")
    return network


def timm_network(name: str, size_px: int, settings: dict[str, Any]) -> nn.Module:
    """Build a network of timm, trying its ways of asking for another size in turn; some take any and know none of them.

    Args:
        name: Of timm.
        size_px: Height and width of the images [px].
        settings: Further arguments of ``timm.create_model``.
    """
    import timm

    sizes: tuple[dict[str, Any], ...] = (
        {"img_size": size_px},
        {"dynamic_img_size": True},  # position embeddings are resampled in every pass
        {"strict_img_size": False},
        {},
    )
    # A network without stochastic depth has none to turn off.
    depths = [settings]
    if settings.get("drop_path_rate") == 0:
        depths.append({key: value for key, value in settings.items() if key != "drop_path_rate"})
    refusal: TypeError | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for depth in depths:
            for size in sizes:
                try:
                    return timm.create_model(name, **{"pretrained": False, **depth, **size}).train()
                except TypeError as error:
                    if "unexpected keyword argument" not in str(error):
                        raise
                    refusal = error
    assert refusal is not None
    raise refusal


def multiply_accumulates(network: nn.Module, size_px: int, channels: int = 3) -> int:
    """Count the products of matrices, convolutions and attention for one image, alike for every network.

    Nothing is computed: the network is copied without its weights. Elementwise products, which the published count of
    FocalNets includes (see :mod:`focalnets.models.complexity`), are left out, since nobody counts them for the others.
    Of a network with a head for places in an image the backbone alone counts: heads are alike, and what a detector's
    does depends on what it finds.
    """
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from focalnets.models.layers import FocalModulation

    blank = copy.deepcopy(network).to("meta").eval()
    for module in blank.modules():
        if isinstance(module, FocalModulation):
            module.backend = "reference"  # its convolutions are seen by the counter
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        getattr(blank, "maps", blank)(torch.empty(1, channels, size_px, size_px, device="meta"))
    return counter.get_total_flops() // 2
