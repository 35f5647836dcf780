"""Networks with the same weights, as ours and as everybody else builds and runs them.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.command import Size
from benchmarks.exported import Prepare, export_onnx, onnxruntime_session, openvino_lacks_bfloat16, openvino_model
from benchmarks.measure import Absent, Contender, attempt
from focalnets.engine.accelerate import Precision, accelerate, why_unavailable
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalModulation
from focalnets.models.variants import variant
from focalnets.weights.companions import timm_settings, transformers_settings
from focalnets.weights.key_maps import blank_network, to_layout

__all__ = [
    "INFERENCE",
    "SLOW_TO_BUILD",
    "TOLERANCES",
    "NetworkPeer",
    "Peer",
    "absent",
    "classifying",
    "drawn_network",
    "exact_logits",
    "inference_contender",
    "logits_of",
    "network_config",
    "network_export",
    "pytorch_network",
    "timm_network",
    "transformers_network",
]

TOLERANCES: dict[str, float] = {"float32": 1e-4, "bfloat16": 0.3, "int8": 0.6}
"""Of the logits, relative to float64, by what products are computed in. In float32 about ten times what rounding does,
far below what a lost path does; in fewer bits two to three times what rounding does, for weights are random and errors
grow from block to block. What that means for a network that was trained is the topic ``accuracy``."""


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


class _PlainLinear(nn.Linear):
    """A linear layer that PyTorch computes: our short cuts take no subclass."""


def pytorch_network(ours: FocalNet) -> FocalNet:
    """Build our network by operators of PyTorch only, as they come."""
    network = copy.deepcopy(ours)
    for module in network.modules():
        if isinstance(module, FocalModulation):
            module.backend = "reference"
        elif type(module) is nn.Linear:
            module.__class__ = _PlainLinear
    return network


@torch.no_grad()
def exact_logits(ours: FocalNet, images: Tensor) -> dict[str, Tensor]:
    """Compute in float64, by operators of PyTorch, what contenders are compared with."""
    return {"logits": pytorch_network(ours).double()(images.double())}


def _eager(
    build: Callable[[FocalNet], nn.Module],
    memory_format: torch.memory_format = torch.contiguous_format,
    dtype: torch.dtype = torch.float32,
) -> Callable[..., Prepare]:
    def network(ours: FocalNet, dynamic: bool) -> Prepare:
        module = build(ours).to(dtype=dtype, memory_format=memory_format)

        def prepare(images: Tensor) -> Callable[[], Tensor]:
            images = images.to(dtype=dtype).contiguous(memory_format=memory_format)
            return torch.no_grad()(lambda: logits_of(module(images)))

        return prepare

    return network


def _compiled(
    build: Callable[[FocalNet], nn.Module], dtype: torch.dtype = torch.float32, frozen: bool = True
) -> Callable[..., Prepare]:
    def network(ours: FocalNet, dynamic: bool) -> Prepare:
        import torch._inductor.config

        module = torch.compile(build(ours).to(dtype), dynamic=dynamic or None)

        def prepare(images: Tensor) -> Callable[[], Tensor]:
            images = images.to(dtype)
            # Freezing makes constants of the weights, which lets inductor lay them out for the products beforehand.
            # Not together with sizes that vary: PyTorch 2.15 then lays out timm's convolutions wrongly and stops.
            with torch.no_grad(), torch._inductor.config.patch(freezing=frozen and not dynamic):
                module(images)
            return torch.no_grad()(lambda: module(images))

        return prepare

    return network


def _accelerated(precision: Precision) -> Callable[..., Prepare]:
    return _eager(lambda ours: accelerate(ours, precision))


def network_export(ours: FocalNet) -> Path:
    """Export the network of timm with our weights as ONNX: what one would deploy today."""
    config = ours.config
    name = f"timm-{config.embed_dim}-{'-'.join(map(str, config.depths))}"
    return export_onnx(lambda: timm_network(ours), torch.randn(2, config.in_chans, 64, 96), name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A way to run a network.

    Attributes:
        packages: What it needs.
        sizes: Those that it takes part in.
        memory_format: Images in it are used as they are, others copied.
        precision: What products are computed in.
        lacks: Says why this processor cannot, or None.
    """

    packages: tuple[str, ...] = ()
    sizes: tuple[Size, ...] = ("full", "quick", "tiny")
    memory_format: torch.memory_format = torch.contiguous_format
    precision: str = "float32"
    lacks: Callable[[], str | None] = lambda: None

    def absent(self, name: str, size: Size) -> Absent | None:
        """Say why it does not take part here; None if it does."""
        reason = absent(name, self.packages, self.sizes, size)
        missing = None if reason is not None else self.lacks()
        return reason if missing is None else Absent(name, "cannot run here", missing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkPeer(Peer):
    """A way to classify images.

    ``build(ours, dynamic)`` returns a :data:`Prepare`; ``dynamic`` asks for one compilation that serves all shapes.
    """

    build: Callable[..., Prepare]


SLOW_TO_BUILD: tuple[Size, ...] = ("full", "tiny")
"""Sizes in which contenders take part that need long to compile or export."""


def _engine(precision: Precision, compiled: bool = False) -> NetworkPeer:
    build = _compiled(lambda ours: accelerate(ours, precision), frozen=False) if compiled else _accelerated(precision)
    return NetworkPeer(
        build=build, precision=precision, lacks=functools.partial(why_unavailable, precision),
        sizes=SLOW_TO_BUILD if compiled else ("full", "quick", "tiny"),
    )  # fmt: skip


def _timm(build: Callable[..., Prepare], **fields: Any) -> NetworkPeer:
    return NetworkPeer(build=build, packages=("timm",), **fields)


def _exported(runtime: str, prepare: Callable[[Path], Prepare], **fields: Any) -> NetworkPeer:
    return NetworkPeer(
        build=lambda ours, dynamic: prepare(network_export(ours)),
        packages=("timm", "onnx", "onnxscript", runtime), sizes=SLOW_TO_BUILD, **fields,
    )  # fmt: skip


INFERENCE: dict[str, NetworkPeer] = {
    "focalnets": NetworkPeer(build=_eager(lambda ours: ours)),
    "focalnets accelerated": _engine("float32"),
    "focalnets accelerated, compiled": _engine("float32", compiled=True),
    "focalnets accelerated, bfloat16": _engine("bfloat16"),
    "focalnets accelerated, int8": _engine("int8"),
    "PyTorch": NetworkPeer(build=_eager(pytorch_network)),
    "timm": _timm(_eager(timm_network)),
    "timm channels_last": _timm(
        _eager(timm_network, torch.channels_last), memory_format=torch.channels_last
    ),
    "timm compiled": _timm(_compiled(timm_network), sizes=SLOW_TO_BUILD),
    "timm bfloat16": _timm(_eager(timm_network, dtype=torch.bfloat16), precision="bfloat16"),
    "timm compiled, bfloat16": _timm(
        _compiled(timm_network, torch.bfloat16), precision="bfloat16", sizes=SLOW_TO_BUILD
    ),
    "transformers": NetworkPeer(build=_eager(transformers_network), packages=("transformers",)),
    "OpenVINO": _exported("openvino", openvino_model),
    "OpenVINO bfloat16": _exported(
        "openvino", functools.partial(openvino_model, precision="bf16"), precision="bfloat16",
        lacks=openvino_lacks_bfloat16,
    ),
    "ONNX Runtime": _exported("onnxruntime", onnxruntime_session),
}  # fmt: skip
"""Every way to run the network, in float32 unless the name says otherwise. OpenVINO and ONNX Runtime get timm's
network, exported; PyTorch gets ours."""


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
    return peer.absent(name, size) or attempt(name, lambda: classifying(name, peer.build(ours, False), images))


def classifying(name: str, prepare: Prepare, images: Tensor) -> Contender:
    """Make the contender that classifies images (B, 3, H, W)."""
    call = prepare(images)
    return Contender(name, call, lambda: {"logits": call().clone()}, TOLERANCES[INFERENCE[name].precision])
