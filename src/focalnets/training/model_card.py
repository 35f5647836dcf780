"""The card of a trained network, in the format of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from focalnets.models.config import InputSpec
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig

__all__ = ["model_card"]

_CLASSES_SHOWN = 20


def model_card(
    config: TrainingConfig,
    *,
    name: str,
    data: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    best_epoch: int,
    spec: InputSpec,
    parameters: int,
    task: Task,
) -> str:
    """Write the text of ``README.md``: metadata that the Hub reads, then what a reader needs to use the weights.

    Args:
        config: The settings.
        name: Name of the run.
        data: Its ``data`` in ``environment.json``.
        history: One row an epoch.
        best_epoch: Epoch of the best weights, counted from 1.
        spec: How inputs are prepared.
        parameters: Weights of the network.
        task: What it was trained for.
    """
    best = next(row for row in history if row["epoch"] == best_epoch)
    network = config.model if config.pretrained is None else f"weights from {Path(config.pretrained).name}"
    # The folder's name only: where it lies on this machine is nobody else's business.
    source = Path(str(data["description"]).partition(" (")[0]).name or "images"
    results = [
        EvalResult(
            task_type=task.pipeline_tag or task.name, dataset_type="imagefolder", dataset_name=source,
            dataset_split=f"{task.inputs} held out", metric_type=metric.hub_type or name,
            metric_name=metric.hub_name or metric.label,
            metric_value=round(best[f"val_{name}"], 5),
        )
        for name, metric in task.metric_labels.items()
    ]  # fmt: skip
    figures = ", ".join(
        f"{metric.label} {metric.format(best[f'val_{name}'], 2)}" for name, metric in task.metric_labels.items()
    )
    header = ModelCardData(
        license="unknown",
        library_name="focalnets",
        pipeline_tag=task.pipeline_tag,
        tags=[*([task.pipeline_tag] if task.pipeline_tag else []), "focal-modulation", "focalnet"],
        model_name=name,
        eval_results=results,
    )
    classes, inputs = list(data["classes"]), task.inputs
    command = task.next_commands[0].format(model=".")
    more = f" and {len(classes) - _CLASSES_SHOWN} more" if len(classes) > _CLASSES_SHOWN else ""
    names = f" on {len(classes)} classes: {', '.join(classes[:_CLASSES_SHOWN])}{more}" if classes else ""
    load = "load_model" if task.name == "classify" else "load"
    hours = sum(row["seconds"] for row in history) / 3600
    return f"""---
{header.to_yaml()}
---

# {name}

{network}, {parameters / 1e6:.2f} M parameters, trained{names or f" {spec.size_in_words()}"}.
The licence above is for you to fill in before you publish these weights.

## Data
{data["images_to_train"]:,} {inputs} of `{source}` to train, {data["images_to_validate"]:,} held out.

## Recipe
{history[-1]["epoch"]} epochs in {hours:.2f} hours: {config.optimizer}, learning rate {config.learning_rate:g},
{task.recipe_in_words()}seed {config.seed}. Every
setting is in `config.yaml`; software, machine and command line are in `environment.json`.

## Metrics
Best epoch {best_epoch}: {figures}, loss {best["val_loss"]:.4f},
{spec.size_in_words()} on the {inputs} held out. The course is in `metrics.csv` and `curves.png`.

## Limits
The {inputs} held out also chose the epoch: on other {inputs} expect a little less, and much less on {inputs} of another
kind.
{task.limits}

## How to load
```python
import focalnets

model = focalnets.{load}("best.safetensors")  # of the best epoch; last.safetensors is the newest
```

From the command line: `focalnets {command}` in this folder.
"""
