"""What the command line can, as Python: load, predict, evaluate, train, explain and audit.

Results can be shown (``show()``, and by themselves in notebooks), written (``save``) and turned into plain values
(``to_dict()``) or data frames (``to_dataframe()``, which needs pandas).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from focalnets.data.inputs import Inputs
from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.engine.accelerate import Precision
from focalnets.exporting.formats import is_exported
from focalnets.models.focalnet import FocalNet
from focalnets.tasks.loading import OpenedData
from focalnets.tasks.predicting import predict_given
from focalnets.tasks.results import Results
from focalnets.tasks.trained import TrainedNetwork, open_given
from focalnets.training.result import TrainingResult
from focalnets.weights.shipped import DEFAULT

if TYPE_CHECKING:
    from focalnets.auditing.audited import Audit
    from focalnets.exporting.writing import Exported
    from focalnets.large.looking import LargeOptions
    from focalnets.large.plan import Plan
    from focalnets.tasks.evaluated import Evaluated
    from focalnets.tasks.report import OnProgress
    from focalnets.training.config import TrainingConfig
    from focalnets.visualize.draw import Style
    from focalnets.visualize.explanations import Explanations
    from focalnets.visualize.recording import BlockId
    from focalnets.visualize.text.explanation import TextExplanation

__all__ = ["Model", "Trained", "Training", "audit", "evaluate", "explain", "load", "predict", "train"]


class Trained(TrainedNetwork):
    """A :class:`TrainedNetwork` of any task, with what can be done with it."""

    def predict(self, inputs: Inputs, **options: Any) -> Results:
        """Say what it answers to pictures; the options are those of :func:`predict`."""
        return predict(inputs, self, **options)

    def evaluate(self, data: str | os.PathLike[str] | LabelledData, **options: Any) -> Evaluated:
        """Measure it on labelled data; the options are those of :func:`evaluate`."""
        return evaluate(data, self, **options)

    def audit(self, data: str | os.PathLike[str] | LabelledData, **options: Any) -> Audit:
        """Find out what the data taught it besides its task; the options are those of :func:`audit`."""
        return audit(data, self, **options)

    def explain(self, inputs: Inputs, **options: Any) -> Explanations:
        """Draw where it looks in pictures; the options are those of :func:`explain`."""
        return explain(inputs, self, **options)

    def explain_text(self, text: str, **options: Any) -> TextExplanation:
        """Say what it listens to in a text; the options are those of :func:`focalnets.explain_text`."""
        from focalnets.visualize.text.explain import explain_text

        return explain_text(text, self, **options)

    def export(self, path: str | os.PathLike[str], **options: Any) -> Exported:
        """Write it as a file for other programs; the options are those of :func:`focalnets.export`."""
        from focalnets.exporting.export import export

        return export(self, path, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(TrainingResult):
    """What a training reached, with the way to its network."""

    def load(self, *, device: str = "auto", **options: Any) -> Trained:
        """Load the network of the best epoch; the arguments are those of :func:`load`."""
        return load(self.best_weights, device=device, **options)


Model = str | os.PathLike[str] | Trained | FocalNet | None
"""A network: what :func:`load` takes as its source, or one that is loaded; None is the one in the package."""


def load(source: str | os.PathLike[str] | None = None, *, device: str = "auto", **options: Any) -> Trained:
    """Load a trained network of any task.

    Args:
        source: A run's folder, a weights file, a hub id or the name of published weights; or an exported file (.onnx,
            .xml), which only answers, on the CPU. None takes the small network inside the package, of ten classes.
        device: Where it runs: auto, cpu, cuda, cuda:N or mps; auto takes the GPU if there is one.
        **options: Fields of its task, e.g. ``top_k``; what its task does not know is left out.

    Raises:
        CheckpointError: If the source is missing, damaged, hostile or of a task that this version does not know.
        ConfigError: If there is no such device or an option is out of range.
        MissingPackageError: If what runs an exported file is not installed.
    """
    if source is not None and is_exported(source):
        from focalnets.exporting.network import open_exported

        return Trained(*open_exported(source, device=device, **options), os.fspath(source))
    return Trained.load(DEFAULT if source is None else source, device=device, **options)


def predict(
    inputs: Inputs,
    model: Model = None,
    *,
    top_k: int | None = None,
    threshold: float | None = None,
    size_px: int | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    output: str | os.PathLike[str] | None = None,
    every: int = 1,
    device: str = "auto",
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Results:
    """Say what a network answers to pictures, and to the frames of videos.

    Args:
        inputs: One or several of: a path of a file or folder, or a pattern; a path of a video file; a PIL image; an
            array (H, W) or (H, W, 1 | 3 | 4); a tensor (1 | 3 | 4, H, W) or as arrays; the bytes of an image file.
            Arrays and tensors hold uint8, uint16, or floats from 0 to 1, and are not normalised. See
            :func:`focalnets.data.inputs.gather_inputs`. For a network that classifies texts: texts, and paths (objects
            of ``pathlib``) of tables and text files, see :func:`focalnets.data.text.inputs.gather_texts`.
        model: See :data:`Model`.
        top_k: Classes that a prediction names, at most; None takes 5, or what the network was loaded with.
        threshold: Least confidence of objects that are named; None takes the usual one of the task.
        size_px: Input size [px], of texts tokens at most; None takes the network's own.
        batch_size: Pictures the network sees at once; None takes the usual number of its task. The result does not
            depend on it beyond rounding.
        precision: What is computed with, see :func:`focalnets.engine.forms.inference_form`: ``auto`` is exact and as
            fast as this machine does that; ``bfloat16`` and ``int8`` are faster on CPUs that have instructions for it.
        output: Where videos are written, with the answers drawn into them: a folder, or the file for a single one.
            Pictures are only written by ``write`` and ``save`` of the results.
        every: In videos look at each ``every``-th frame only.
        device: Where to run, see :func:`load`; a network that is loaded stays where it is.
        on_progress: Called with the number of pictures done, and of all; for a video with that of frames, and of all
            where it is known.

    Returns:
        The results in the order of the inputs, ``clips`` for videos, and ``failures`` for what could not be read.

    Raises:
        ShapeError: If something is no picture, or an array has another shape or dtype.
        ImageError: If the values of an array are out of range.
        CheckpointError: If the network cannot be loaded, or answers with numbers that are not finite.
        ConfigError: If a number is out of range, or videos lack an output.
        MissingPackageError: If there are videos and PyAV is not installed.
    """
    trained = _trained(model, device, top_k=top_k, threshold=threshold)
    return predict_given(
        trained, inputs, output=output, precision=precision, every=every, batch_size=batch_size, size_px=size_px,
        on_progress=on_progress,
    )  # fmt: skip


def evaluate(
    data: str | os.PathLike[str] | LabelledData | OpenedData,
    model: Model = None,
    *,
    split: str | os.PathLike[str] | None = None,
    size_px: int | None = None,
    resolutions: Sequence[int] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    bins: int | None = None,
    worst: int | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    precision: Precision = "auto",
    look: LargeOptions | None = None,
    folder: str | os.PathLike[str] | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_plan: Callable[[str, Plan], None] | None = None,
) -> Evaluated:
    """Measure a network on labelled data.

    Args:
        data: Folder, CSV file or shards; or labelled data whose answers count in the network's outputs, see
            :func:`focalnets.tasks.loading.open_for_evaluation`.
        model: See :data:`Model`.
        split: File ``split.json`` of a run whose held-out part is meant; None takes that of the run that trained the
            network, if it split this very data. The result says which was used.
        size_px: Input size [px]; None takes the network's own.
        resolutions: Also measure at these input sizes [px], one pass each.
        corruptions: Also measure on pictures with these of :data:`focalnets.data.corruptions.CORRUPTIONS`.
        severities: From 1 to 5.
        seed: Of their noise.
        bins: Bins of the calibration; None takes 15.
        worst: Most confident errors to keep; None takes 24.
        batch_size: Inputs the network sees at once; None takes the task's usual number.
        skip_unreadable: Leave damaged inputs out instead of refusing.
        precision: What is computed with, see :func:`predict`; the result says what it was.
        look: Measure images at the size that they have, e.g. ``LargeOptions(context="tile")``.
        folder: With ``look``: where maps may lie that memory does not hold.
        device: Where to run, see :func:`load`; a network that is loaded stays where it is.
        on_progress: See :data:`focalnets.tasks.report.OnProgress`.
        on_plan: With ``look``: takes an image's name and what looking at it will take.

    Raises:
        DataError: If the data is missing, not laid out as expected, does not fit the network or cannot be read.
        CheckpointError: If the network cannot be loaded, or answers with numbers that are not finite.
        ConfigError, UnknownNameError: If a number or a name is out of range.
    """
    from focalnets.tasks.evaluated import Evaluated
    from focalnets.tasks.report import evaluate_in_passes

    trained = _trained(model, device, bins=bins, worst=worst)
    if look is not None:
        trained.require_weights("look")
    opened = open_given(data, trained, split)
    report = evaluate_in_passes(
        trained.task,
        trained.network,
        opened.data,
        place=opened.place,
        size_px=size_px, batch_size=batch_size, precision=precision, skip_unreadable=skip_unreadable,
        resolutions_px=resolutions, corruptions=corruptions, severities=severities, seed=seed,
        on_progress=on_progress, look=look, folder=folder, on_plan=on_plan,
    )  # fmt: skip
    return Evaluated(report, trained.task, opened.split)


def train(
    data: str | os.PathLike[str] | TrainingData | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    recipe: str | None = None,
    config: TrainingConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Training:
    """Train a network into a run's folder, or continue a run that was stopped.

    Args:
        data: Folder, CSV file or shards, or data that is open already. With ``resume`` only where it has moved.
        output: The run's folder, made if needed; None takes ``runs/MODEL-DATE``.
        recipe: Settings to start from, see :mod:`focalnets.training.recipes`; None takes ``small``, or ``finetune``
            with ``pretrained``.
        config: Settings that override the recipe's: a mapping, a YAML file, or a complete TrainingConfig.
        resume: Folder of a run to continue with its own settings.
        overwrite: Replace a run that is already in the output folder.
        quiet: Show nothing; the log in the run's folder is written all the same.
        **settings: Fields of :class:`focalnets.training.config.TrainingConfig` and of its task, e.g. ``epochs=20``;
            they override all others.

    Raises:
        ConfigError, UnknownNameError: If a setting is unknown, out of range or contradicts another one.
        DataError: If the data is missing, not laid out as expected or cannot be read.
        TrainingError: If the output holds a run or cannot be written, or the training cannot go on.
        CheckpointError: If weights to start from cannot be loaded.
        InterruptedRunError: If stopped by Ctrl-C, after saving.
    """
    from focalnets.training.start import continue_training, start_training

    options: dict[str, Any] = {"output": output, "recipe": recipe, "config": config}
    if resume is not None:
        result = continue_training(resume, data, quiet=quiet, overwrite=overwrite or None, **options, **settings)
    else:
        result = start_training(data, settings=settings, overwrite=overwrite, quiet=quiet, **options)
    return Training(**{field.name: getattr(result, field.name) for field in dataclasses.fields(result)})


def explain(
    inputs: Inputs,
    model: Model = None,
    *,
    size: int | Literal["native"] | None = None,
    block: str | BlockId | None = None,
    map: str | None = None,
    style: Style = "overlay",
    top_k: int = 5,
    output: str | os.PathLike[str] | None = None,
    every: int = 1,
    most_frames: int | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Explanations:
    """Draw where a network looks in photos, and over every frame of videos.

    Args:
        inputs: Photos as for :func:`predict`, and paths of video files.
        model: See :data:`Model`.
        size: Shorter side at which a photo is seen [px], or ``"native"`` for its own size; None takes the scale of the
            evaluation. For networks of other tasks than classification it is the size of their input.
        block: Block whose modulator and gates are drawn, as ``"stage.block"`` or a pair of numbers from 0; None takes
            the last one of the last stage but one.
        map: The map that is drawn large, of :data:`focalnets.visualize.map_names.MAPS`; None takes
            ``focal-evidence``, of a named block ``modulator-evidence``; videos and dense tasks have ``modulator``.
        style: ``overlay``, ``heatmap`` or ``side-by-side``.
        top_k: Classes to name, at most.
        output: Where videos are written: a folder, or a file for a single one. Photos are only written by ``save``.
        every: In videos look at each ``every``-th frame only.
        most_frames: Videos end after so many frames; None takes all.
        device: Where to run, see :func:`load`; a network that is loaded stays where it is.
        on_progress: As for :func:`predict`.

    Raises:
        ShapeError, ImageError: As :func:`predict`.
        CheckpointError: If the network cannot be loaded.
        ConfigError: If a number or a block is out of range, the network is no classifier, or videos lack an output.
        MissingPackageError: If there are videos and PyAV is not installed.
    """
    from focalnets.visualize.explanations import explain_given

    return explain_given(
        _trained(model, device), inputs, block=block, map_name=map, size_px=size, top_k=top_k, style=style,
        output=output, every=every, most_frames=most_frames, on_progress=on_progress,
    )  # fmt: skip


def audit(
    data: str | os.PathLike[str] | LabelledData | OpenedData, model: Model = None, *, device: str = "auto",
    **options: Any,
) -> Audit:  # fmt: skip
    """Find out what the data taught a classifier besides its task.

    The data is as for :func:`evaluate`, in files; the options are those of
    :func:`focalnets.auditing.network.audit_network`, e.g. ``groups="groups.csv"``.
    """
    from focalnets.auditing.network import audit_network

    return audit_network(_trained(model, device), data, **options)


def _trained(model: Any, device: str, **options: Any) -> Trained:
    """The network that was given, loaded where it is not, with those options of its task that are not None."""
    if model is None or isinstance(model, (str, os.PathLike)):
        return load(model, device=device, **{name: value for name, value in options.items() if value is not None})
    return Trained.of(model).with_options(**options)
