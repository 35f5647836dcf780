"""Networks with the same weights, as ours and as everybody else builds and runs them.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.command import Size
from benchmarks.measure import Absent, Contender, attempt
from focalnets.engine.accelerate import accelerate
from focalnets.exporting.plan import hushed
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.variants import variant
from focalnets.weights.companions import timm_settings, transformers_settings
from focalnets.weights.key_maps import blank_network, to_layout

__all__ = [
    "EXPORTS_VARIABLE",
    "INFERENCE",
    "SLOW_TO_BUILD",
    "absent",
    "classifying",
    "drawn_network",
    "export_onnx",
    "exports_folder",
    "inference_contender",
    "logits_of",
    "network_config",
    "network_export",
    "onnxruntime_session",
    "openvino_model",
    "timm_network",
    "transformers_network",
]

Prepare = Callable[[Tensor], Callable[[], Tensor]]
"""Gets a network ready for images (B, 3, H, W) and returns the call that classifies them."""


def network_config(size: Size) -> FocalNetConfig:
    """Choose FocalNet-T with large receptive field and no stochastic depth, or a miniature of it."""
    overrides: dict[str, Any] = {"drop_path": 0.0}
    if size == "tiny":
        overrides |= {"depths": (1, 1, 1, 1), "embed_dim": 8, "num_classes": 11}
    return variant("focalnet_tiny_lrf").config.replace(**overrides)


def drawn_network(config: FocalNetConfig, seed: int = 0) -> FocalNet:
    """Draw every weight of our network so that each has a visible effect on the output.

    With the usual initialisation biases are zero and branches small, so that a peer could lose one unseen.
    """
    generator = torch.Generator().manual_seed(seed)
    network = blank_network(config).to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                deviation, mean = 0.1, 0.0
            elif parameter.ndim == 1:
                deviation, mean = 0.1, 1.0
            elif ".kernels." in name:
                deviation, mean = 1.5 / math.sqrt(parameter[0].numel()), 0.0
            else:
                deviation, mean = 1 / math.sqrt(parameter[0].numel()), 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation + mean)
    return network.eval()


def timm_network(ours: FocalNet) -> nn.Module:
    """Build the network of timm with our weights."""
    from timm.models.focalnet import FocalNet as TimmFocalNet

    settings = {"num_classes": ours.config.num_classes, **timm_settings(ours.config)}
    return _filled(lambda: TimmFocalNet(**settings), "timm", ours)


def transformers_network(ours: FocalNet) -> nn.Module:
    """Build the network of transformers with our weights."""
    from transformers import FocalNetConfig as TransformersConfig
    from transformers import FocalNetForImageClassification

    settings = TransformersConfig(**{"num_labels": ours.config.num_classes, **transformers_settings(ours.config)})
    return _filled(lambda: FocalNetForImageClassification(settings), "transformers", ours)


def _filled(build: Callable[[], nn.Module], layout: str, ours: FocalNet) -> nn.Module:
    """Fill a peer's network with copies of our weights; its own initialisation is never computed."""
    with torch.device("meta"):
        network = build()
    tensors = to_layout(layout, ours.state_dict(), post_norm=ours.config.post_norm)
    network.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return network.eval()


def logits_of(output: Any) -> Tensor:
    """Find the logits in what a network returned."""
    return output if isinstance(output, Tensor) else output.logits


def _eager(build: Callable[[FocalNet], nn.Module], memory_format: torch.memory_format) -> Callable[..., Prepare]:
    def network(ours: FocalNet, dynamic: bool) -> Prepare:
        module = build(ours).to(memory_format=memory_format)

        def prepare(images: Tensor) -> Callable[[], Tensor]:
            images = images.contiguous(memory_format=memory_format)
            return torch.no_grad()(lambda: logits_of(module(images)))

        return prepare

    return network


def _compiled(build: Callable[[FocalNet], nn.Module]) -> Callable[..., Prepare]:
    def network(ours: FocalNet, dynamic: bool) -> Prepare:
        import torch._inductor.config

        module = torch.compile(build(ours), dynamic=dynamic or None)

        def prepare(images: Tensor) -> Callable[[], Tensor]:
            # Freezing makes constants of the weights, which lets inductor lay them out for the products beforehand.
            # Not together with sizes that vary: PyTorch 2.15 then lays out timm's convolutions wrongly and stops.
            with torch.no_grad(), torch._inductor.config.patch(freezing=not dynamic):
                module(images)
            return torch.no_grad()(lambda: module(images))

        return prepare

    return network


def _accelerated(ours: FocalNet, dynamic: bool) -> Prepare:
    network = accelerate(ours)

    def prepare(images: Tensor) -> Callable[[], Tensor]:
        return lambda: network(images)

    return prepare


EXPORTS_VARIABLE = "FOCALNETS_BENCHMARKS_EXPORTS"
"""Environment variable by which processes share the folder of exported networks."""


@functools.cache
def _own_exports() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="focalnets-benchmarks-")


