"""Launching the forward Triton kernels. Imports triton: import it only where triton is there.

Legend: B images, H W height and width of the map (H = 1 for sequences), C channels, L focal levels.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from focalnets.ops import triton_kernels, triton_tiles
from focalnets.ops.eager import count_of_changes
from focalnets.ops.triton_tiles import LAUNCH_OPTIONS, Tile, TileTuner

__all__ = ["forward"]

TUNER = TileTuner()
# Programs of two warps that a persistent grid gives each streaming multiprocessor.
PROGRAMS_A_PROCESSOR = 8
_POSITIONS_A_PARTIAL_SUM = 1024


class PackedTaps:
    """The kernels of all levels in one tensor, packed once as long as they stay as they are.

    Nothing is remembered while a CUDA graph is captured, whose replays are to see weights as they are then, nor of
    tensors whose changes PyTorch does not count.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._packed: dict[tuple[int, ...], tuple[tuple[Any, ...], Tensor]] = {}

    def get(self, kernels: Sequence[Tensor]) -> Tensor:
        """Pack kernels (C, *k): (sum of KH KW, C), so that neighbouring channels of a tap lie side by side."""
        if any(count_of_changes(kernel) is None for kernel in kernels) or _is_capturing(kernels[0]):
            return _pack(kernels)
        stream = torch.cuda.current_stream(kernels[0].device).cuda_stream if kernels[0].is_cuda else 0
        identity = (stream, *(id(kernel) for kernel in kernels))
        state = tuple((weakref.ref(kernel), kernel.data_ptr(), count_of_changes(kernel)) for kernel in kernels)
        known = self._packed.get(identity)
        if known is not None and all(
            old[0]() is kernel and old[1:] == new[1:] for old, new, kernel in zip(known[0], state, kernels, strict=True)
        ):
            return known[1]
        if known is None and len(self._packed) >= self._most:
            self._packed.pop(next(iter(self._packed)))
        packed = _pack(kernels)
        self._packed[identity] = (state, packed)
        return packed


def _pack(kernels: Sequence[Tensor]) -> Tensor:
    return torch.cat([kernel.detach().flatten(1) for kernel in kernels], 1).t().contiguous()


