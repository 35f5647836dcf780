"""Focal aggregation alone: the tensors, and how everybody computes it.

Axes: B batch, H W height and width [tokens], C channels, L focal levels.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.command import Size
from benchmarks.exported import export_onnx, onnxruntime_session, openvino_model
from benchmarks.measure import Absent, Contender
from benchmarks.peers import SLOW_TO_BUILD, absent
from focalnets import focal_aggregation

__all__ = [
    "Problem",
    "Setting",
    "TimmAggregation",
    "TransformersAggregation",
    "copy_of_bytes",
    "own_both",
    "own_forward",
    "peer_both",
    "peer_forward",
]


@dataclasses.dataclass(frozen=True)
class Setting:
    """The shape of one aggregation: batch B, map of ``side`` x ``side`` tokens, C channels, kernel sizes."""

    batch: int
    side: int
    channels: int
    kernel_sizes: tuple[int, ...] = (3, 5, 7)


class Problem:
    """Random projected tokens (B, H, W, 2C + L + 1) and kernels (C, k, k).

    Query, context and gates lie in one tensor, as they do in a network.
    """

    def __init__(self, setting: Setting, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(2)
        batch, side, channels, sizes = dataclasses.astuple(setting)
        self.setting, self.sizes = setting, (channels, channels, len(sizes) + 1)
        shape = (batch, side, side, sum(self.sizes))
        # Kernels first: they are then the same for maps of all sizes, and one export serves them all.
        self.kernels = [
            (torch.randn(channels, size, size, generator=generator) * 1.5 / size).to(device, dtype) for size in sizes
        ]
        self.projected = torch.randn(shape, generator=generator).to(device, dtype)
        self.upstream = torch.randn(batch, side, side, channels, generator=generator).to(device, dtype)

    def in_float32(self) -> Problem:
        """Convert to float32; the numbers stay the same."""
        converted = copy.copy(self)
        converted.projected, converted.upstream = self.projected.float(), self.upstream.float()
        converted.kernels = [kernel.float() for kernel in self.kernels]
        return converted

    def necessary_bytes(self) -> int:
        """Count what a forward pass has to read and write: context, gates and result once each."""
        return self.projected[..., 0].numel() * self.projected.element_size() * (2 * self.sizes[0] + self.sizes[2])


class TimmAggregation(nn.Module):
    """What timm's modulation does between its projections ``f`` and ``h``, with its own layers, on NCHW tensors."""

    focal_layers: Any

    def __init__(self, problem: Problem) -> None:
        from timm.models.focalnet import FocalModulation

        super().__init__()
        first, levels = problem.setting.kernel_sizes[0], len(problem.kernels)
        modulation = FocalModulation(problem.setting.channels, focal_window=first, focal_level=levels)
        self.split = list(modulation.input_split)
        self.focal_layers = modulation.focal_layers
        self.act = modulation.act
        with torch.no_grad():
            for layer, kernel in zip(self.focal_layers, problem.kernels, strict=True):
                layer[0].weight.copy_(kernel.unsqueeze(1))
        self.to(problem.projected.device, problem.projected.dtype)

    def kernels(self) -> list[Tensor]:
        """List the weights of the depthwise convolutions (C, 1, k, k)."""
        return [layer[0].weight for layer in self.focal_layers]

    def aggregate(self, context: Tensor, gates: Tensor) -> Tensor:
        """Compute the modulator's input (B, C, H, W)."""
        gathered: Any = 0
        for level, layer in enumerate(self.focal_layers):
            context = layer(context)
            gathered = gathered + context * gates[:, level : level + 1]
        return gathered + self.act(context.mean((2, 3), keepdim=True)) * gates[:, len(self.focal_layers) :]

    def forward(self, projected: Tensor) -> Tensor:
        """Aggregate projected tokens (B, 2C + L + 1, H, W)."""
        _, context, gates = torch.split(projected, self.split, 1)
        return self.aggregate(context, gates)


class TransformersAggregation(TimmAggregation):
    """What the modulation of transformers does in the same place.

    It copies the projected tokens to NCHW, runs the same levels, and takes the mean axis by axis.
    """

    def aggregate(self, context: Tensor, gates: Tensor) -> Tensor:
        """Compute the modulator's input (B, C, H, W)."""
        gathered: Any = 0
        for level, layer in enumerate(self.focal_layers):
            context = layer(context)
            gathered = gathered + context * gates[:, level : level + 1]
        mean = context.mean(2, keepdim=True).mean(3, keepdim=True)
        return gathered + F.gelu(mean) * gates[:, len(self.focal_layers) :]

    def forward(self, projected: Tensor) -> Tensor:
        """Aggregate projected tokens (B, H, W, 2C + L + 1)."""
        return super().forward(projected.permute(0, 3, 1, 2).contiguous())