def exports_folder() -> Path:
    """Choose where exported networks lie; unless another process named its own, removed at the end."""
    return Path(os.environ.get(EXPORTS_VARIABLE) or _own_exports().name)


def export_onnx(build: Callable[[], nn.Module], example: Tensor, name: str) -> Path:
    """Export a module of one NCHW tensor as ONNX with free batch, height and width; a temporary file.

    A second export under the same name returns the first. No size of the example may be 1, which would fix it.
    """
    path = exports_folder() / f"{name}.onnx"
    if not path.is_file():
        free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
        with torch.no_grad(), hushed():
            program = torch.onnx.export(build(), (example,), dynamo=True, dynamic_shapes=(free,), verbose=False)
            assert program is not None
            program.save(str(path))
    return path


def network_export(ours: FocalNet) -> Path:
    """Export the network of timm with our weights as ONNX: what one would deploy today."""
    config = ours.config
    name = f"timm-{config.embed_dim}-{'-'.join(map(str, config.depths))}"
    return export_onnx(lambda: timm_network(ours), torch.randn(2, config.in_chans, 64, 96), name)


def onnxruntime_session(path: Path) -> Prepare:
    """Prepare ONNX Runtime on the CPU, float32, with as many threads as PyTorch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Its threads would otherwise keep spinning into the turn of the next contender.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def prepare(images: Tensor) -> Callable[[], Tensor]:
        feed = {name: images.contiguous().numpy()}
        return lambda: torch.from_numpy(session.run(None, feed)[0])

    return prepare


def openvino_model(path: Path) -> Prepare:
    """Prepare OpenVINO on the CPU, float32, compiled for each shape, with as many threads as PyTorch uses."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = openvino.Core()

    def prepare(images: Tensor) -> Callable[[], Tensor]:
        model = core.read_model(str(path))
        model.reshape(list(images.shape))
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        feed = [images.contiguous().numpy()]

        def call() -> Tensor:
            request.infer(feed, share_inputs=True)
            return torch.from_numpy(request.get_output_tensor(0).data)

        return call

    return prepare


@dataclasses.dataclass(frozen=True)
class NetworkPeer:
    """A way to run the network: packages it needs, how it is built, and the sizes it takes part in.

    ``build(ours, dynamic)`` returns a :data:`Prepare`; ``dynamic`` asks for one compilation that serves all shapes.
    Images in ``memory_format`` are used as they are, others copied.
    """

    packages: tuple[str, ...]
    build: Callable[..., Prepare]
    sizes: tuple[Size, ...] = ("full", "quick", "tiny")
    memory_format: torch.memory_format = torch.contiguous_format


SLOW_TO_BUILD: tuple[Size, ...] = ("full", "tiny")
"""Sizes in which contenders take part that need long to compile or export."""

_plain, _last = torch.contiguous_format, torch.channels_last

INFERENCE: dict[str, NetworkPeer] = {
    "focalnets": NetworkPeer((), _eager(lambda ours: ours, _plain)),
    "focalnets accelerated": NetworkPeer((), _accelerated),
    "focalnets compiled": NetworkPeer((), _compiled(lambda ours: ours), SLOW_TO_BUILD),
    "timm": NetworkPeer(("timm",), _eager(timm_network, _plain)),
    "timm channels_last": NetworkPeer(("timm",), _eager(timm_network, _last), memory_format=_last),
    "timm compiled": NetworkPeer(("timm",), _compiled(timm_network), SLOW_TO_BUILD),
    "transformers": NetworkPeer(("transformers",), _eager(transformers_network, _plain)),
    "OpenVINO": NetworkPeer(
        ("timm", "onnx", "onnxscript", "openvino"),
        lambda ours, dynamic: openvino_model(network_export(ours)),
        SLOW_TO_BUILD,
    ),
    "ONNX Runtime": NetworkPeer(
        ("timm", "onnx", "onnxscript", "onnxruntime"),
        lambda ours, dynamic: onnxruntime_session(network_export(ours)),
        SLOW_TO_BUILD,
    ),
}
"""Every way to run the network. OpenVINO and ONNX Runtime get timm's network, exported."""


def absent(name: str, packages: Sequence[str], sizes: Sequence[Size], size: Size) -> Absent | None:
    """Say why a contender does not take part here; None if it does."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        return Absent(name, "not installed", f"Needs {', '.join(missing)}: pip install 'focalnets[bench]'.")
    if size not in sizes:
        return Absent(name, "not run", "Takes long; only in the full run.")
    return None


def inference_contender(name: str, ours: FocalNet, images: Tensor, size: Size) -> Contender | Absent:
    """Make the contender of that name ready for images (B, 3, H, W)."""
    peer = INFERENCE[name]
    reason = absent(name, peer.packages, peer.sizes, size)
    if reason is not None:
        return reason
    return attempt(name, lambda: classifying(name, peer.build(ours, False), images))


def classifying(name: str, prepare: Prepare, images: Tensor) -> Contender:
    """Make the contender that classifies images (B, 3, H, W)."""
    call = prepare(images)
    return Contender(name, call, lambda: {"logits": call().clone()})
