"""The graph of a detector: it looks into every candidate, and what overlaps is dropped behind it.

A detector drops overlapping candidates before it looks into them, which no graph of tensors of known shapes can. The
graph looks into all candidates of all maps instead, so that dropping, and choosing detections, can come afterwards:
the same answer for more work in the head of boxes.

Axes: B batch, C channels, H W height and width [px], h w of a map [tokens], N anchors of all maps, P candidates,
K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.graphs import Graph, Size, join_detections, largest_difference
from focalnets.models.heads.align import levels_of
from focalnets.models.heads.boxes import clip
from focalnets.models.heads.detector import Detector
from focalnets.models.heads.objects import with_area

__all__ = ["DetectGraph"]

_BINS = 7


class DetectGraph(Graph):
    """Images, and height and width of each without padding, to what is said of all anchors and of the candidates.

    Outputs: ``anchors`` (B, N, 5), logit and differences of each anchor; ``candidates`` (B, P), numbers of the
    likeliest of each map, -1 where a map has fewer; ``classes`` (B, P, K + 1), logits, the last for background;
    ``differences`` (B, P, 4 K), of a box for each class to the candidate.
    """

    inputs = ("images", "sizes")
    outputs = ("anchors", "candidates", "classes", "differences")
    input_axes: ClassVar[dict[str, dict[int, str]]] = {**Graph.input_axes, "sizes": {0: "batch"}}
    whole = ("candidates",)
    on_small_devices = False
    axes: ClassVar[dict[str, dict[int, str]]] = {
        "anchors": {0: "batch", 1: "anchors"}, "candidates": {0: "batch"}, "classes": {0: "batch"},
        "differences": {0: "batch"},
    }  # fmt: skip

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        assert isinstance(network, Detector)
        anchors = network.head.proposals.anchors
        self.strides = anchors.strides
        for level, (sizes, ratios) in enumerate(zip(anchors.sizes, anchors.aspect_ratios, strict=True)):
            self.register_buffer(f"cell_{level}", anchors.generate_anchors(sizes, ratios), persistent=False)

    @classmethod
    def suits(cls, network: Any) -> bool:
        """Whether the head proposes boxes and looks into them."""
        return isinstance(network, Detector)

    @classmethod
    def check(cls, network: Any) -> None:
        """Refuse heads that draw masks."""
        if network.head_config.masks:
            raise ConfigError(
                "The masks of a Mask R-CNN are drawn in boxes that are chosen behind the graph, so they cannot be part "
                "of it; --without_masks (without_masks=True) exports its boxes, as a network for the task detect."
            )

    @classmethod
    def feed(cls, images: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, ...]:
        """Return the images with their sizes (B, 2) float32, height and width [px]."""
        return images, torch.tensor(list(sizes), dtype=torch.float32).reshape(-1, 2)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Judge anchors, and look into the likeliest."""
        network: Any = self.network
        head, before = network.head, network.head_config.candidates[0]
        maps = network.maps(images)
        pyramid = head.pyramid(maps)
        batch = images.shape[0]
        said, candidates, boxes, offset = [], [], [], 0
        for level, features in enumerate(pyramid):
            rows = head.proposals.judge(features)  # (B, h w A, 5)
            count = rows.shape[1]
            # A map with fewer anchors than candidates is filled up, so that shapes do not depend on it.
            likelihood = F.pad(rows[..., 0].sigmoid(), (0, before), value=-1.0)
            number = likelihood.topk(before, dim=1).indices
            known = number.clamp(max=count - 1)
            places = self._anchors(level, features)[known.flatten()]
            differences = rows[..., 1:].gather(1, known.unsqueeze(-1).expand(-1, -1, 4)).flatten(0, 1)
            boxes.append(_decode(differences, places, head.proposals.coder).unflatten(0, (batch, before)))
            candidates.append(torch.where(number < count, number + offset, -1))
            said.append(rows)
            offset = offset + count
        height, width = sizes[:, 0, None, None], sizes[:, 1, None, None]
        limits = torch.cat([width, height, width, height], -1)
        box = torch.minimum(torch.cat(boxes, 1).clamp(min=0), limits).flatten(0, 1)  # (B P, 4)
        logits, moved = head.regions.box(self._look(pyramid[: len(maps)], box, batch))
        return (
            torch.cat(said, 1),
            torch.cat(candidates, 1),
            logits.unflatten(0, (batch, -1)),
            moved.unflatten(0, (batch, -1)),
        )

    def _anchors(self, level: int, features: Tensor) -> Tensor:
        """Make the anchors of a map (B, C, h, w), (h w A, 4), row by row."""
        stride = self.strides[level]
        height, width = features.shape[-2:]
        row = torch.arange(height, dtype=torch.float32, device=features.device) * stride
        column = torch.arange(width, dtype=torch.float32, device=features.device) * stride
        x = column[None, :].expand(height, width)
        y = row[:, None].expand(height, width)
        shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        return (shifts + getattr(self, f"cell_{level}")).reshape(-1, 4)

    def _look(self, maps: Sequence[Tensor], boxes: Tensor, batch: int) -> Tensor:
        """Average the map that each box (B P, 4) belongs to over its bins, (B P, 7, 7, C)."""
        first: int = self.network.head.regions.first_stride  # type: ignore[union-attr, assignment]
        level = levels_of(boxes, first, len(maps))
        each = boxes.shape[0] // batch
        image = torch.arange(batch, device=boxes.device)[:, None].expand(batch, each).reshape(-1, 1).to(boxes.dtype)
        total: Any = 0.0
        for number, features in enumerate(maps):
            own = (level == number)[:, None]
            # Boxes of other maps are looked at as small ones in the corner, at almost no cost, and left out.
            corner = boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
            regions = torch.cat([image, torch.where(own, boxes, corner)], 1)
            seen = roi_align(features, regions, _BINS, 1 / (first * 2**number), 0, True)
            total = total + torch.where(own[:, :, None, None], seen, 0.0)
        return total.permute(0, 2, 3, 1)

    @classmethod
    def expected(cls, network: Any, images: Tensor) -> tuple[tuple[int, ...], ...]:
        """Rows for all anchors, and for a fixed number of candidates."""
        config, batch = network.head_config, len(images)
        anchors = sum(len(level) for level in _anchors_of(network, images))
        candidates = len(network.head.proposals.anchors.strides) * config.candidates[0]
        rows = (batch, candidates)
        return (batch, anchors, 5), rows, (*rows, config.outputs + 1), (*rows, 4 * config.outputs)

    @classmethod
    def answer(
        cls, network: Any, outputs: Sequence[Tensor], images: Tensor, sizes: Sequence[Size], targets: Any
    ) -> Any:
        """Drop candidates that overlap a likelier one, and choose detections among what was said of the others."""
        said, candidates, logits, moved = outputs
        head, levels = network.head, _anchors_of(network, images)
        anchors = torch.cat(levels)
        of_level = torch.cat([torch.full((len(each),), number) for number, each in enumerate(levels)])
        if not bool(((candidates >= -1) & (candidates < len(anchors))).all()):
            raise CheckpointError("The file names candidates that there are not; it is damaged, export it again.")
        proposals, judged = [], []
        for index, size in enumerate(sizes):
            known = (candidates[index] >= 0).nonzero()[:, 0]
            number = candidates[index, known]
            rows = said[index, number]
            boxes = clip(head.proposals.coder.decode_single(rows[:, 1:], anchors[number]), size)
            kept = head.proposals.select(boxes, rows[:, 0].sigmoid(), of_level[number])
            proposals.append(boxes[kept])
            judged.append((logits[index, known[kept]], moved[index, known[kept]]))
        wanted = None if targets is None else [with_area(target) for target in targets]
        detections, losses = head.regions.decide(judged, proposals, sizes, wanted)
        if wanted is not None:
            inside = [torch.ones(len(anchors), dtype=torch.bool)] * len(sizes)
            losses |= head.proposals.losses(said[..., 0], said[..., 1:], anchors, inside, wanted)
        return {"detections": detections, "losses": losses}

    @classmethod
    def join(cls, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """List the detections, and put the losses behind each other."""
        return join_detections(answers)

    @classmethod
    def compare(cls, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Compare what is said of the same anchors; which are the last candidates may hang on a rounding."""
        difference = largest_difference(outputs[0], expected[0])
        for index in range(len(expected[1])):
            places = [
                {int(number): place for place, number in enumerate(each[1][index]) if number >= 0}
                for each in (outputs, expected)
            ]
            both = sorted(places[0].keys() & places[1].keys())
            if len(both) < 0.99 * max(map(len, places)):
                return float("inf")
            rows = [[each[number] for number in both] for each in places]
            for one, other in ((outputs[2], expected[2]), (outputs[3], expected[3])):
                difference = max(difference, largest_difference(one[index, rows[0]], other[index, rows[1]]))
        return difference


def _anchors_of(network: Any, images: Tensor) -> list[Tensor]:
    """Make the anchors of images (B, C, H, W): (h w A, 4) for each map."""
    anchors = network.head.proposals.anchors
    strides = [network.config.strides[stage] for stage in network.stages]
    sizes = [tuple(-(-side // stride) for side in images.shape[2:]) for stride in strides]
    while len(sizes) < len(anchors.strides):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return anchors([torch.empty(1, 0, *size) for size in sizes])


def _decode(differences: Tensor, places: Tensor, coder: Any) -> Tensor:
    """Turn differences (N, 4) to boxes (N, 4) into boxes, as :class:`focalnets.models.heads.boxes.Differences` does."""
    weights = differences.new_tensor(coder.weights)
    shift, scale = (differences / weights).split(2, -1)
    size = places[:, 2:] - places[:, :2]
    middle = places[:, :2] + 0.5 * size + shift * size
    half = 0.5 * scale.clamp(-coder.bbox_xform_clip, coder.bbox_xform_clip).exp() * size
    return torch.cat([middle - half, middle + half], -1)
