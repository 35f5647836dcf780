"""FocalNet-T whole, in bfloat16: inference, training and peak memory, beside timm's.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.device import DEVICE, HAS_GPU, Call, captured, free, interleaved, peak_bytes
from benchmarks.gpu.record import Record
from benchmarks.measure import relative_error
from benchmarks.peers import drawn_network, network_config, timm_network

__all__ = ["measure_inference", "measure_memory", "measure_training"]


@functools.cache
def _networks(tiny: bool) -> tuple[nn.Module, nn.Module]:
    ours = drawn_network(network_config("tiny" if tiny else "full"))
    theirs = timm_network(ours)
    return ours.to(DEVICE), theirs.to(DEVICE, memory_format=torch.channels_last)


def _images(batch: int, side_px: int) -> Tensor:
    generator = torch.Generator(DEVICE).manual_seed(0)
    images = torch.randn(batch, 3, side_px, side_px, generator=generator, device=DEVICE)
    return images.contiguous(memory_format=torch.channels_last)


def measure_inference(record: Record, tiny: bool) -> None:
    """Time inference: eager, compiled, and as a CUDA graph."""
    for batch, side in ((1, 32),) if tiny else ((128, 224), (8, 224), (1, 224), (1, 1024), (12, 1024)):
        record.measure(f"{side} px, batch {batch}", functools.partial(_inference, batch, side, tiny))


@torch.inference_mode()
def _inference(batch: int, side_px: int, tiny: bool) -> dict[str, Any]:
    ours, theirs = (copy.deepcopy(network).bfloat16() for network in _networks(tiny))
    images = _images(batch, side_px).bfloat16()
    calls: dict[str, Call] = {"ours": lambda: ours(images), "timm channels_last": lambda: theirs(images)}
    rows: dict[str, Any] = {"relative_difference": relative_error(ours(images), theirs(images))}
    if HAS_GPU:
        if batch * side_px * side_px <= 8 * 224 * 224 or side_px == 224:
            compiled: dict[str, Any] = {"ours compiled": torch.compile(ours), "timm compiled": torch.compile(theirs)}
            calls |= {name: functools.partial(network, images) for name, network in compiled.items()}
        for name, call in (("ours, CUDA graph", calls["ours"]), ("timm, CUDA graph", calls["timm channels_last"])):
            calls[name] = captured(call)
    rows |= interleaved(calls, budget_s=2.0, baseline="timm channels_last", turn_s=0.05)
    free()
    return rows


def measure_training(record: Record, tiny: bool) -> None:
    """Time a training step under autocast to bfloat16."""
    for batch, side in ((1, 32),) if tiny else ((128, 224), (8, 224)):
        record.measure(f"{side} px, batch {batch}", functools.partial(_training, batch, side, tiny))


def _step(network: nn.Module, forward: Call, images: Tensor) -> Call:
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, fused=HAS_GPU)
    labels = torch.zeros(len(images), dtype=torch.int64, device=DEVICE)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _training(batch: int, side_px: int, tiny: bool) -> dict[str, Any]:
    ours, theirs = (copy.deepcopy(network).train() for network in _networks(tiny))
    images = _images(batch, side_px)
    calls = {"ours": _step(ours, ours, images), "timm channels_last": _step(theirs, theirs, images)}
    rows: dict[str, Any] = {"losses": [float(call()) for call in calls.values()]} if HAS_GPU else {}
    if HAS_GPU:
        calls["ours compiled"] = _step(ours, torch.compile(ours), images)
        calls["timm compiled"] = _step(theirs, torch.compile(theirs), images)
    rows |= interleaved(calls, budget_s=3.0, baseline="timm channels_last", turn_s=0.1)
    free()
    return rows


def measure_memory(record: Record, tiny: bool) -> None:
    """Measure peak memory of a training step and of inference on large images."""
    if not HAS_GPU:
        return
    for name in ("ours", "timm channels_last"):
        record.measure(f"{name}: training step, 224 px, batch 128", functools.partial(_training_peak, name, tiny))
        for side in (2048, 4096):
            record.measure(f"{name}: inference, {side} px, batch 1", functools.partial(_peak, name, side, tiny))


def _training_peak(name: str, tiny: bool) -> dict[str, Any]:
    network = copy.deepcopy(_networks(tiny)[name != "ours"]).train()
    return {"bytes": peak_bytes(_step(network, network, _images(128, 224)))}


@torch.inference_mode()
def _peak(name: str, side_px: int, tiny: bool) -> dict[str, Any]:
    network = copy.deepcopy(_networks(tiny)[name != "ours"]).bfloat16()
    images = _images(1, side_px).bfloat16()
    return {"bytes": peak_bytes(lambda: network(images))}