def _synchronized(call: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    if device.type != "cuda":
        return call

    def until_done() -> Any:
        result = call()
        torch.cuda.synchronize(device)
        return result

    return until_done


def _contender(
    name: str, call: Callable[[], Any], outputs: Callable[[Any], dict[str, Tensor]], device: torch.device
) -> Contender:
    return Contender(name, _synchronized(call, device), lambda: outputs(call()))


def own_forward(name: str, backend: str | None, problem: Problem) -> Contender:
    """Make our forward pass a contender, by a backend or the best one."""

    def call() -> Tensor:
        _, context, gates = problem.projected.split(problem.sizes, -1)
        return focal_aggregation(context, gates, problem.kernels, backend=backend)

    return _contender(name, torch.no_grad()(call), lambda result: {"result": result}, problem.projected.device)


def _last_axis(result: Tensor) -> dict[str, Tensor]:
    return {"result": result.movedim(1, -1)}


def peer_forward(name: str, problem: Problem, size: Size) -> Contender | Absent:
    """Make the forward pass of a peer a contender."""
    package = "transformers" if name == "transformers" else "timm"
    extra = {"OpenVINO": ("onnx", "onnxscript", "openvino"), "ONNX Runtime": ("onnx", "onnxscript", "onnxruntime")}
    sizes: tuple[Size, ...] = SLOW_TO_BUILD if name in extra or "compiled" in name else ("full", "quick", "tiny")
    reason = absent(name, (package, *extra.get(name, ())), sizes, size)
    if reason is not None:
        return reason
    tokens = problem.projected
    if name == "transformers":
        copying = TransformersAggregation(problem)
        return _contender(name, torch.no_grad()(lambda: copying(tokens)), _last_axis, tokens.device)
    module = TimmAggregation(problem)
    images = tokens.movedim(-1, 1)
    images = images.contiguous(memory_format=_format(name))
    if name in extra:
        setting = problem.setting
        label = f"aggregation-{setting.channels}-{'-'.join(map(str, setting.kernel_sizes))}"
        path = export_onnx(lambda: module, torch.randn(2, images.shape[1], 14, 18), label)
        call = (openvino_model if name == "OpenVINO" else onnxruntime_session)(path)(images)
        return Contender(name, call, lambda: _last_axis(call().clone()))
    module = module.to(memory_format=_format(name))
    run: Any = torch.compile(module) if name == "timm compiled" else module
    return _contender(name, torch.no_grad()(lambda: run(images)), _last_axis, tokens.device)


def _format(name: str) -> torch.memory_format:
    return torch.channels_last if "channels_last" in name else torch.contiguous_format


def own_both(name: str, backend: str | None, problem: Problem) -> Contender:
    """Make our forward and backward pass a contender, by a backend or the best one."""
    _, context, gates = (part.detach().requires_grad_() for part in problem.projected.split(problem.sizes, -1))
    kernels = [kernel.detach().clone().requires_grad_() for kernel in problem.kernels]

    def call() -> tuple[Tensor, ...]:
        result = focal_aggregation(context, gates, kernels, backend=backend)
        return result, *torch.autograd.grad(result, [context, gates, *kernels], problem.upstream)

    def outputs(tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return _label_outputs(tensors[0], tensors[1], tensors[2], tensors[3:])

    return _contender(name, call, outputs, problem.projected.device)


def peer_both(name: str, problem: Problem, size: Size) -> Contender | Absent:
    """Make forward and backward pass of timm a contender, in the memory format that the name says."""
    reason = absent(name, ("timm",), ("full", "quick", "tiny"), size)
    if reason is not None:
        return reason
    module = TimmAggregation(problem).to(memory_format=_format(name))
    images = problem.projected.movedim(-1, 1).contiguous(memory_format=_format(name))
    _, context, gates = (part.detach().requires_grad_() for part in images.split(problem.sizes, 1))
    upstream = problem.upstream.movedim(-1, 1).contiguous(memory_format=_format(name))

    def call() -> tuple[Tensor, ...]:
        result = module.aggregate(context, gates)
        return result, *torch.autograd.grad(result, [context, gates, *module.kernels()], upstream)

    def outputs(tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
        maps = [tensor.movedim(1, -1) for tensor in tensors[:3]]
        return _label_outputs(maps[0], maps[1], maps[2], [kernel.squeeze(1) for kernel in tensors[3:]])

    return _contender(name, call, outputs, problem.projected.device)


def _label_outputs(result: Tensor, context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> dict[str, Tensor]:
    outputs = {"result": result, "gradient of context": context, "gradient of gates": gates}
    return outputs | {f"gradient of kernel {index + 1}": kernel for index, kernel in enumerate(kernels)}


def copy_of_bytes(problem: Problem) -> Contender:
    """Move as many bytes as a forward pass must, and do nothing else."""
    count = problem.necessary_bytes() // 2
    source = torch.ones(count, dtype=torch.uint8, device=problem.projected.device)
    target = torch.empty_like(source)
    call = _synchronized(lambda: target.copy_(source), source.device)
    return Contender("copy of as many bytes", call, None)
