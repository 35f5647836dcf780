"""GPU kernels of the focal aggregation in Triton, forward; the backward ones are in ``triton_gradient_kernels``.

Legend: B images, H W height and width of the map, C channels, L focal levels, KH KW kernel size, e bytes an element.
``Z_0`` is the context, ``A_l`` the depthwise convolution of ``Z_{l-1}``, ``Z_l = GELU(A_l)``. A map has N = B H W C
elements, channels last. All arithmetic is float32; maps kept between kernels have the dtype of the context.

Why these kernels: the operator does few operations a byte, so the bytes moved to and from device memory decide.
Per element of a map, plain PyTorch moves about (9 L + 4) e (convolution, GELU, product and sum as separate passes).

* Level by level (:func:`level_kernel`, then :func:`finish_kernel`): level l < L reads ``Z_{l-1}`` and writes ``Z_l``
  (2 e each); level L reads the L - 1 stored maps, or the context if L = 1, gates and adds everything it knows in
  registers and writes one local sum; the last kernel reads that sum, adds the global level and writes the result (2 e).
  Together 3 L e for L >= 2 and 4 e for L = 1. A float32 running sum instead of stored maps would move
  (2 L + 1) e + 8 L bytes: at L = 3 and 2-byte elements 38 bytes against 18. The global level needs the mean over the
  whole map, so one further pass over the result cannot be avoided without a grid-wide barrier.
* Whole map (:func:`whole_map_kernel`): one program owns one image and a few channels and does every level itself, with
  a barrier between levels. Its maps live in a scratch buffer indexed by program, not by image, so the buffer is written
  over and over and stays in the L2 cache: 2 e from and to device memory, and one launch. For maps that fit.

The sums over the map are partial sums a tile, written to memory and added in a second step: no atomics, so equal input
gives equal bits as long as the tile sizes are equal.

The second limit is the number of load instructions: a naive k x k depthwise convolution loads each input k^2 times. A
tile here covers ROWS rows; for one kernel column its KH taps stay in registers and each loaded input row feeds up to KH
of the ROWS sums, so ROWS outputs cost (ROWS + KH - 1) KW input loads and KH KW tap loads (k = 7, ROWS = 4: 30 a
output instead of 98).

Offsets of images and rows are 64-bit, offsets within a tile 32-bit. Strides of the context are passed in units of
ALIGNMENT elements, and sizes of maps in positions, so that the compiler knows how wide its loads may be.
``BLOCK_C < 32 * num_warps`` keeps the tap vectors in the layout of the tiles (no exchange through shared memory); the
launcher respects that.

Source: Yang et al., "Focal Modulation Networks" (NeurIPS 2022), eqs. 4 and 5.
"""

# Compile-time arguments are in capitals, as is usual in Triton, whose compiler knows no star unpacking in tuples.
# ruff: noqa: N803, RUF005, SIM108
# mypy: disallow-untyped-defs=False, disable-error-code="assignment"
from __future__ import annotations

import triton
import triton.language as tl

# Sizes and strides change from call to call; not specialising on their values avoids a compilation for each resolution.
RUNTIME_INTEGERS = [
    "height",
    "width",
    "map_positions",
    "source_batch_stride",
    "source_row_stride",
    "source_column_stride",
    "gate_batch_stride",
    "gate_row_stride",
    "gate_column_stride",
    "items",
    "chunks",
    "chunk_positions",
]


