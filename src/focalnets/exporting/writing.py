"""Exporting a network: plan, write under a temporary name, run, compare, put in place.

Axes: B batch, C channels, H W height and width [px], T positions.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.errors import ConfigError
from focalnets.exporting.detector_graph import DetectGraph
from focalnets.exporting.formats import Format, Options, check_request, format_of
from focalnets.exporting.graphs import ClassifyGraph, Graph, SemanticGraph, full_sizes
from focalnets.exporting.plan import Plan
from focalnets.exporting.query_graphs import (
    BoxQueriesGraph,
    InstanceQueriesGraph,
    PanopticGraph,
    SemanticQueriesGraph,
)
from focalnets.exporting.sequence_graphs import SeriesGraph, TokensGraph
from focalnets.files import folder_for_now, user_path
from focalnets.models.heads.detector import Detector
from focalnets.report.names import without_folders
from focalnets.tasks.table import build_task
from focalnets.tasks.task import Task

__all__ = ["GRAPHS", "TOLERANCES", "Comparison", "Exported", "choose_graph", "export_network"]

GRAPHS: dict[str, tuple[type[Graph], ...]] = {
    "classify": (ClassifyGraph,),
    "semantic": (SemanticGraph, SemanticQueriesGraph),
    "detect": (DetectGraph, BoxQueriesGraph),
    "instance": (DetectGraph, InstanceQueriesGraph),
    "panoptic": (PanopticGraph,),
    "text": (TokensGraph,),
    "series": (SeriesGraph,),
}
"""The graphs of each task's networks, of which one suits each head."""

TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "int8": 0.5}
"""Largest difference to PyTorch, as a fraction of the largest value of an output, by what weights are kept as."""

_PHOTO_SCALES = (1.0, 1.0, 0.75, 1.25)
"""Sizes of the photos for which a file of 8 bits is compared, as fractions of their size in evaluation."""


_USUAL = Options()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far a written file is from PyTorch for some inputs.

    Attributes:
        shape: Of the images (B, C, H, W), or of the sequences (B, T).
        difference: Largest difference of an output, as a fraction of its largest value.
    """

    shape: tuple[int, ...]
    difference: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        files: It, and what lies beside it and belongs to it.
        format: Name of the format.
        task: What the network is for.
        precision: What weights are kept as.
        inputs, outputs: Names of its tensors.
        shape: Of the images, if only these can be computed; None for any.
        smallest_px: Smallest height and width of images; 1 for sequences.
        comparisons: With PyTorch.
        tolerance: What none of these exceeds.
    """

    path: Path
    files: tuple[Path, ...]
    format: str
    task: str
    precision: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...] | None
    smallest_px: int
    comparisons: tuple[Comparison, ...]
    tolerance: float

    @property
    def difference(self) -> float:
        """The largest difference to PyTorch."""
        return max(each.difference for each in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **dataclasses.asdict(self),
            "path": str(self.path),
            "files": [{"path": str(file), "bytes": file.stat().st_size} for file in self.files],
            "difference": self.difference,
        }


