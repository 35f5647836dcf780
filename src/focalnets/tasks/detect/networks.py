"""The networks that find objects, from settings and from what a file says of their heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from focalnets.errors import ConfigError
from focalnets.models.fields import shortened
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.detector_config import PUBLISHED_RATIOS, DetectorConfig
from focalnets.models.heads.mask_query_detector import MaskQueryDetector
from focalnets.models.heads.objects import ObjectNetwork
from focalnets.models.heads.query_config import QUERY_HEADS, QueryHeadConfig
from focalnets.models.heads.query_detector import QueryDetector
from focalnets.models.heads.widths import usual_widths
from focalnets.tasks.detect.settings import DetectSettings

__all__ = ["build_from_settings", "described_network", "stages_of"]


def build_from_settings(
    own: DetectSettings, settings: Mapping[str, Any], network: FocalNet, labels: Sequence[str], *, masks: bool
) -> ObjectNetwork:
    """Put the head that settings ask for on a backbone.

    Args:
        own: The task's section of a training config.
        settings: The same, where it is open with what the network's row of the table chooses.
        network: The backbone, with pyramid norms.
        labels: What answers are called.
        masks: Whether objects get masks.
    """
    head = settings["head"] or "rcnn"
    values = _filled(settings, usual_widths(head, network.config.embed_dim))
    if head != "rcnn":
        return _of_queries(own, settings, network, labels, head, values)
    stages = stages_of(own, settings) or tuple(range(len(network.config.depths)))
    strides = [network.config.strides[stage] for stage in stages if stage < len(network.config.depths)]
    known = dataclasses.replace(own, anchor_sizes=settings["anchor_sizes"], anchor_ratios=settings["anchor_ratios"])
    proposals = values["proposals"]
    drawn: dict[str, Any] = {}
    if masks:
        drawn = {"masks": True, **_filled(settings, usual_widths("rcnn_masks", network.config.embed_dim))}
    config = DetectorConfig(
        outputs=len(labels),
        stages=stages,
        pyramid_channels=values["pyramid_channels"],
        anchor_sizes=known.sizes() or tuple((8.0 * stride,) for stride in (*strides, 2 * strides[-1])),
        anchor_ratios=known.ratios() or PUBLISHED_RATIOS,
        candidates=(proposals, 2 * proposals),
        proposals=(proposals, proposals),
        box_channels=values["box_channels"],
        normalised=bool(settings["normalised"]),
        sampled_boxes=values["sampled_boxes"],
        padding_masked=own.padding_masked,
        score_threshold=0.05 if own.score_threshold is None else own.score_threshold,
        overlap=own.overlap,
        detections=own.detections,
        class_ids=own.ids(),
        **drawn,
    )
    return Detector(network, config, labels)


def _of_queries(
    own: DetectSettings,
    settings: Mapping[str, Any],
    network: FocalNet,
    labels: Sequence[str],
    head: str,
    values: Mapping[str, int],
) -> ObjectNetwork:
    stages = tuple(range(0 if head == "mask2former" else 1, len(network.config.depths)))
    config = QueryHeadConfig(
        kind=head,
        outputs=len(labels),
        stages=stages_of(own, settings) or stages,
        channels=values["channels"],
        queries=values["queries"],
        layers=values["decoder_layers"],
        detections=own.detections,
        class_ids=own.ids(),
        **({} if own.score_threshold is None else {"score_threshold": own.score_threshold}),
    )
    return _network(network, config, labels)


def _filled(settings: Mapping[str, Any], usual: Mapping[str, int]) -> dict[str, int]:
    return {name: usual[name] if settings[name] is None else settings[name] for name in usual}


def stages_of(own: DetectSettings, settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Stages whose maps the head reads, by the settings with the row's; None where they are open."""
    return dataclasses.replace(own, stages=settings["stages"]).stage_numbers()


def described_network(
    network: FocalNet, labels: Sequence[str], head: Mapping[str, Any], *, masks: bool
) -> ObjectNetwork:
    """Put the head that a file describes on a backbone.

    Raises:
        ConfigError: If there is no such head, or it draws masks where there are none to be, or none where there are.
    """
    kind = head.get("kind", DetectorConfig.kind)
    if kind not in (DetectorConfig.kind, *QUERY_HEADS):
        raise ConfigError(
            f"a detector has a head of kind {DetectorConfig.kind}, {', '.join(QUERY_HEADS)}, got {shortened(kind)}."
        )
    config: DetectorConfig | QueryHeadConfig = (
        QueryHeadConfig.from_dict(head) if kind in QUERY_HEADS else DetectorConfig.from_dict(head)
    )
    if config.masks != masks:
        raise ConfigError(f"the head of a network for {'objects with masks' if masks else 'boxes'} cannot be {kind} "
                          f"with{'out' if masks else ''} masks.")  # fmt: skip
    names = tuple(labels) or tuple(f"class {index}" for index in range(config.outputs))
    return _network(network, config, names)


def _network(network: FocalNet, config: DetectorConfig | QueryHeadConfig, labels: Sequence[str]) -> ObjectNetwork:
    if isinstance(config, DetectorConfig):
        return Detector(network, config, labels)
    return (MaskQueryDetector if config.masks else QueryDetector)(network, config, labels)