@triton.jit
def gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def tile_of(index, height, width, C: tl.constexpr, ROWS: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr):
    """Find image, tile within the image, first row, column and channel; channels vary fastest, then columns."""
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    column_tiles = tl.cdiv(width, BLOCK_W)
    tiles = tl.cdiv(height, ROWS) * column_tiles
    channel = (index % channel_blocks) * BLOCK_C
    tile = (index // channel_blocks) % tiles
    image = index // channel_blocks // tiles
    return image, tile, (tile // column_tiles) * ROWS, (tile % column_tiles) * BLOCK_W, channel


@triton.jit
def columns_inside(row, columns, height, width):
    """Mark the ``columns`` [BLOCK_W] of ``row`` that lie on the map; none if the row itself does not."""
    limit = tl.where((row >= 0) & (row < height), width, 0)
    return (columns >= 0) & (columns < limit)


@triton.jit
def valid_tokens(valid, row, columns, height, width, HAS_MASK: tl.constexpr):
    """Mark the ``columns`` [BLOCK_W] of ``row`` that are tokens which count: on the map and not masked out."""
    inside = columns_inside(row, columns, height, width)
    if HAS_MASK:
        tokens = tl.load(valid + row.to(tl.int64) * width + columns, mask=inside, other=0)
        inside = inside & (tokens != 0)
    return inside


@triton.jit
def convolve(
    source,
    taps,
    valid,
    row,
    column,
    in_channels,
    height,
    width,
    row_stride,
    column_stride,
    C: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    FLIP: tl.constexpr,
    MASK_SOURCE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Convolve a tile depthwise with zero padding: gives ROWS float32 tensors [BLOCK_W, BLOCK_C].

    ``source`` and ``taps`` (KH, KW, C) point at the first channel of the tile, ``source`` and ``valid`` at the image.
    FLIP turns the kernel by 180 degrees, which makes it the transposed convolution.
    """
    lanes = tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_W)
    sums = ()
    for _ in tl.static_range(ROWS):
        sums = sums + (tl.zeros([BLOCK_W, BLOCK_C], tl.float32),)
    for tap_column in range(KW):
        first = column + tap_column - KW // 2
        offsets = (places * column_stride)[:, None] + lanes[None, :]
        column_taps = ()
        for tap_row in tl.static_range(KH):
            if FLIP:
                tap = (KH - 1 - tap_row) * KW + (KW - 1 - tap_column)
            else:
                tap = tap_row * KW + tap_column
            tap_values = tl.load(taps + tap * C + lanes, mask=in_channels, other=0.0)
            column_taps = column_taps + (tap_values.to(tl.float32)[None, :],)
        for step in tl.static_range(ROWS + KH - 1):
            source_row = row + step - KH // 2
            inside = valid_tokens(valid, source_row, first + places, height, width, MASK_SOURCE)
            start = source + source_row.to(tl.int64) * row_stride + first.to(tl.int64) * column_stride
            values = tl.load(start + offsets, mask=inside[:, None] & in_channels[None, :], other=0.0).to(tl.float32)
            updated = ()
            for output_row in tl.static_range(ROWS):
                if step >= output_row and step - output_row < KH:
                    updated = updated + (sums[output_row] + values * column_taps[step - output_row],)
                else:
                    updated = updated + (sums[output_row],)
            sums = updated
    return sums


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def level_kernel(
    source,
    taps,
    gates,
    valid,
    activations,
    preactivations,
    out,
    partial_sums,
    height,
    width,
    map_positions,
    source_batch_stride,
    source_row_stride,
    source_column_stride,
    gate_batch_stride,
    gate_row_stride,
    gate_column_stride,
    C: tl.constexpr,
    LEVEL: tl.constexpr,
    LEVELS: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    FOR_BACKWARD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Compute one focal level (counted from 1) of one tile; one program a tile.

    Reads ``source`` = ``Z_{LEVEL-1}``. Below the last level writes ``Z_LEVEL`` to ``activations`` (L - 1, B, H, W, C).
    At the last level writes the sum of ``Z_L`` over the tile to ``partial_sums`` (B, tiles, C), float32, and, going
    forward, the gated sum of levels 1 to L to ``out`` (B, H, W, C). FOR_BACKWARD writes ``A_LEVEL`` to
    ``preactivations`` (L, B, H, W, C).
    """
    image, tile, row, column, channel = tile_of(tl.program_id(0), height, width, C, ROWS, BLOCK_W, BLOCK_C)
    lanes = tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_W)
    in_channels = channel + lanes < C
    wide_image = image.to(tl.int64)
    image_valid = valid + wide_image * height * width
    sums = convolve(
        source + wide_image * source_batch_stride * ALIGNMENT + channel,
        taps + channel,
        image_valid,
        row,
        column,
        in_channels,
        height,
        width,
        source_row_stride * ALIGNMENT,
        source_column_stride * ALIGNMENT,
        C,
        KH,
        KW,
        False,
        HAS_MASK and LEVEL == 1,
        ROWS,
        BLOCK_W,
        BLOCK_C,
    )
    total = tl.zeros([BLOCK_W, BLOCK_C], tl.float32)
    offsets = (places * C)[:, None] + lanes[None, :]
    for step in tl.static_range(ROWS):
        tokens = valid_tokens(image_valid, row + step, column + places, height, width, HAS_MASK)
        inside = columns_inside(row + step, column + places, height, width)
        stored = inside[:, None] & in_channels[None, :]
        start = ((wide_image * height + row + step) * width + column) * C + channel
        activation = tl.where(tokens[:, None], gelu(sums[step]), 0.0)
        if FOR_BACKWARD:
            here = preactivations + map_positions.to(tl.int64) * (C * (LEVEL - 1)) + start
            tl.store(here + offsets, sums[step].to(preactivations.dtype.element_ty), mask=stored)
        if LEVEL < LEVELS:
            here = activations + map_positions.to(tl.int64) * (C * (LEVEL - 1)) + start
            tl.store(here + offsets, activation.to(activations.dtype.element_ty), mask=stored)
        else:
            total += activation
            if not FOR_BACKWARD:
                gate_row = gates + wide_image * gate_batch_stride + (row + step).to(tl.int64) * gate_row_stride
                gate_start = gate_row + (column + places).to(tl.int64) * gate_column_stride
                local = activation * tl.load(gate_start + (LEVELS - 1), mask=tokens, other=0.0).to(tl.float32)[:, None]
                for lower in tl.static_range(LEVELS - 1):
                    here = activations + map_positions.to(tl.int64) * (C * lower) + start
                    gate = tl.load(gate_start + lower, mask=tokens, other=0.0).to(tl.float32)[:, None]
                    local += gate * tl.load(here + offsets, mask=stored, other=0.0).to(tl.float32)
                tl.store(out + start + offsets, local.to(out.dtype.element_ty), mask=stored)
    if LEVEL == LEVELS:
        tiles = tl.cdiv(height, ROWS) * tl.cdiv(width, BLOCK_W)
        here = partial_sums + (wide_image * tiles + tile) * C + channel + lanes
        tl.store(here, tl.sum(total, axis=0), mask=in_channels)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def finish_kernel(
    out,
    gates,
    valid,
    global_level,
    height,
    width,
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
    """Add the gated global level (B, C), float32, to the local sums in ``out`` (B, H, W, C), in place.

    Without levels there are no local sums and ``out`` is only written. One program a tile of BLOCK_P positions.
    """
    image, _, _, position, channel = tile_of(tl.program_id(0), 1, height * width, C, 1, BLOCK_P, BLOCK_C)
    lanes = tl.arange(0, BLOCK_C)
    positions = position + tl.arange(0, BLOCK_P)
    inside = positions < height * width
    in_channels = channel + lanes < C
    wide_image = image.to(tl.int64)
    tokens = valid_tokens(valid + wide_image * height * width, image * 0, positions, 1, height * width, HAS_MASK)
    gate_offsets = (positions // width).to(tl.int64) * gate_row_stride + (positions % width).to(
        tl.int64
    ) * gate_column_stride
    gate = tl.load(gates + wide_image * gate_batch_stride + gate_offsets + LEVELS, mask=tokens, other=0.0)
    level = tl.load(global_level + wide_image * C + channel + lanes, mask=in_channels, other=0.0)
    result = gate.to(tl.float32)[:, None] * level[None, :]
    here = out + (wide_image * height * width + position) * C + channel
    offsets = (tl.arange(0, BLOCK_P) * C)[:, None] + lanes[None, :]
    stored = inside[:, None] & in_channels[None, :]
    if LEVELS > 0:
        result += tl.load(here + offsets, mask=stored, other=0.0).to(tl.float32)
    if NORMALIZE:
        result = result / (LEVELS + 1)
    tl.store(here + offsets, result.to(out.dtype.element_ty), mask=stored)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def position_sum_kernel(
    source,
    gates,
    valid,
    partial_sums,
    height,
    width,
    source_batch_stride,
    source_row_stride,
    source_column_stride,
    gate_batch_stride,
    gate_row_stride,
    gate_column_stride,
    chunk_positions,
    C: tl.constexpr,
    LEVELS: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    GATED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sum ``source``, GATED by the last gate or not, over the valid tokens of a chunk of ``chunk_positions`` positions.

    Writes ``partial_sums`` (B, chunks, C), float32. One program an image, chunk and channel block.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    chunk_count = tl.cdiv(height * width, chunk_positions)
    channel = (tl.program_id(0) % channel_blocks) * BLOCK_C
    chunk = tl.program_id(0) // channel_blocks % chunk_count
    image = tl.program_id(0) // channel_blocks // chunk_count
    lanes = tl.arange(0, BLOCK_C)
    in_channels = channel + lanes < C
    wide_image = image.to(tl.int64)
    image_source = source + wide_image * source_batch_stride * ALIGNMENT + channel
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for step in range(0, chunk_positions, BLOCK_P):
        positions = chunk * chunk_positions + step + tl.arange(0, BLOCK_P)
        tokens = valid_tokens(valid + wide_image * height * width, image * 0, positions, 1, height * width, HAS_MASK)
        rows = (positions // width).to(tl.int64)
        columns = (positions % width).to(tl.int64)
        offsets = (rows * source_row_stride + columns * source_column_stride) * ALIGNMENT
        weight = tl.where(tokens, 1.0, 0.0)
        if GATED:
            gate_offsets = rows * gate_row_stride + columns * gate_column_stride
            gate = tl.load(gates + wide_image * gate_batch_stride + gate_offsets + LEVELS, mask=tokens, other=0.0)
            weight = gate.to(tl.float32)
        values = tl.load(
            image_source + offsets[:, None] + lanes[None, :], mask=tokens[:, None] & in_channels[None, :], other=0.0
        )
        total += values.to(tl.float32) * weight[:, None]
    here = partial_sums + (wide_image * chunk_count + chunk) * C + channel + lanes
    tl.store(here, tl.sum(total, axis=0), mask=in_channels)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def whole_map_kernel(
    source,
    taps,
    gates,
    valid,
    counts,
    scratch,
    out,
    items,
    height,
    width,
    source_batch_stride,
    source_row_stride,
    source_column_stride,
    gate_batch_stride,
    gate_row_stride,
    gate_column_stride,
    C: tl.constexpr,
    KERNEL_SIZES: tl.constexpr,
    LEVELS: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    NORMALIZE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Run the whole forward pass; each program takes one of ``items`` = B * channel blocks after the other.

    ``taps`` holds the kernels of all levels one after the other, (sum of KH * KW, C); KERNEL_SIZES is (KH, KW) of
    level 1, then of level 2, and so on. ``scratch`` (programs, L, H, W, BLOCK_C) belongs to the program. Needs L >= 1.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    lanes = tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_W)
    column_tiles = tl.cdiv(width, BLOCK_W)
    tiles = tl.cdiv(height, ROWS) * column_tiles
    positions = height * width
    maps = scratch + tl.program_id(0).to(tl.int64) * positions * (LEVELS * BLOCK_C)
    map_offsets = (places * BLOCK_C)[:, None] + lanes[None, :]
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        channel = (item % channel_blocks) * BLOCK_C
        image = item // channel_blocks
        wide_image = image.to(tl.int64)
        in_channels = channel + lanes < C
        image_valid = valid + wide_image * positions
        total = tl.zeros([BLOCK_W, BLOCK_C], tl.float32)
        level_taps = taps + channel
        for level in tl.static_range(LEVELS):
            level_map = maps + positions * (level * BLOCK_C)
            for tile in range(tiles):
                row = (tile // column_tiles) * ROWS
                column = (tile % column_tiles) * BLOCK_W
                if level == 0:
                    sums = convolve(
                        source + wide_image * source_batch_stride * ALIGNMENT + channel,
                        level_taps,
                        image_valid,
                        row,
                        column,
                        in_channels,
                        height,
                        width,
                        source_row_stride * ALIGNMENT,
                        source_column_stride * ALIGNMENT,
                        C,
                        KERNEL_SIZES[2 * level],
                        KERNEL_SIZES[2 * level + 1],
                        False,
                        HAS_MASK,
                        ROWS,
                        BLOCK_W,
                        BLOCK_C,
                    )
                else:
                    sums = convolve(
                        level_map - positions * BLOCK_C,
                        level_taps,
                        image_valid,
                        row,
                        column,
                        in_channels,
                        height,
                        width,
                        width * BLOCK_C,
                        BLOCK_C,
                        C,
                        KERNEL_SIZES[2 * level],
                        KERNEL_SIZES[2 * level + 1],
                        False,
                        False,
                        ROWS,
                        BLOCK_W,
                        BLOCK_C,
                    )
                for step in tl.static_range(ROWS):
                    tokens = valid_tokens(image_valid, row + step, column + places, height, width, HAS_MASK)
                    inside = columns_inside(row + step, column + places, height, width)
                    activation = tl.where(tokens[:, None], gelu(sums[step]), 0.0)
                    if level == LEVELS - 1:
                        total += activation
                    here = level_map + ((row + step) * width + column) * BLOCK_C + map_offsets
                    stored = inside[:, None] & in_channels[None, :]
                    tl.store(here, activation.to(scratch.dtype.element_ty), mask=stored)
            level_taps += KERNEL_SIZES[2 * level] * KERNEL_SIZES[2 * level + 1] * C
            tl.debug_barrier()
        if HAS_MASK:
            count = tl.load(counts + image)
        else:
            count = positions.to(tl.float32)
        global_level = gelu(tl.sum(total, axis=0) / count)[None, :]
        for line in range(height * column_tiles):
            row = line // column_tiles
            column = (line % column_tiles) * BLOCK_W
            tokens = valid_tokens(image_valid, row, column + places, height, width, HAS_MASK)
            inside = columns_inside(row, column + places, height, width)
            stored = inside[:, None] & in_channels[None, :]
            gate_row = gates + wide_image * gate_batch_stride + row.to(tl.int64) * gate_row_stride
            gate_start = gate_row + (column + places).to(tl.int64) * gate_column_stride
            result = tl.load(gate_start + LEVELS, mask=tokens, other=0.0).to(tl.float32)[:, None] * global_level
            for level in tl.static_range(LEVELS):
                here = maps + (positions * level + row * width + column) * BLOCK_C + map_offsets
                gate = tl.load(gate_start + level, mask=tokens, other=0.0).to(tl.float32)[:, None]
                result += gate * tl.load(here, mask=stored, other=0.0).to(tl.float32)
            if NORMALIZE:
                result = result / (LEVELS + 1)
            here = out + ((wide_image * height + row) * width + column) * C + channel
            tl.store(here + (places * C)[:, None] + lanes[None, :], result.to(out.dtype.element_ty), mask=stored)
        # The next item overwrites the maps that slower threads may still be reading.
        tl.debug_barrier()
