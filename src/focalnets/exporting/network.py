"""A network that an exported file computes: the one that the file describes, without its weights.

What a task asks of a network, such as its labels, its stride or what stands on its backbone, this one knows. Only its
``forward`` is the file's.

Axes: B batch, C channels, H W height and width [px].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.description import GraphFacts, read_export
from focalnets.exporting.formats import FORMATS
from focalnets.exporting.graphs import Graph, full_sizes
from focalnets.exporting.writing import GRAPHS, choose_graph
from focalnets.files import user_path
from focalnets.models.config import Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.models.heads.network import valid_sizes
from focalnets.tasks.table import build_task, task_class
from focalnets.tasks.task import Task
from focalnets.weights.description import Description

__all__ = ["FileGraph", "open_exported"]

Size = tuple[int, int]


def open_exported(source: str | os.PathLike[str], *, device: str = "auto", **options: Any) -> tuple[Task, nn.Module]:
    """Open an exported file as a network with its task.

    Args:
        source: A file that ends in one of :data:`focalnets.exporting.formats.RUN_HERE`.
        device: ``auto`` or ``cpu``.
        **options: Fields of the task, e.g. ``top_k``; what its task does not know is left out.

    Returns:
        The task, and the network, on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, hostile, or not written by ``focalnets export``.
        ConfigError: If another device is asked for.
        MissingPackageError: If what runs the file is not installed.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(f"Exported files are computed on the CPU; leave device out, got {device!r:.80}.")
    path = user_path(source)
    row = FORMATS[path.suffix.lower()]
    description, facts = read_export(row.read_metadata(path), str(path))
    if description.task not in GRAPHS:
        raise CheckpointError(f"{path} says it is for the task {description.task}, whose networks are not exported.")
    known = set(getattr(task_class(description.task), "__dataclass_fields__", ()))
    task = build_task(description.task, **{name: value for name, value in options.items() if name in known})
    try:
        network = _described(task, description)
        graph = choose_graph(task, network)
        graph.check(network)
    except ConfigError as error:
        raise CheckpointError(f"{path} describes a network that this version cannot use: {error}") from error
    _leave_weights_out(network)
    network.origin = description.origin_after(path)
    network.computed_by = f"{facts.precision} by {row.runtime} on cpu"
    network.forward = FileGraph(network, graph, row.open_runner(path), facts, path)
    return task.suited_to(network), network.eval()


def _described(task: Task, description: Description) -> Any:
    """Build the network that a description describes, on the device meta."""
    spec = description.input
    assert isinstance(spec, Preprocessing)
    if task.name != "classify":
        return task.rebuild(description.config, spec, description.labels or (), description.head)
    with torch.device("meta"):
        network = FocalNet(description.config, preprocessing=spec, class_names=description.labels)
    network.threshold = description.threshold
    return network


def _leave_weights_out(network: nn.Module) -> None:
    """Put empty tensors in the place of all that learnt something."""
    for module in list(network.modules()):
        for name, _ in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(0), requires_grad=False))
        for name, _ in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(0))


class FileGraph:
    """Stands in for the ``forward`` of a network.

    Args:
        network: The network, without weights.
        graph: What the file computes.
        run: From the inputs of the graph to the list of its outputs.
        facts: What the file says of its graph.
        path: The file.
    """

    def __init__(
        self, network: Any, graph: type[Graph], run: Callable[..., list[Tensor]], facts: GraphFacts, path: Path
    ) -> None:
        # Not as an attribute of its own: a module that holds what holds the module could not be walked through.
        self.of, self.graph, self.run, self.facts, self.path = (network,), graph, run, facts, path

    def __call__(self, images: Tensor, mask: Tensor | None = None, targets: Sequence[Any] | None = None) -> Any:
        """Compute what the network would; images of different sizes go one by one, each at its own size.

        Args:
            images: (B, C, H, W).
            mask: Booleans (B, H, W), True for pixels that belong to an image; None where nothing is padded.
            targets: As the network takes them.
        """
        if mask is None:
            return self._answer(images, full_sizes(images), targets)
        sizes: list[Size] = [(height, width) for height, width in valid_sizes(images, mask).tolist()]
        if not getattr(self.of[0], "padding_masked", True):
            return self._answer(images, sizes, targets)  # as published detectors, which see the padding
        answers = [
            self._answer(
                images[index : index + 1, :, : size[0], : size[1]], [size], targets and targets[index : index + 1]
            )
            for index, size in enumerate(sizes)
        ]
        return self.graph.join(answers)

    def _answer(self, images: Tensor, sizes: Sequence[Size], targets: Any) -> Any:
        if self.facts.shape not in (None, tuple(images.shape)):
            raise ConfigError(f"{self.path} takes images of shape {self.facts.shape} only, got {tuple(images.shape)}.")
        if min(images.shape[2:]) < self.facts.smallest_px:
            raise ConfigError(
                f"{self.path} takes images from {self.facts.smallest_px} px up, got {images.shape[3]} x "
                f"{images.shape[2]}; choose a larger size."
            )
        network = self.of[0]
        outputs = self.run(*self.graph.feed(images.float().cpu(), sizes))
        shapes, expected = tuple(tuple(each.shape) for each in outputs), self.graph.expected(network, images)
        if shapes != expected:
            raise CheckpointError(
                f"{self.path} answers with tensors of shapes {str(shapes)[:120]}, and {str(expected)[:120]} are "
                "expected by what it says of itself; export it again."
            )
        for name, output in zip(self.graph.outputs, outputs, strict=True):
            kind = torch.int64 if name in self.graph.whole else torch.float32
            if output.dtype != kind:
                raise CheckpointError(
                    f"{self.path} answers with {name} of {output.dtype}, not {kind}; export it again."
                )
        return self.graph.answer(network, outputs, images, sizes, targets)
