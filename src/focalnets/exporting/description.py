"""What an exported file says of itself: that of a checkpoint, and how its tensors are called.

Metadata are texts by name, below ``focalnets.``. Nothing in them is believed: they are read and bounded as those of
checkpoints are, and the names of tensors are those of the task, not those of the file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, get_args

from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.formats import Precision
from focalnets.files import parse_json
from focalnets.models.config import Preprocessing
from focalnets.tasks.table import TASKS
from focalnets.tasks.task import Task
from focalnets.weights.checkpoint import describe
from focalnets.weights.description import PREFIX, Description, read_description

__all__ = ["GRAPH_VERSION", "GraphFacts", "describe_export", "read_export"]

GRAPH_VERSION = 1

_GRAPH = f"{PREFIX}graph"
_MOST_CHARACTERS = 2**16


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What is known of the graph in a file.

    Attributes:
        precision: See :data:`Precision`.
        shape: Of the images (B, C, H, W), where only these can be computed; None for any.
        smallest_px: Height and width from which on any can be.
    """

    precision: str
    shape: tuple[int, ...] | None
    smallest_px: int


def describe_export(
    task: Task,
    network: Any,
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    layout: str,
    precision: Precision,
    shape: tuple[int, ...] | None,
    smallest_px: int,
) -> dict[str, str]:
    """Write the metadata of an exported file.

    Args:
        task: What the network is for.
        network: The network.
        inputs: Names of the tensors that go into its graph.
        outputs: Of those that come out.
        layout: What stands in those that go in.
        precision: See :data:`Precision`.
        shape: Of the images, where only these can be computed.
        smallest_px: Smallest height and width of images.
    """
    metadata = describe(network, task=task.name, head=task.head(network))
    del metadata["format"]
    spec = network.preprocessing
    graph = {
        "version": GRAPH_VERSION,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "layout": layout,
        **{name: list(getattr(spec, name)) for name in ("mean", "std") if hasattr(spec, name)},
        "precision": precision,
        "shape": None if shape is None else list(shape),
        "smallest_px": smallest_px,
    }
    return {**metadata, _GRAPH: json.dumps(graph)}


def read_export(metadata: Mapping[str, str], file: str) -> tuple[Description, GraphFacts]:
    """Read and check the metadata of an exported file.

    Raises:
        CheckpointError: If they are not from this package, malformed, of a newer version or of an unknown task.
    """
    text = metadata.get(_GRAPH)
    description = None if text is None else read_description(metadata, file)
    if text is None or description is None:
        raise CheckpointError(
            f"{file} does not say which classes it knows and how images are prepared for it; only files that "
            "`focalnets export` wrote do: export the network with it, or give its weights."
        )
    if description.task not in TASKS:
        raise CheckpointError(
            f"{file} holds a network for the task {description.task!r}, which this version does not know; its tasks "
            f"are {', '.join(TASKS)}."
        )
    if not isinstance(description.input, Preprocessing):
        raise CheckpointError(
            f"{file} takes a {description.input.kind}, and only exported files that take images are run here; give "
            "the weights that it was made from."
        )
    try:
        return description, _read_facts(text)
    except (ValueError, TypeError, KeyError, ConfigError) as error:
        raise CheckpointError(f"{file} is damaged: {_GRAPH} in its metadata cannot be read ({error}).") from error


def _read_facts(text: str) -> GraphFacts:
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"it has {len(text):,} characters")
    graph = parse_json(text)
    if not isinstance(graph, dict) or graph["version"] != GRAPH_VERSION:
        raise ConfigError(f"this version reads version {GRAPH_VERSION}; update focalnets")
    shape = graph["shape"]
    if shape is not None:
        if not isinstance(shape, list) or len(shape) != 4 or not all(type(size) is int and size > 0 for size in shape):
            raise ConfigError("shape must be four numbers from 1 up")
        shape = tuple(shape)
    smallest = graph["smallest_px"]
    if type(smallest) is not int or not 1 <= smallest <= 8192:
        raise ConfigError("smallest_px must be a number from 1 to 8192")
    if graph["precision"] not in get_args(Precision):
        raise ConfigError(f"precision must be one of {', '.join(get_args(Precision))}")
    return GraphFacts(precision=graph["precision"], shape=shape, smallest_px=smallest)
