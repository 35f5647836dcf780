"""What is timed and whose memory is taken: classifying a batch, and a training step on one.

Axes: B batch, H W height and width [px], K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnets.compare.models import ComparedModel, build_module

__all__ = ["TASKS", "Task", "prepare_call", "sample_images"]

Task = Literal["inference", "training"]
TASKS: tuple[Task, ...] = ("inference", "training")


def sample_images(batch: int, size_px: int, device: torch.device) -> Tensor:
    """Draw images (B, 3, H, W) of noise, the same at every call."""
    return torch.randn(batch, 3, size_px, size_px, generator=torch.Generator().manual_seed(1)).to(device)


def prepare_call(
    model: ComparedModel, task: Task, size_px: int, device: torch.device
) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """Build the network, and the call that does the task on a batch of images (B, 3, H, W).

    A training step drops the gradients and does forward pass, cross-entropy, backward pass and AdamW, whose rate of 0
    leaves the weights as they are. Stochastic depth is off, so that everybody computes all blocks.
    """
    torch.manual_seed(0)
    network = build_module(model, size_px=size_px, drop_path=0.0).to(device)
    if task == "inference":
        network.eval()

        @torch.inference_mode()
        def classify(images: Tensor) -> Any:
            _wait_for_device(network(images), device)

        return network, classify
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=0.05, fused=device.type in ("cpu", "cuda"))

    def step(images: Tensor) -> Any:
        optimizer.zero_grad(set_to_none=True)
        logits = network(images)
        F.cross_entropy(logits, torch.zeros(len(images), dtype=torch.long, device=device)).backward()
        optimizer.step()
        _wait_for_device(logits, device)

    return network, step


def _wait_for_device(logits: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        logits.sum().item()
