"""GPU kernels of the focal aggregation in Triton, backward.

Legend, tiles and conventions are those of ``triton_kernels``.

Backward keeps nothing from forward: it recomputes ``Z_l`` (l < L) and ``A_l`` (3 L - 1 maps moved), sums the gated
gradient (1), does gate gradients and the gradient of ``A_L`` in one pass (L + 2), walks down the levels (4 (L - 1) + 2)
and contracts the kernel gradients (2 L): 10 L e in all.

The kernel gradients hold one kernel column of KH sums a tile; each loaded row of the input meets ROWS loaded rows of
the gradient, so ROWS KH products cost 2 ROWS + KH - 1 loads. Sums over positions are partial sums, added in a second
step.
"""

# Compile-time arguments are in capitals, as is usual in Triton, whose compiler knows no star unpacking in tuples.
# ruff: noqa: N803, RUF005
# mypy: disallow-untyped-defs=False, disable-error-code="assignment"
from __future__ import annotations

import triton
import triton.language as tl

from focalnets.ops.triton_kernels import (
    RUNTIME_INTEGERS,
    columns_inside,
    convolve,
    gelu,
    tile_of,
    valid_tokens,
)


@triton.jit
def gelu_derivative(x):
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476)) + x * tl.exp(-0.5 * x * x) * 0.3989422804014327


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def gate_gradient_kernel(
    out_gradient,
    activations,
    preactivations,
    gates,
    valid,
    global_level,
    mean_gradient,
    gate_gradient,
    map_gradient,
    height,
    width,
    map_positions,
    gate_batch_stride,
    gate_row_stride,
    gate_column_stride,
    C: tl.constexpr,
    LEVELS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    NORMALIZE: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Compute the gradient of all gates, (B, H, W, L + 1), and in ``map_gradient`` that of ``A_L`` (``Z_0`` if L = 0).

    ``global_level`` is ``Z_{L+1}`` and ``mean_gradient`` what each valid token of ``Z_L`` receives through the mean,
    both (B, C), float32. One program takes BLOCK_P positions and all channels, so the sums over channels are complete.
    """
    image, _, _, position, _ = tile_of(tl.program_id(0), 1, height * width, BLOCK_C, 1, BLOCK_P, BLOCK_C)
    positions = position + tl.arange(0, BLOCK_P)
    inside = positions < height * width
    wide_image = image.to(tl.int64)
    tokens = valid_tokens(valid + wide_image * height * width, image * 0, positions, 1, height * width, HAS_MASK)
    scale: tl.constexpr = 1.0 / (LEVELS + 1) if NORMALIZE else 1.0
    top_gate = tl.zeros([BLOCK_P], tl.float32)
    if LEVELS > 0:
        gate_offsets = (positions // width).to(tl.int64) * gate_row_stride + (positions % width).to(
            tl.int64
        ) * gate_column_stride
        top = tl.load(gates + wide_image * gate_batch_stride + gate_offsets + (LEVELS - 1), mask=tokens, other=0.0)
        top_gate = top.to(tl.float32)
    start = (wide_image * height * width + position) * C
    sums = ()
    for _ in tl.static_range(LEVELS + 1):
        sums = sums + (tl.zeros([BLOCK_P, BLOCK_C], tl.float32),)
    for channel in range(0, C, BLOCK_C):
        lanes = channel + tl.arange(0, BLOCK_C)
        in_channels = lanes < C
        offsets = (tl.arange(0, BLOCK_P) * C)[:, None] + lanes[None, :]
        used = tokens[:, None] & in_channels[None, :]
        gradient = tl.load(out_gradient + start + offsets, mask=used, other=0.0).to(tl.float32) * scale
        through_mean = tl.load(mean_gradient + wide_image * C + lanes, mask=in_channels, other=0.0)[None, :]
        updated = ()
        for lower in tl.static_range(LEVELS - 1):
            here = activations + map_positions.to(tl.int64) * (C * lower) + start
            updated = updated + (sums[lower] + gradient * tl.load(here + offsets, mask=used, other=0.0).to(tl.float32),)
        if LEVELS > 0:
            here = preactivations + map_positions.to(tl.int64) * (C * (LEVELS - 1)) + start
            top_value = tl.load(here + offsets, mask=used, other=0.0).to(tl.float32)
            updated = updated + (sums[LEVELS - 1] + gradient * gelu(top_value),)
            below = (gradient * top_gate[:, None] + through_mean) * gelu_derivative(top_value)
        else:
            below = tl.zeros([BLOCK_P, BLOCK_C], tl.float32) + through_mean
        whole = tl.load(global_level + wide_image * C + lanes, mask=in_channels, other=0.0)[None, :]
        sums = updated + (sums[LEVELS] + gradient * whole,)
        stored = inside[:, None] & in_channels[None, :]
        below = tl.where(used, below, 0.0)
        tl.store(map_gradient + start + offsets, below.to(map_gradient.dtype.element_ty), mask=stored)
    here = gate_gradient + (wide_image * height * width + positions) * (LEVELS + 1)
    for level in tl.static_range(LEVELS + 1):
        tl.store(here + level, tl.sum(sums[level], axis=1).to(gate_gradient.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def level_gradient_kernel(
    source,
    taps,
    gates,
    valid,
    out_gradient,
    preactivations,
    result,
    height,
    width,
    map_positions,
    gate_batch_stride,
    gate_row_stride,
    gate_column_stride,
    C: tl.constexpr,
    LEVEL: tl.constexpr,
    LEVELS: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    HAS_MASK: tl.constexpr,
    NORMALIZE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Turn the gradient of ``A_{LEVEL+1}`` (``source``) into that of ``A_LEVEL``, or of the context where LEVEL is 0.

    ``taps`` are the kernel of level LEVEL + 1. All maps are contiguous (B, H, W, C); one program a tile.
    """
    image, _, row, column, channel = tile_of(tl.program_id(0), height, width, C, ROWS, BLOCK_W, BLOCK_C)
    lanes = tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_W)
    in_channels = channel + lanes < C
    wide_image = image.to(tl.int64)
    image_valid = valid + wide_image * height * width
    sums = convolve(
        source + wide_image * height * width * C + channel,
        taps + channel,
        image_valid,
        row,
        column,
        in_channels,
        height,
        width,
        width * C,
        C,
        C,
        KH,
        KW,
        True,
        False,
        ROWS,
        BLOCK_W,
        BLOCK_C,
    )
    scale: tl.constexpr = 1.0 / (LEVELS + 1) if NORMALIZE else 1.0
    offsets = (places * C)[:, None] + lanes[None, :]
    for step in tl.static_range(ROWS):
        tokens = valid_tokens(image_valid, row + step, column + places, height, width, HAS_MASK)
        inside = columns_inside(row + step, column + places, height, width)
        start = ((wide_image * height + row + step) * width + column) * C + channel
        used = tokens[:, None] & in_channels[None, :]
        gradient = sums[step]
        if LEVEL > 0:
            gate_row = gates + wide_image * gate_batch_stride + (row + step).to(tl.int64) * gate_row_stride
            gate_offsets = (column + places).to(tl.int64) * gate_column_stride + (LEVEL - 1)
            gate = tl.load(gate_row + gate_offsets, mask=tokens, other=0.0).to(tl.float32)[:, None] * scale
            gradient += gate * tl.load(out_gradient + start + offsets, mask=used, other=0.0).to(tl.float32)
            here = preactivations + map_positions.to(tl.int64) * (C * (LEVEL - 1)) + start
            gradient *= gelu_derivative(tl.load(here + offsets, mask=used, other=0.0).to(tl.float32))
        gradient = tl.where(used, gradient, 0.0)
        stored = inside[:, None] & in_channels[None, :]
        tl.store(result + start + offsets, gradient.to(result.dtype.element_ty), mask=stored)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def kernel_gradient_kernel(
    source,
    map_gradient,
    valid,
    partial_sums,
    items,
    chunks,
    height,
    width,
    source_batch_stride,
    source_row_stride,
    source_column_stride,
    C: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    MASK_SOURCE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sum a kernel's gradient in parts (chunks, KH, KW, C), float32; one program a chunk, kernel column, channel block.

    A chunk is every ``chunks``-th of the ``items`` = B * tiles tiles. ``source`` is the input of the level
    (B, H, W, C), ``map_gradient`` the gradient of its ``A_l``, contiguous and zero at masked tokens.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    channel = (tl.program_id(0) % channel_blocks) * BLOCK_C
    tap_column = tl.program_id(0) // channel_blocks % KW
    chunk = tl.program_id(0) // channel_blocks // KW
    lanes = tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_W)
    in_channels = channel + lanes < C
    column_stride = source_column_stride * ALIGNMENT
    source_offsets = (places * column_stride)[:, None] + lanes[None, :]
    offsets = (places * C)[:, None] + lanes[None, :]
    sums = ()
    for _ in tl.static_range(KH):
        sums = sums + (tl.zeros([BLOCK_W, BLOCK_C], tl.float32),)
    for item in range(chunk, items, chunks):
        image, _tile, row, column, _channel = tile_of(item, height, width, BLOCK_C, ROWS, BLOCK_W, BLOCK_C)
        wide_image = image.to(tl.int64)
        image_source = source + wide_image * source_batch_stride * ALIGNMENT + channel
        gradients = ()
        for step in tl.static_range(ROWS):
            inside = columns_inside(row + step, column + places, height, width)
            here = map_gradient + ((wide_image * height + row + step) * width + column) * C + channel
            values = tl.load(here + offsets, mask=inside[:, None] & in_channels[None, :], other=0.0)
            gradients = gradients + (values.to(tl.float32),)
        first = column + tap_column - KW // 2
        for step in tl.static_range(ROWS + KH - 1):
            source_row = row + step - KH // 2
            inside = valid_tokens(
                valid + wide_image * height * width, source_row, first + places, height, width, MASK_SOURCE
            )
            here = (
                image_source
                + source_row.to(tl.int64) * source_row_stride * ALIGNMENT
                + first.to(tl.int64) * column_stride
            )
            values = tl.load(here + source_offsets, mask=inside[:, None] & in_channels[None, :], other=0.0).to(
                tl.float32
            )
            updated = ()
            for tap_row in tl.static_range(KH):
                if step >= tap_row and step - tap_row < ROWS:
                    updated = updated + (sums[tap_row] + values * gradients[step - tap_row],)
                else:
                    updated = updated + (sums[tap_row],)
            sums = updated
    for tap_row in tl.static_range(KH):
        here = partial_sums + ((chunk.to(tl.int64) * KH + tap_row) * KW + tap_column) * C + channel + lanes
        tl.store(here, tl.sum(sums[tap_row], axis=0), mask=in_channels)
