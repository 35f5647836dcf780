"""Mask2Former's head from transformers: queries, each of which names a class and draws a mask.

Axes: B batch, h w [tokens of the finest map], C channels of a map, D hidden channels, Q queries, K classes, N objects.

Source: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, as transformers has it, whose modules stand here
under their own names; what the backbone and the padding of batches need is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.models.heads.given_maps import MapShapes, given_maps
from focalnets.models.heads.query_boxes import quiet_transformers, require_scipy

__all__ = ["Mask2FormerHead", "class_scores", "query_losses"]


class Mask2FormerHead(nn.Module):
    """A pixel decoder over four maps and a decoder of queries over three of its maps.

    Args:
        backbone: Config of the network, four stages.
        hidden: Hidden channels D, a multiple of 32 from 64 up; 256 in the published models.
        classes: K.
        queries: Q, at least as many as an image may have objects.
        layers: Layers of the decoder, which is one more than those that attend.

    Raises:
        ConfigError: If a number does not fit.
        MissingPackageError: If transformers is not installed.
    """

    def __init__(self, backbone: MapShapes, *, hidden: int, classes: int, queries: int = 100, layers: int = 10) -> None:
        super().__init__()
        if len(backbone.dims) != 4:
            raise ConfigError(f"Mask2Former stands on four stages, and the backbone has {len(backbone.dims)}.")
        if hidden % 32 or hidden < 64:  # 32 groups are normalised, and one number cannot be
            raise ConfigError(f"channels of Mask2Former must be a multiple of 32 from 64 up, got {hidden}.")
        model = _published_model(backbone, hidden, classes, queries, layers)
        self.pixel_decoder = model.model.pixel_level_module.decoder
        self.query_decoder = model.model.transformer_module
        self.class_predictor = model.class_predictor
        self.queries = queries

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Any]:
        """Compute what the queries say.

        Args:
            maps: Four of (B, C, h, w), finest first.

        Returns:
            ``classes`` (B, Q, K + 1), the last for no object, ``masks`` (B, Q, h, w), both as logits, and in training
            ``layers``: the same of the decoder's earlier layers.
        """
        decoded = self.pixel_decoder(list(maps), output_hidden_states=False, return_dict=True)
        answers = self.query_decoder(
            multi_scale_features=decoded.multi_scale_features,
            mask_features=decoded.mask_features,
            output_hidden_states=True,
            output_attentions=False,
        )
        pairs = [
            {"classes": self.class_predictor(states.transpose(0, 1)), "masks": masks}
            for states, masks in zip(answers.intermediate_hidden_states, answers.masks_queries_logits, strict=True)
        ]
        return {**pairs[-1], "layers": pairs[:-1]} if self.training else pairs[-1]


def _published_model(backbone: MapShapes, hidden: int, classes: int, queries: int, layers: int) -> Any:
    """Build the whole model of transformers, whose head is drawn as its own training draws it."""
    base = given_maps(backbone.dims)
    require_scipy("mask2former")
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    with quiet_transformers():
        config = Mask2FormerConfig(
            backbone_config=base,
            num_labels=classes,  # type: ignore[call-arg]
            feature_size=hidden,
            mask_feature_size=hidden,
            hidden_dim=hidden,
            encoder_feedforward_dim=4 * hidden,
            dim_feedforward=8 * hidden,
            num_queries=queries,
            decoder_layers=layers,
            feature_strides=list(backbone.strides),
            common_stride=backbone.strides[0],
        )
        return Mask2FormerForUniversalSegmentation(config)


def query_losses(
    output: dict[str, Any], targets: Sequence[tuple[Tensor, Tensor]], *, points: int = 12544
) -> dict[str, Tensor]:
    """Compute the published losses of all layers, matched to the objects layer by layer.

    Args:
        output: Of :class:`Mask2FormerHead` in training.
        targets: For each image the labels (N,) int64 of its objects and their masks (N, H, W), float32, of one size.
        points: Places at which masks are compared, chosen at random and where the network is unsure.

    Returns:
        ``classes``, ``masks`` and ``dice``, weighted, each summed over the layers.
    """
    from transformers import Mask2FormerConfig
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    settings: dict[str, Any] = {"num_labels": output["classes"].shape[-1] - 1, "train_num_points": points}
    config = Mask2FormerConfig(**settings)
    weights = {
        "loss_cross_entropy": config.class_weight,
        "loss_mask": config.mask_weight,
        "loss_dice": config.dice_weight,
    }
    criterion = Mask2FormerLoss(config, weights).to(output["classes"].device)
    found: dict[str, Tensor] = criterion(
        masks_queries_logits=output["masks"].float(),
        class_queries_logits=output["classes"].float(),
        mask_labels=[masks for _, masks in targets],
        class_labels=[labels for labels, _ in targets],
        auxiliary_predictions=[
            {"masks_queries_logits": layer["masks"].float(), "class_queries_logits": layer["classes"].float()}
            for layer in output["layers"]
        ],
    )
    names = {"loss_cross_entropy": "classes", "loss_mask": "masks", "loss_dice": "dice"}
    return {
        name: weights[key] * torch.stack([loss for term, loss in found.items() if term.startswith(key)]).sum()
        for key, name in names.items()
    }


def class_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Join queries to a score of each class for each position: (B, Q, K + 1) and (B, Q, h, w) to (B, K, h, w).

    Returned are logarithms, so that what takes them for logits finds their shares.

    Source: semantic inference of Mask2Former.
    """
    scores = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], masks.sigmoid())
    return scores.clamp(min=1e-6).log()
