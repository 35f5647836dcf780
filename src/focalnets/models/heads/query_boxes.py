"""Queries that each name an object and its box, by models of transformers: what RT-DETRv2 and D-FINE have in common.

Axes: B batch, h w of a map [tokens], C channels, Q queries, K classes, M objects. Boxes are middle x, middle y, width
and height in fractions of the maps' extent.

Source: Zhao et al., DETRs Beat YOLOs on Real-time Object Detection, CVPR 2024, and what followed it, as transformers
has it, whose modules stand here under their own names. Deviation: weights are drawn as the authors' own code does, and
not all around 0, with which batch norms would begin.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from focalnets.errors import MissingPackageError
from focalnets.models.heads.given_maps import MapShapes, given_maps
from focalnets.models.heads.query_config import QueryHeadConfig

__all__ = ["BoxQueries", "common_settings", "quiet_transformers", "require_scipy"]

_PRIOR = 0.01
"""Likelihood of each class that a query begins with."""

_TERMS = {
    "loss_vfl": "class", "loss_bbox": "box", "loss_giou": "overlap", "loss_fgl": "edges", "loss_ddf": "distributions",
}  # fmt: skip
"""Losses there and here."""


class BoxQueries(nn.Module):
    """An encoder of maps and a decoder of queries; subclasses name the model.

    Args:
        model: Of transformers, complete: with its outer head, and on any backbone.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.model
        self.model.backbone = _Given()
        self.settings = model.config
        _draw(self.model)

    def forward(self, maps: Sequence[Tensor], known: Sequence[Mapping[str, Tensor]] | None = None) -> dict[str, Any]:
        """Compute what the queries say.

        Args:
            maps: (B, C, h, w), finest first, each twice as large as the next one, with at least Q places in all.
            known: In training ``class_labels`` (M,) int64 and ``boxes`` (M, 4) of each image.

        Returns:
            ``logits`` (B, Q, K) and ``boxes`` (B, Q, 4), float32; in training ``losses`` by name in their place.
        """
        taught = list(map(dict, known)) if self.training and known is not None else None
        output = self.model(maps[0], pixel_mask=list(maps), labels=taught)
        if taught is None:
            return {
                "logits": output.intermediate_logits[:, -1].float(),
                "boxes": output.intermediate_reference_points[:, -1].float(),
            }
        return {"losses": self._learn(output, taught)}

    def _learn(self, output: Any, known: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Losses of all layers, and of queries that are objects with noise."""
        logits, boxes = output.intermediate_logits.float(), output.intermediate_reference_points.float()
        if not bool((logits.isfinite().all() & boxes.isfinite().all()).item()):
            return {"class": (logits.sum() + boxes.sum()) * math.nan}  # The matching would raise.
        edges = {"predicted_corners": output.intermediate_predicted_corners,
                 "initial_reference_points": output.initial_reference_points}  # fmt: skip
        found = self.all_losses(
            logits[:, -1],
            known,
            logits.device,
            boxes[:, -1],
            self.settings,
            outputs_class=logits,
            outputs_coord=boxes,
            enc_topk_logits=output.enc_topk_logits.float(),
            enc_topk_bboxes=output.enc_topk_bboxes.float(),
            denoising_meta_values=output.denoising_meta_values,
            **{name: value.float() for name, value in edges.items() if isinstance(value, Tensor)},
        )[1]
        losses = _summed(found)
        if output.denoising_meta_values is None:  # Without objects it teaches nothing, but has a gradient.
            losses["class"] = losses["class"] + 0 * self.model.denoising_class_embed.weight.sum()
        return losses

    def all_losses(self, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """Compute the published losses, by the function of transformers that belongs to the model."""
        raise NotImplementedError

    def losses_of_answers(self, logits: Tensor, boxes: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute what is wrong with the last layer's answers for one image, without what only helps learning.

        Args:
            logits: (Q, K) float32.
            boxes: (Q, 4) float32.
            known: ``class_labels`` (M,) and ``boxes`` (M, 4).
        """
        from transformers.loss.loss_rt_detr import RTDetrLoss

        criterion = RTDetrLoss(self.settings)
        criterion.losses = ["vfl", "boxes"]
        return _summed(criterion({"logits": logits[None], "pred_boxes": boxes[None].clamp(0, 1)}, [dict(known)]))


class _Given(nn.Module):
    """In the place of a backbone: hands on the maps that stand in the place of a mask."""

    def forward(self, finest: Tensor, maps: Sequence[Tensor]) -> list[tuple[Tensor, None]]:
        return [(each, None) for each in maps]


def _summed(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add losses of the same kind up, of all layers."""
    losses: dict[str, Tensor] = {}
    for name, value in found.items():
        term = next((ours for theirs, ours in _TERMS.items() if name.startswith(theirs)), None)
        if term is not None:
            losses[term] = losses[term] + value if term in losses else value
    return losses


def _draw(model: nn.Module) -> None:
    """Draw weights as the authors' code does: those of PyTorch, but for what begins with a certain answer."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear) and "encoder_attn" not in name:
            module.reset_parameters()
    for layer in (model.enc_output[0], *model.decoder.query_pos_head.layers):  # type: ignore[index, misc, union-attr]
        nn.init.xavier_uniform_(layer.weight)
    for layer in (model.enc_score_head, *model.decoder.class_embed):  # type: ignore[misc, union-attr]
        nn.init.constant_(layer.bias, -math.log((1 - _PRIOR) / _PRIOR))
    for mlp in (model.enc_bbox_head, *model.decoder.bbox_embed):  # type: ignore[misc, union-attr]
        nn.init.zeros_(mlp.layers[-1].weight)
        nn.init.zeros_(mlp.layers[-1].bias)


def common_settings(backbone: MapShapes, config: QueryHeadConfig) -> dict[str, Any]:
    """Make the settings of transformers that the two share.

    Raises:
        MissingPackageError: If transformers or scipy is not installed.
    """
    channels = [backbone.dims[stage] for stage in config.stages]
    base = given_maps(channels)
    require_scipy(config.kind)
    width, levels = config.channels, len(config.stages)
    return {
        "backbone_config": base,
        "num_labels": config.outputs,
        "encoder_in_channels": channels,
        "feat_strides": [backbone.strides[stage] for stage in config.stages],
        "encode_proj_layers": [levels - 1],
        "num_feature_levels": levels,
        "decoder_n_levels": levels,
        "decoder_in_channels": [width] * levels,
        "d_model": width,
        "encoder_hidden_dim": width,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "num_queries": config.queries,
        "decoder_layers": config.layers,
        "initializer_bias_prior_prob": _PRIOR,
    }


def require_scipy(name: str) -> None:
    """Raise MissingPackageError where scipy, which matches queries with objects, is missing."""
    from transformers.utils import is_scipy_available

    if not is_scipy_available():
        raise MissingPackageError(f"The head {name} needs scipy; run: pip install 'focalnets[dense]'")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from warning, as it does of backbones that it does not know and of odd widths."""
    import warnings

    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
