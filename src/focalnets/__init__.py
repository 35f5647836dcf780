"""FocalNets: focal modulation networks for images at high resolution.

Public names are imported when first used, so that ``import focalnets`` stays light and touches no device. It does one
thing to the process: if torch is not loaded yet and the environment does not say how idle OpenMP threads wait, it sets
``OMP_WAIT_POLICY=passive``, because spinning threads slow down all work on a busy machine many times over.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from focalnets.machine.process import wait_without_spinning
from focalnets.version import __version__

if TYPE_CHECKING:
    from focalnets.api import Trained as Trained
    from focalnets.api import audit as audit
    from focalnets.api import evaluate as evaluate
    from focalnets.api import explain as explain
    from focalnets.api import load as load
    from focalnets.api import predict as predict
    from focalnets.api import train as train
    from focalnets.class_names import class_names as class_names
    from focalnets.data.images import read_image as read_image
    from focalnets.data.scenes.generator import SceneGenerator as SceneGenerator
    from focalnets.engine.accelerate import accelerate as accelerate
    from focalnets.errors import FocalNetsError as FocalNetsError
    from focalnets.exporting.export import export as export
    from focalnets.models.config import FocalNetConfig as FocalNetConfig
    from focalnets.models.config import Preprocessing as Preprocessing
    from focalnets.models.focalnet import FocalNet as FocalNet
    from focalnets.models.layers import FocalModulation as FocalModulation
    from focalnets.models.sequence import FocalLanguageModel as FocalLanguageModel
    from focalnets.models.sequence import FocalTextClassifier as FocalTextClassifier
    from focalnets.models.sequence import create_language_model as create_language_model
    from focalnets.models.variants import list_models as list_models
    from focalnets.ops.aggregation import focal_aggregation as focal_aggregation
    from focalnets.ops.causal import causal_focal_aggregation as causal_focal_aggregation
    from focalnets.visualize.text.explain import explain_text as explain_text
    from focalnets.weights.checkpoint import save_checkpoint as save_checkpoint
    from focalnets.weights.loading import create_model as create_model
    from focalnets.weights.loading import inspect_checkpoint as inspect_checkpoint
    from focalnets.weights.loading import load_model as load_model

_HOMES = {
    "FocalLanguageModel": "focalnets.models.sequence",
    "FocalModulation": "focalnets.models.layers",
    "FocalNet": "focalnets.models.focalnet",
    "FocalNetConfig": "focalnets.models.config",
    "FocalNetsError": "focalnets.errors",
    "FocalTextClassifier": "focalnets.models.sequence",
    "Preprocessing": "focalnets.models.config",
    "SceneGenerator": "focalnets.data.scenes.generator",
    "Trained": "focalnets.api",
    "accelerate": "focalnets.engine.accelerate",
    "audit": "focalnets.api",
    "causal_focal_aggregation": "focalnets.ops.causal",
    "class_names": "focalnets.class_names",
    "create_language_model": "focalnets.models.sequence",
    "create_model": "focalnets.weights.loading",
    "evaluate": "focalnets.api",
    "explain": "focalnets.api",
    "explain_text": "focalnets.visualize.text.explain",
    "export": "focalnets.exporting.export",
    "focal_aggregation": "focalnets.ops.aggregation",
    "inspect_checkpoint": "focalnets.weights.loading",
    "list_models": "focalnets.models.variants",
    "load": "focalnets.api",
    "load_model": "focalnets.weights.loading",
    "predict": "focalnets.api",
    "read_image": "focalnets.data.images",
    "save_checkpoint": "focalnets.weights.checkpoint",
    "train": "focalnets.api",
}
_ROOMS = (
    "api", "data", "engine", "errors", "exporting", "models", "ops", "tasks", "training", "visualize", "weights"
)  # fmt: skip

__all__ = ["__version__", *_HOMES]

wait_without_spinning()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"focalnets.{name}")
    raise AttributeError(f"module 'focalnets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