def _is_capturing(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


PACKED_TAPS = PackedTaps()


class Problem:
    """The tensors of one call as the kernels want them: two spatial axes, known strides, packed kernels."""

    def __init__(self, context: Tensor, gates: Tensor, kernels: Sequence[Tensor], mask: Tensor | None) -> None:
        sequence = context.ndim == 3
        self.context = _with_unit_stride(context.unsqueeze(1) if sequence else context)
        self.gates = _with_unit_stride(gates.unsqueeze(1) if sequence else gates)
        self.batch, self.height, self.width, self.channels = self.context.shape
        self.levels = len(kernels)
        self.sizes = [(1, kernel.shape[1]) if sequence else tuple(kernel.shape[1:]) for kernel in kernels]
        self.taps = PACKED_TAPS.get(kernels) if kernels else self.context
        self.has_mask = mask is not None
        self.valid = self.context if mask is None else mask.contiguous().view(torch.uint8)
        # Valid tokens of each image, at least 1: (B, 1) float32, or one number for all.
        self.tokens: Tensor | int = self.height * self.width
        if mask is not None:
            self.tokens = mask.flatten(1).sum(1, keepdim=True).clamp(min=1).to(torch.float32)

    def level_taps(self, level: int) -> Tensor:
        """Give the kernel of a level counted from 1, (KH KW, C)."""
        first = sum(height * width for height, width in self.sizes[: level - 1])
        return self.taps[first:]

    @property
    def map_positions(self) -> int:
        """Positions of all images."""
        return self.batch * self.height * self.width

    def sizes_and_strides(self, source: Tensor | None) -> tuple[dict[str, int], int]:
        """Give the integer arguments common to the kernels, and the elements a stride unit of ``source`` has."""
        arguments = {"height": self.height, "width": self.width}
        gate_strides = zip(("batch", "row", "column"), self.gates.stride()[:3], strict=True)
        arguments.update({f"gate_{name}_stride": stride for name, stride in gate_strides})
        if source is None:
            return arguments, 1
        strides = [stride if size > 1 else 0 for stride, size in zip(source.stride(), source.shape, strict=True)][:3]
        alignment = math.gcd(*strides, 16)
        source_strides = zip(("batch", "row", "column"), strides, strict=True)
        arguments.update({f"source_{name}_stride": stride // alignment for name, stride in source_strides})
        return arguments, alignment

    def new_map(self, *copies: int) -> Tensor:
        """Allocate an uninitialised contiguous (*copies, B, H, W, C)."""
        return self.context.new_empty((*copies, self.batch, self.height, self.width, self.channels))


def _with_unit_stride(tensor: Tensor) -> Tensor:
    """Copy a tensor (B, H, W, C) unless its channels are neighbours in memory and a tile's columns are within 32 bits.

    A whole map laid out column by column can be so large that the columns of a tile lie more than 2^31 elements apart.
    """
    neighbours = tensor.stride(-1) == 1 or tensor.shape[-1] == 1
    near = triton_tiles.MOST_COLUMNS * tensor.stride(2) < 1 << 31
    return tensor if neighbours and near else tensor.contiguous()


def on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Make the tensors' device the current one, on which Triton launches."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def forward(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    mask: Tensor | None,
    normalize: bool,
    *,
    whole_map: bool | None = None,
) -> Tensor:
    """Compute the aggregated context, contiguous; arguments as :func:`focalnets.focal_aggregation`.

    ``whole_map`` forces one program an image and channel block, or forbids it; None takes what is faster, where both
    will do.
    """
    out = torch.empty(context.shape, dtype=context.dtype, device=context.device)
    if out.numel() == 0:
        return out
    with on_device_of(context):
        problem = Problem(context, gates, kernels, mask)
        ways: list[Callable[[], None]] = []
        programs = _whole_map_programs(problem, whole_map)
        if programs:
            ways.append(functools.partial(_launch_whole_map, problem, out, normalize, programs))
        if not programs or whole_map is None:
            ways.append(functools.partial(_go_level_by_level, problem, out, normalize))
        kind = ("whole map or levels", *problem.sizes, problem.has_mask, normalize, bool(programs))
        TUNER.choose(ways, problem.context, *kind)
    return out


def _go_level_by_level(problem: Problem, out: Tensor, normalize: bool) -> None:
    if problem.levels:
        partial_sums = launch_levels(problem, problem.new_map(problem.levels - 1), out, None)
    else:
        partial_sums = launch_position_sum(problem, problem.context, gated=False)
    _launch_finish(problem, out, torch.nn.functional.gelu(partial_sums.sum(1) / problem.tokens), normalize)


def _whole_map_programs(problem: Problem, wanted: bool | None) -> int:
    """Choose the number of programs that the whole-map kernel would have; 0 where only going level by level will do.

    A program needs its maps to stay in the L2 cache, of which half is left to everything else, and there must be enough
    programs to fill the processors, unless the map is so small that launches cost more than idle processors.
    """
    if not problem.levels or wanted is False:
        return 0
    tile = triton_tiles.candidate_tiles(problem.height, problem.width, problem.channels)[0]
    items = problem.batch * triton.cdiv(problem.channels, tile.channels)
    if not problem.context.is_cuda:
        return min(items, 2) if wanted else 0
    positions = problem.height * problem.width
    device = torch.cuda.get_device_properties(problem.context.device)
    processors = device.multi_processor_count
    program_bytes = problem.levels * positions * tile.channels * problem.context.element_size()
    fitting = device.L2_cache_size // 2 // program_bytes
    programs = min(items, PROGRAMS_A_PROCESSOR * processors, max(fitting, 1 if wanted else 0))
    busy = programs >= processors or (positions <= 256 and programs == items)
    return programs if busy or wanted else 0


def _launch_whole_map(problem: Problem, out: Tensor, normalize: bool, programs: int) -> None:
    tile = triton_tiles.candidate_tiles(problem.height, problem.width, problem.channels)[0]
    integers, alignment = problem.sizes_and_strides(problem.context)
    scratch = problem.context.new_empty((programs, problem.levels, problem.height * problem.width, tile.channels))
    triton_kernels.whole_map_kernel[(programs,)](
        problem.context,
        problem.taps,
        problem.gates,
        problem.valid,
        problem.tokens if isinstance(problem.tokens, Tensor) else problem.taps,
        scratch,
        out,
        items=problem.batch * triton.cdiv(problem.channels, tile.channels),
        **integers,
        C=problem.channels,
        KERNEL_SIZES=tuple(size for sizes in problem.sizes for size in sizes),
        LEVELS=problem.levels,
        ALIGNMENT=alignment,
        HAS_MASK=problem.has_mask,
        NORMALIZE=normalize,
        **tile.arguments(),
    )


def launch_levels(problem: Problem, activations: Tensor, out: Tensor, preactivations: Tensor | None) -> Tensor:
    """Launch every level; return the partial sums of the last one, (B, tiles, C).

    Going forward ``preactivations`` is None and the gated sum goes to ``out``; going backward it is filled instead.
    """
    partial_sums = problem.taps
    for level, (kernel_height, kernel_width) in enumerate(problem.sizes, start=1):
        source = problem.context if level == 1 else activations[level - 2]
        integers, alignment = problem.sizes_and_strides(source)

        def launch(
            tile: Tile,
            level: int = level,
            source: Tensor = source,
            sizes: tuple[int, int] = (kernel_height, kernel_width),
            integers: dict[str, int] = integers,
            alignment: int = alignment,
        ) -> Tensor:
            tiles = problem.batch * tile.count(problem.height, problem.width)
            sums = problem.taps
            if level == problem.levels:
                sums = problem.context.new_empty(
                    (problem.batch, tiles // problem.batch, problem.channels), dtype=torch.float32
                )
            triton_kernels.level_kernel[(tiles * triton.cdiv(problem.channels, tile.channels),)](
                source,
                problem.level_taps(level),
                problem.gates,
                problem.valid,
                activations,
                activations if preactivations is None else preactivations,
                out,
                sums,
                **integers,
                map_positions=problem.map_positions,
                C=problem.channels,
                LEVEL=level,
                LEVELS=problem.levels,
                KH=sizes[0],
                KW=sizes[1],
                ALIGNMENT=alignment,
                HAS_MASK=problem.has_mask,
                FOR_BACKWARD=preactivations is not None,
                **tile.arguments(),
            )
            return sums

        kind = ("level", level, problem.levels, kernel_height, kernel_width, alignment, preactivations is None)
        partial_sums = TUNER.run(launch, problem.context, *kind)
    return partial_sums


def launch_position_sum(problem: Problem, source: Tensor, *, gated: bool) -> Tensor:
    """Sum ``source`` (B, H, W, C) over valid tokens, gated by the global gate or not: (B, chunks, C), float32."""
    integers, alignment = problem.sizes_and_strides(source)
    channels = min(32, triton.next_power_of_2(problem.channels))
    chunks = triton.cdiv(problem.height * problem.width, _POSITIONS_A_PARTIAL_SUM)
    sums = source.new_empty((problem.batch, chunks, problem.channels), dtype=torch.float32)
    triton_kernels.position_sum_kernel[(problem.batch * chunks * triton.cdiv(problem.channels, channels),)](
        source,
        problem.gates,
        problem.valid,
        sums,
        **integers,
        chunk_positions=_POSITIONS_A_PARTIAL_SUM,
        C=problem.channels,
        LEVELS=problem.levels,
        ALIGNMENT=alignment,
        HAS_MASK=problem.has_mask,
        GATED=gated,
        BLOCK_P=32,
        BLOCK_C=channels,
        num_warps=4,
        **LAUNCH_OPTIONS,
    )
    return sums


def _launch_finish(problem: Problem, out: Tensor, global_level: Tensor, normalize: bool) -> None:
    channels = min(64, triton.next_power_of_2(problem.channels))
    blocks = triton.cdiv(problem.height * problem.width, 32) * triton.cdiv(problem.channels, channels)
    integers, _ = problem.sizes_and_strides(None)
    triton_kernels.finish_kernel[(problem.batch * blocks,)](
        out,
        problem.gates,
        problem.valid,
        global_level,
        **integers,
        C=problem.channels,
        LEVELS=problem.levels,
        HAS_MASK=problem.has_mask,
        NORMALIZE=normalize,
        BLOCK_P=32,
        BLOCK_C=channels,
        num_warps=4,
        **LAUNCH_OPTIONS,
    )
