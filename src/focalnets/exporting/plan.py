"""What is to be written: a graph, the program that torch.export makes of it, and what the file says of itself."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from focalnets.errors import ConfigError, FocalNetsError
from focalnets.exporting.description import describe_export
from focalnets.exporting.formats import Format, Options
from focalnets.exporting.graphs import Graph
from focalnets.tasks.task import Task

__all__ = ["Plan", "hushed"]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A network to be written.

    Attributes:
        task: What it is for.
        network: The network, float32 on the CPU, in evaluation mode.
        graph: Its graph.
        row: The format.
        options: How to export.
        calibration: Prepared images (C, H, W) for int8.
    """

    task: Task
    network: Any
    graph: Graph
    row: Format
    options: Options
    calibration: Sequence[Tensor] = ()

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """Shape of the images for formats that take one only."""
        side = self.options.size_px or self.network.preprocessing.input_size_px
        return self.options.batch_size or 1, self.network.config.in_chans, side, side

    @property
    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the graph that a program is made from."""
        return self.draw(self.graph.example_shape(self.network))

    def draw(self, shape: Sequence[int], seed: int = 0) -> tuple[Tensor, ...]:
        """Draw inputs of the graph at random."""
        return self.graph.draw(self.network, shape, seed)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Say for each input which axes are free."""
        free: Any = torch.export.Dim.DYNAMIC
        return tuple(dict.fromkeys(self.graph.input_axes[name], free) for name in self.graph.inputs)

    def named_axes(self) -> dict[str, dict[int, str]]:
        """Name the free axes of inputs and outputs."""
        return {**self.graph.input_axes, **self.graph.axes}

    @functools.cached_property
    def program(self) -> Any:
        """The graph for inputs of any size and number, in operators of PyTorch alone."""
        return self.make_program(self.graph, self.example, self.dynamic_shapes())

    def make_program(self, graph: Graph, inputs: tuple[Tensor, ...], dynamic_shapes: Any = None) -> Any:
        """Make a program of a graph.

        Args:
            graph: The graph.
            inputs: What it is made from.
            dynamic_shapes: Which axes are free; None fixes all.

        Raises:
            ConfigError: If PyTorch cannot make one.
        """
        try:
            with torch.no_grad(), hushed():
                program = torch.export.export(graph, inputs, dynamic_shapes=dynamic_shapes)
        except FocalNetsError:
            raise
        except Exception as error:
            reason = str(error).strip().split("\n")[0][:300]
            raise ConfigError(
                f"PyTorch cannot make a program of this network for the task {self.task.name} "
                f"({type(error).__name__}: {reason}); networks as they are loaded from checkpoints can be exported."
            ) from error
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)  # where on this machine the code lies
        return program

    @functools.cached_property
    def smallest_px(self) -> int:
        """Height and width from which on images may be, by the graph, and by the program where its conditions hold."""
        smallest = self.graph.smallest_px(self.network)
        if not self.row.guarded:
            return smallest
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name == "images":
                ranges = self.program.range_constraints
                known = [ranges.get(side.node.expr) for side in node.meta["val"].shape[2:] if hasattr(side, "node")]
                return max([smallest, *(int(limits.lower) for limits in known if limits is not None)])
        return 1

    def metadata(self) -> dict[str, str]:
        """Write what the file says of itself."""
        return describe_export(
            self.task,
            self.network,
            inputs=self.graph.inputs,
            outputs=self.graph.outputs,
            layout=self.graph.layout,
            precision=self.options.precision,
            shape=None if self.row.any_size else self.fixed_shape,
            smallest_px=self.smallest_px,
        )


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep exporters from telling of their own affairs."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