def export_network(
    task: Task,
    network: nn.Module,
    path: str | os.PathLike[str],
    options: Options = _USUAL,
    *,
    calibration: Sequence[Tensor] = (),
    without_masks: bool = False,
) -> Exported:
    """Write a network as a file for other programs, once it has been run and compared with PyTorch.

    Args:
        task: What the network is for.
        network: The network; it is left as it is.
        path: File to write or replace, whose ending says the format, see :data:`focalnets.exporting.formats.FORMATS`.
        options: How to export.
        calibration: Prepared images (C, H, W) for int8; some hundreds are usual.
        without_masks: Of a Mask R-CNN export the boxes, for the task ``detect``.

    Raises:
        ConfigError: If the ending is unknown, an option is for another format, the network has no graph, or the file
            answers otherwise than PyTorch.
        MissingPackageError: If the format needs a package that is not installed.
        OSError: If the file cannot be written.
    """
    place = user_path(path)
    row = format_of(place)
    check_request(row, options, data=len(calibration) > 0)
    task, network = _prepared(task, network, without_masks=without_masks)
    plan = Plan(task, network, choose_graph(task, network)(network).eval(), row, options, tuple(calibration))
    tolerance = TOLERANCES[options.precision]
    with _put_in_place(place, row) as temporary:
        row.write(plan, temporary)
        comparisons = _compare(plan, row.open_runner(temporary))
        worst = max(comparisons, key=lambda each: each.difference)
        if not worst.difference <= tolerance:
            raise ConfigError(
                f"{place.name} was not written: for {plan.graph.inputs[0]} of shape {worst.shape} it differs from "
                f"PyTorch by {worst.difference:.2g} of the largest value, and at most {tolerance:g} is allowed."
            )
    fixed = None if row.any_size else plan.fixed_shape
    return Exported(
        path=place,
        files=(place, *(place.with_suffix(ending) for ending in row.also)),
        format=row.name,
        task=task.name,
        precision=options.precision,
        inputs=plan.graph.inputs,
        outputs=plan.graph.outputs,
        shape=fixed,
        smallest_px=plan.smallest_px,
        comparisons=tuple(comparisons),
        tolerance=tolerance,
    )


def _prepared(task: Task, network: Any, *, without_masks: bool) -> tuple[Task, Any]:
    """Copy a network to the CPU, in float32 and evaluation mode, and leave the head of masks out if asked for."""
    if task.name not in GRAPHS:
        raise ConfigError(
            f"Networks of the task {task.name} cannot be exported; those of the tasks {', '.join(GRAPHS)} can."
        )
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    network.origin = without_folders(network.origin)  # The file goes to others.
    if not without_masks:
        return task, network
    if not isinstance(network, Detector) or not network.head_config.masks:
        raise ConfigError("The network is no Mask R-CNN; leave without_masks (--without_masks) out.")
    network.set_options(masks=False)
    network.head.regions.mask = None
    return build_task("detect"), network


def choose_graph(task: Task, network: Any) -> type[Graph]:
    """Choose the graph that a network of a task is exported as.

    Raises:
        ConfigError: If there is none for its head.
    """
    for graph in GRAPHS[task.name]:
        if graph.suits(network):
            return graph
    raise ConfigError(f"There is no graph for the head of this network; the task {task.name} has other ones.")


def _compare(plan: Plan, run: Callable[..., list[Tensor]]) -> list[Comparison]:
    """Compare a written file with PyTorch, at several sizes and numbers of images where they are free."""
    comparisons = []
    for inputs in _compared_inputs(plan):
        with torch.no_grad():
            expected = plan.graph(*inputs)
        comparisons.append(Comparison(tuple(inputs[0].shape), plan.graph.compare(run(*inputs), expected)))
    return comparisons


def _compared_inputs(plan: Plan) -> Iterator[tuple[Tensor, ...]]:
    """Choose inputs: at random, or some of the photos for 8 bits, whose ranges random numbers do not keep to."""
    if not plan.calibration:
        any_size = plan.row.any_size
        shapes = plan.graph.compared_shapes(plan.network, plan.smallest_px) if any_size else [plan.fixed_shape] * 2
        yield from (plan.draw(shape, seed) for seed, shape in enumerate(shapes))
        return
    for index, scale in enumerate(_PHOTO_SCALES):
        photo = plan.calibration[index * len(plan.calibration) // len(_PHOTO_SCALES)]
        size = [max(round(scale * side), plan.smallest_px) for side in photo.shape[-2:]]
        resized = F.interpolate(photo[None], size=size, mode="bilinear", antialias=True)
        images = torch.cat([resized, resized.flip(-1)][: 1 + index % 2])
        yield plan.graph.feed(images, full_sizes(images))


@contextlib.contextmanager
def _put_in_place(path: Path, row: Format) -> Iterator[Path]:
    """Yield a file in a temporary folder beside ``path``, and move it, and those beside it, if the block ends well.

    Folders that were missing stay only then.
    """
    with folder_for_now(path.parent), tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        # The file itself comes last: whoever finds it finds also what belongs to it.
        for ending in (*row.also, row.ending):
            temporary.with_suffix(ending).replace(path.with_suffix(ending))
