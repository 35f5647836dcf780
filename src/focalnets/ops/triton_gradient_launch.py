"""Launching the backward Triton kernels. Imports triton: import it only where triton is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from focalnets.ops import triton_gradient_kernels
from focalnets.ops.triton_launch import (
    PROGRAMS_A_PROCESSOR,
    TUNER,
    Problem,
    launch_levels,
    launch_position_sum,
    on_device_of,
)
from focalnets.ops.triton_tiles import LAUNCH_OPTIONS, Tile

__all__ = ["backward"]


def backward(
    out_gradient: Tensor,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
) -> list[Tensor]:
    """Compute gradients of context, gates and each kernel, contiguous, in the dtype of what they belong to."""
    context_gradient = torch.empty(context.shape, dtype=context.dtype, device=context.device)
    gate_gradient = torch.empty(gates.shape, dtype=gates.dtype, device=gates.device)
    if context.numel() == 0:
        return [context_gradient, gate_gradient, *(torch.zeros_like(kernel) for kernel in kernels)]
    with on_device_of(context):
        problem = Problem(context, gates, kernels, mask)
        out_gradient = out_gradient.contiguous().view(problem.context.shape)
        activations = problem.new_map(max(problem.levels - 1, 0))
        preactivations = problem.new_map(problem.levels)
        if kernels:
            partial_sums = launch_levels(problem, activations, context_gradient, preactivations)
        else:
            partial_sums = launch_position_sum(problem, problem.context, gated=False)
        mean = partial_sums.sum(1) / problem.tokens
        scale = 1.0 / (problem.levels + 1) if normalize else 1.0
        level_gradient = launch_position_sum(problem, out_gradient, gated=True).sum(1) * scale
        mean_gradient = torch.ops.aten.gelu_backward(level_gradient, mean) / problem.tokens
        map_gradient = problem.new_map() if kernels else context_gradient
        _launch_gate_gradient(
            problem,
            out_gradient,
            activations,
            preactivations,
            torch.nn.functional.gelu(mean),
            mean_gradient,
            gate_gradient,
            map_gradient,
            normalize,
        )
        kernel_gradients = []
        for level in range(problem.levels, 0, -1):
            source = problem.context if level == 1 else activations[level - 2]
            gradient = _launch_kernel_gradient(problem, level, source, map_gradient)
            kernel_gradients.append(gradient.to(kernels[level - 1].dtype).view(kernels[level - 1].shape))
            below = context_gradient if level == 1 else problem.new_map()
            _launch_level_gradient(problem, level - 1, map_gradient, out_gradient, preactivations, below, normalize)
            map_gradient = below
    return [context_gradient, gate_gradient, *reversed(kernel_gradients)]


def _launch_gate_gradient(
    problem: Problem,
    out_gradient: Tensor,
    activations: Tensor,
    preactivations: Tensor,
    global_level: Tensor,
    mean_gradient: Tensor,
    gate_gradient: Tensor,
    map_gradient: Tensor,
    normalize: bool,
) -> None:
    integers, _ = problem.sizes_and_strides(None)
    triton_gradient_kernels.gate_gradient_kernel[(problem.batch * triton.cdiv(problem.height * problem.width, 16),)](
        out_gradient,
        activations,
        preactivations,
        problem.gates,
        problem.valid,
        global_level,
        mean_gradient,
        gate_gradient,
        map_gradient,
        **integers,
        map_positions=problem.map_positions,
        C=problem.channels,
        LEVELS=problem.levels,
        HAS_MASK=problem.has_mask,
        NORMALIZE=normalize,
        BLOCK_P=16,
        BLOCK_C=min(32, triton.next_power_of_2(problem.channels)),
        num_warps=2,
        **LAUNCH_OPTIONS,
    )


def _launch_level_gradient(
    problem: Problem,
    level: int,
    map_gradient: Tensor,
    out_gradient: Tensor,
    preactivations: Tensor,
    result: Tensor,
    normalize: bool,
) -> None:
    integers, _ = problem.sizes_and_strides(None)
    kernel_height, kernel_width = problem.sizes[level]

    def launch(tile: Tile) -> None:
        tiles = problem.batch * tile.count(problem.height, problem.width)
        triton_gradient_kernels.level_gradient_kernel[(tiles * triton.cdiv(problem.channels, tile.channels),)](
            map_gradient,
            problem.level_taps(level + 1),
            problem.gates,
            problem.valid,
            out_gradient,
            preactivations,
            result,
            **integers,
            map_positions=problem.map_positions,
            C=problem.channels,
            LEVEL=level,
            LEVELS=problem.levels,
            KH=kernel_height,
            KW=kernel_width,
            HAS_MASK=problem.has_mask,
            NORMALIZE=normalize,
            **tile.arguments(),
        )

    TUNER.run(launch, problem.context, "level gradient", level == 0, kernel_height, kernel_width)


def _launch_kernel_gradient(problem: Problem, level: int, source: Tensor, map_gradient: Tensor) -> Tensor:
    """Compute the gradient of the kernel of a level counted from 1: (C, KH, KW), float32, contiguous."""
    integers, alignment = problem.sizes_and_strides(source)
    integers = {name: value for name, value in integers.items() if not name.startswith("gate")}
    kernel_height, kernel_width = problem.sizes[level - 1]
    processors = torch.cuda.get_device_properties(source.device).multi_processor_count if source.is_cuda else 1

    def launch(tile: Tile) -> Tensor:
        items = problem.batch * tile.count(problem.height, problem.width)
        columns = kernel_width * triton.cdiv(problem.channels, tile.channels)
        chunks = min(items, triton.cdiv(processors * PROGRAMS_A_PROCESSOR, columns))
        sums = source.new_empty((chunks, kernel_height, kernel_width, problem.channels), dtype=torch.float32)
        triton_gradient_kernels.kernel_gradient_kernel[(chunks * columns,)](
            source,
            map_gradient,
            problem.valid,
            sums,
            items=items,
            chunks=chunks,
            **integers,
            C=problem.channels,
            KH=kernel_height,
            KW=kernel_width,
            ALIGNMENT=alignment,
            MASK_SOURCE=problem.has_mask and level == 1,
            **tile.arguments(),
        )
        return sums

    sums = TUNER.run(launch, problem.context, "kernel gradient", level == 1, kernel_height, kernel_width, alignment)
    return sums.sum(0).permute(2, 0, 1).contiguous()
