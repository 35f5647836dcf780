"""A trained network of any task together with what it is for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from torch import nn

from focalnets.data.labelled import LabelledData
from focalnets.errors import ConfigError
from focalnets.machine.devices import choose_device
from focalnets.models.focalnet import FocalNet
from focalnets.report.names import list_some, without_folders
from focalnets.tasks.loading import OpenedData, load_trained, open_for_evaluation
from focalnets.tasks.running import spec_at
from focalnets.tasks.table import build_task
from focalnets.tasks.task import Task

__all__ = ["TrainedNetwork", "open_given"]

Kind = TypeVar("Kind", bound="TrainedNetwork")


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network of any task, with what it is for.

    Attributes:
        task: What it is for; a frozen object with options such as ``top_k``.
        network: The network, on its device, in evaluation mode.
        source: What it was loaded from: a path or a name; empty for a network that was made here.
    """

    task: Task
    network: nn.Module
    source: str = ""

    @classmethod
    def load(cls: type[Kind], source: str | os.PathLike[str], *, device: str = "auto", **options: Any) -> Kind:
        """Load a network onto a device; the options are those of :func:`focalnets.tasks.loading.load_trained`.

        Raises:
            CheckpointError: If the source is missing, damaged, hostile or of a task that this version does not know.
            ConfigError: If there is no such device or an option is out of range.
        """
        chosen = choose_device(device)
        task, network = load_trained(source, **options)
        return cls(task, network.to(chosen).eval(), os.fspath(source))

    @classmethod
    def of(cls: type[Kind], model: Any) -> Kind:
        """Take a network that is loaded: one of this class, or a FocalNet, which then classifies.

        Raises:
            ConfigError: If it is something else.
        """
        if isinstance(model, FocalNet):
            return cls(build_task("classify"), model)
        if not isinstance(model, cls):
            raise ConfigError(
                f"model is of type {type(model).__name__}; expected a path or name, what focalnets.load returns, or a "
                "FocalNet."
            )
        return model

    @property
    def labels(self) -> tuple[str, ...]:
        """What its answers are called, e.g. the names of the classes."""
        return self.task.labels(self.network)

    @property
    def origin(self) -> str:
        """Where its weights came from, in words."""
        return str(getattr(self.network, "origin", ""))

    @property
    def preprocessing(self) -> Any:
        """How its inputs are prepared, with their size."""
        return spec_at(self.network, None)

    def classifier(self, purpose: str) -> FocalNet:
        """Return the network if it is a plain FocalNet, which can be looked into.

        Args:
            purpose: What wants to look into it, for messages.

        Raises:
            ConfigError: If it is for another task.
        """
        self.require_weights(purpose)
        if not isinstance(self.network, FocalNet):
            raise ConfigError(f"{purpose} looks into classifiers, and this network is for the task {self.task.name}.")
        return self.network

    def require_weights(self, purpose: str) -> None:
        """Refuse a network that an exported file computes, of which only the answers are there.

        Args:
            purpose: What needs the network itself, for messages.

        Raises:
            ConfigError: If it is one.
        """
        if getattr(self.network, "computed_by", None) is not None:
            raise ConfigError(
                f"{purpose} looks into a network, and {self.source} is an exported file, which only answers; give the "
                "weights that it was made from."
            )

    def generate(self, prompt: str | Sequence[str] | None = None, **options: Any) -> Iterator[Any]:
        """Continue a text, or several together; yields what they are continued by, a few characters at a time.

        Of one text each item is a text, of several a list of them. The options are those of
        :func:`focalnets.tasks.language.generation.continue_texts`, e.g. ``length=500``; without a length it never ends.
        Without a prompt the text begins with a new line, or with the first token of a network that knows none.
        """
        from focalnets.tasks.language.generation import continue_texts, language_model, usual_prompt

        self.require_weights("generate")
        prompt = usual_prompt(self.network) if prompt is None else prompt
        pieces = continue_texts(
            language_model(self.network, "generate"), [prompt] if isinstance(prompt, str) else list(prompt), **options
        )
        return (piece for (piece,) in pieces) if isinstance(prompt, str) else pieces

    def to(self: Kind, device: str) -> Kind:
        """Move the network to a device, in place as torch does; returns this object.

        Args:
            device: auto, cpu, cuda, cuda:N or mps.

        Raises:
            ConfigError: If there is no such device here.
        """
        self.network.to(choose_device(device))
        return self

    def with_options(self: Kind, **options: Any) -> Kind:
        """The same network with other options of its task; those that are None or that it does not know are left out.

        Raises:
            ConfigError: If an option is out of range.
        """
        known = {field.name for field in dataclasses.fields(self.task)}
        chosen = {name: value for name, value in options.items() if value is not None and name in known}
        return dataclasses.replace(self, task=dataclasses.replace(self.task, **chosen)) if chosen else self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}: {value}' for name, value in self._described().items())})"

    def _repr_html_(self) -> str:
        from focalnets.report.fragment import render_table

        return render_table(
            ["trained network", ""], [(name, without_folders(value)) for name, value in self._described().items()]
        )

    def _described(self) -> dict[str, str]:
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        labels = self.labels
        return {
            "task": self.task.name,
            "network": f"{type(self.network).__name__} with {parameters / 1e6:.2f} M parameters",
            "labels": f"{len(labels):,} ({list_some(labels)})" if labels else "none",
            "input": self.preprocessing.size_in_words(),
            "weights": self.origin or self.source or "made here",
        }


def open_given(
    data: str | os.PathLike[str] | LabelledData | OpenedData,
    trained: TrainedNetwork,
    split: str | os.PathLike[str] | None,
) -> OpenedData:
    """Find the labelled images that somebody gave for a network to be measured on.

    Args:
        data: A place, or labelled data that is open.
        trained: The network.
        split: File of a run whose held-out part of the place is meant; None takes that of the network's run.

    Raises:
        ConfigError: If there is a split but no place.
        DataError: If the place is missing, not laid out as expected or does not fit the network.
    """
    if isinstance(data, (str, os.PathLike)):
        return open_for_evaluation(trained.task, trained.network, data, source=trained.source, split=split)
    if split is not None:
        raise ConfigError("split chooses among the images of a place; give data as a path, or leave split out.")
    return data if isinstance(data, OpenedData) else OpenedData(type(data).__name__, data)
