"""GPU kernels of causal focal aggregation in Triton, forward; ``triton_causal_gradient_kernels`` has the backward ones.

Legend: B sequences, T positions, C channels, L focal levels, R running levels, H groups of adjacent channels with gates
of their own. ``Z_0`` is the context, ``U_l`` the convolution of ``Z_{l-1}``, ``Z_l = GELU(U_l)``, ``S_r`` what runs
along. Channels are adjacent. Arithmetic is float32; maps kept between kernels have the dtype of the context.

A program takes a block of channels of one group through a chunk of positions, one after the other; a thread owns its
channels. What kernels reach back to stays in registers (``held``), so all levels are computed in one pass: a context of
N = B T C elements of e bytes is read once and the result written once, where plain PyTorch moves about (9 L + 10) N e.
A chunk that is not the first begins ``warm_up`` positions early, on zeros: as many as all kernels together reach back.

Sequences longer than a chunk take three launches: levels, with the sum of each chunk (:func:`aggregate_kernel`, PART
1), the sums of all chunks before each (:func:`scan_kernel`), and the running levels (PART 2, which reads ``Z_L`` and
what PART 1 wrote). That moves 6 N e and no level is computed twice but those of the warm-up. One chunk is one launch.

Sums over chunks are float64. No atomics: equal input gives equal bits as long as the blocks are equal. Offsets of
sequences and positions are 64-bit. Strides of the context are passed in units of ALIGNMENT elements, so that the
compiler knows how wide its loads may be.

Source: Yang et al., "Focal Modulation Networks" (NeurIPS 2022), eqs. 4 and 5, padded on the left.
"""

# Compile-time arguments are in capitals, as is usual in Triton, whose compiler knows no star unpacking in tuples.
# ruff: noqa: N803, RUF005, SIM102, SIM108
# mypy: disallow-untyped-defs=False, disable-error-code="assignment,var-annotated"
from __future__ import annotations

import triton
import triton.language as tl

from focalnets.ops.triton_kernels import gelu

# Lengths and strides change from call to call; not specialising on their values avoids a compilation for each.
RUNTIME_INTEGERS = [
    "length",
    "chunk_positions",
    "warm_up",
    "source_batch_stride",
    "source_row_stride",
    "gate_batch_stride",
    "gate_row_stride",
    "decay_batch_stride",
    "decay_row_stride",
    "items",
]


@triton.jit
def place_of(index, length, chunk_positions, C: tl.constexpr, GROUPS: tl.constexpr, BLOCK_C: tl.constexpr):
    """Find sequence, chunk, number of chunks, group and block within the group; blocks vary fastest."""
    blocks: tl.constexpr = (C // GROUPS + BLOCK_C - 1) // BLOCK_C
    chunks = tl.cdiv(length, chunk_positions)
    rest = index // (blocks * GROUPS)
    return rest // chunks, rest % chunks, chunks, index // blocks % GROUPS, index % blocks


@triton.jit
def counts_at(valid, position, last, HAS_MASK: tl.constexpr):
    """Tell whether ``position`` is below ``last`` and not masked out; ``valid`` points at the sequence."""
    counted = position < last
    if HAS_MASK:
        counted = counted & (tl.load(valid + position, mask=counted, other=0) != 0)
    return counted


@triton.jit
def inverse_count(steps, before, position, last, HAS_MASK: tl.constexpr):
    """Compute one over the valid positions up to ``position`` and ``before``; ``steps`` points at the sequence."""
    if HAS_MASK:
        seen = tl.load(steps + position, mask=position < last, other=1)
    else:
        seen = position.to(tl.int64) + 1
    return 1.0 / tl.maximum(seen + before, 1).to(tl.float32)


@triton.jit
def load_taps(taps, lanes, in_channels, C: tl.constexpr, TAPS: tl.constexpr, BLOCK_C: tl.constexpr):
    """Load the kernels of all levels (TAPS, C), and a row of zeros, so that there is something without levels."""
    values = ()
    for tap in tl.static_range(TAPS):
        values = values + (tl.load(taps + tap * C + lanes, mask=in_channels, other=0.0).to(tl.float32),)
    return values + (tl.zeros([BLOCK_C], tl.float32),)


@triton.jit
def load_decays(decay, lanes, in_channels, C: tl.constexpr, RUNNING: tl.constexpr, DECAY: tl.constexpr,
                BLOCK_C: tl.constexpr):  # fmt: skip
    """Load fixed decays (R, C), and a row of zeros; those of each position are loaded with it."""
    values = ()
    if DECAY == 1:
        for running in tl.static_range(RUNNING):
            values = values + (tl.load(decay + running * C + lanes, mask=in_channels, other=0.0).to(tl.float32),)
    return values + (tl.zeros([BLOCK_C], tl.float32),)


@triton.jit
def load_starts(starts, lanes, in_channels, C: tl.constexpr, RUNNING: tl.constexpr, HAS_START: tl.constexpr,
                BLOCK_C: tl.constexpr):  # fmt: skip
    """Load what the running levels begin with (R, C), or zeros."""
    values = ()
    for running in tl.static_range(RUNNING):
        if HAS_START:
            values = values + (tl.load(starts + running * C + lanes, mask=in_channels, other=0.0).to(tl.float32),)
        else:
            values = values + (tl.zeros([BLOCK_C], tl.float32),)
    return values


@triton.jit
def load_windows(windows, lanes, wanted, C: tl.constexpr, ROWS: tl.constexpr, HAS_STATE: tl.constexpr,
                 BLOCK_C: tl.constexpr):  # fmt: skip
    """Load the windows of all levels (ROWS, C) where ``wanted``, else zeros; one row of zeros more."""
    values = ()
    for row in tl.static_range(ROWS):
        if HAS_STATE:
            values = values + (tl.load(windows + row * C + lanes, mask=wanted, other=0.0).to(tl.float32),)
        else:
            values = values + (tl.zeros([BLOCK_C], tl.float32),)
    return values + (tl.zeros([BLOCK_C], tl.float32),)


@triton.jit
def advance(level, held, taps, counted, KERNELS: tl.constexpr, LEVELS: tl.constexpr, ROWS: tl.constexpr):
    """Compute all levels of the next position: U_1 to U_L, then Z_1 to Z_L, then what is held after it.

    KERNELS has for each level its size, its dilation, its first tap and its first row in what is held, where the oldest
    position comes first.
    """
    convolved = ()
    activated = ()
    after = ()
    for index in tl.static_range(LEVELS):
        total = taps[KERNELS[4 * index + 2] + (KERNELS[4 * index] - 1)] * level
        for tap in tl.static_range(KERNELS[4 * index] - 1):
            earlier = held[KERNELS[4 * index + 3] + tap * KERNELS[4 * index + 1]]
            total += taps[KERNELS[4 * index + 2] + tap] * earlier
        for younger in tl.static_range(1, (KERNELS[4 * index] - 1) * KERNELS[4 * index + 1]):
            after = after + (held[KERNELS[4 * index + 3] + younger],)
        if KERNELS[4 * index] > 1:
            after = after + (level,)
        convolved = convolved + (total,)
        level = tl.where(counted, gelu(total), 0.0)
        activated = activated + (level,)
    return convolved + activated + after + (held[ROWS],)


@triton.jit(do_not_specialize=RUNTIME_INTEGERS)
def aggregate_kernel(
    source,
    taps,
    gates,
    decay,
    valid,
    steps,
    count,
    windows,
    starts,
    out,
    top,
    totals,
    products,
    windows_after,
    running_after,
    count_after,
    length,
    chunk_positions,
    warm_up,
    source_batch_stride,
    source_row_stride,
    gate_batch_stride,
    gate_row_stride,
    decay_batch_stride,
    decay_row_stride,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
    KERNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    FIRST_GATE: tl.constexpr,
    RUNNING: tl.constexpr,
    DECAY: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_START: tl.constexpr,
    PART: tl.constexpr,
    UNROLL: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Take a block of channels through a chunk: PART 0 everything, 1 the focal levels, 2 the running ones.

    PART 0 is for sequences of one chunk. Writes ``out`` (B, T, C) and the state: ``windows_after`` (B, ROWS, C),
    ``running_after`` (B, R, C) and ``count_after`` (B). ``starts`` (B, R, C) is what the running levels begin with.
    PART 1 writes the sum of the focal levels to ``out``, Z_L to ``top`` and what the chunk alone gives the running
    levels to ``totals`` (B, chunks, R, C), with the products of its decays in ``products``.
    PART 2 has no levels of its own: ``source`` is Z_L, FIRST_GATE = L, ``starts`` (B, chunks, R, C); adds to ``out``.
    DECAY is 0 for the mean of all, 1 for ``decay`` (R, C), 2 for (B, T, C).
    """
    sequence, chunk, chunks, group, block = place_of(tl.program_id(0), length, chunk_positions, C, GROUPS, BLOCK_C)
    lanes = tl.arange(0, BLOCK_C)
    channel = group * (C // GROUPS) + block * BLOCK_C
    in_channels = block * BLOCK_C + lanes < C // GROUPS
    wide = sequence.to(tl.int64)
    first = chunk * chunk_positions
    last = tl.minimum(first + chunk_positions, length)
    begin = tl.maximum(first - warm_up, 0)
    no_channels = tl.zeros([BLOCK_C], tl.float32)

    filters = load_taps(taps + channel, lanes, in_channels, C, TAPS, BLOCK_C)
    fixed = load_decays(decay + channel, lanes, in_channels, C, RUNNING, DECAY, BLOCK_C)
    start = starts + (wide * chunks + chunk) * (RUNNING * C) + channel
    entered = load_starts(start, lanes, in_channels, C, RUNNING, HAS_START, BLOCK_C)
    at_windows = wide * (ROWS * C) + channel
    held = load_windows(windows + at_windows, lanes, in_channels & (chunk == 0), C, ROWS, HAS_STATE, BLOCK_C)
    # Windows that so few positions do not fill keep their youngest rows.
    for level_of in tl.static_range(LEVELS):
        for old in tl.static_range((KERNELS[4 * level_of] - 1) * KERNELS[4 * level_of + 1]):
            row_after = old - length
            at_row = windows_after + at_windows + (KERNELS[4 * level_of + 3] + row_after) * C + lanes
            kept_row = held[KERNELS[4 * level_of + 3] + old].to(windows_after.dtype.element_ty)
            tl.store(at_row, kept_row, mask=in_channels & (row_after >= 0) & (chunk == 0))
    before = 0
    if HAS_STATE:
        before = tl.load(count + sequence)

    run = ()
    kept = ()
    for number in tl.static_range(RUNNING):
        if DECAY == 0:
            run = run + (no_channels,)
        else:
            run = run + (entered[number],)
        kept = kept + (no_channels + 1.0,)

    source_start = source + wide * source_batch_stride * ALIGNMENT + channel
    gate_start = gates + wide * gate_batch_stride + FIRST_GATE * GROUPS + group
    decay_start = decay + wide * decay_batch_stride + channel
    valid_start = valid + wide * length
    gates_each: tl.constexpr = LEVELS + (RUNNING if PART != 1 else 0)
    for turn in range(tl.cdiv(last - begin, UNROLL)):
        inputs = ()
        weights = ()
        decays = ()
        partial = ()
        for ahead in tl.static_range(UNROLL):
            coming = begin + turn * UNROLL + ahead
            is_counted = counts_at(valid_start, coming, last, HAS_MASK)
            is_own = is_counted & (coming >= first)
            far = coming.to(tl.int64)
            here = source_start + far * source_row_stride * ALIGNMENT
            inputs = inputs + (tl.load(here + lanes, mask=in_channels & is_counted, other=0.0).to(tl.float32),)
            for gate_of in tl.static_range(LEVELS):
                at = gate_start + far * gate_row_stride + gate_of * GROUPS
                weights = weights + (tl.load(at, mask=is_own, other=0.0).to(tl.float32),)
            if PART != 1:
                for gate_of_running in tl.static_range(RUNNING):
                    at = gate_start + far * gate_row_stride + (LEVELS + gate_of_running) * GROUPS
                    weights = weights + (tl.load(at, mask=is_own, other=0.0).to(tl.float32),)
            if DECAY == 2:
                here = decay_start + far * decay_row_stride
                decays = decays + (tl.load(here + lanes, mask=in_channels & is_own, other=0.0).to(tl.float32),)
            if PART == 2 and FIRST_GATE > 0:
                here = out + (wide * length + far) * C + channel
                partial = partial + (tl.load(here + lanes, mask=in_channels & is_own, other=0.0).to(tl.float32),)

        for step in tl.static_range(UNROLL):
            position = begin + turn * UNROLL + step
            counted = counts_at(valid_start, position, last, HAS_MASK)
            own = counted & (position >= first)
            found = advance(inputs[step], held, filters, counted, KERNELS, LEVELS, ROWS)
            updated = ()
            for row_of in tl.static_range(ROWS + 1):
                updated = updated + (found[2 * LEVELS + row_of],)
            held = updated
            if ROWS > 0:
                if position >= length - ROWS:
                    for filled in tl.static_range(LEVELS):
                        reach_of = (KERNELS[4 * filled] - 1) * KERNELS[4 * filled + 1]
                        fresh = position - (length - reach_of)
                        if filled == 0:
                            fresh_row = inputs[step]
                        else:
                            fresh_row = found[LEVELS + filled - 1]
                        at_fresh = windows_after + at_windows + (KERNELS[4 * filled + 3] + fresh) * C + lanes
                        is_fresh = (fresh >= 0) & (position >= first) & (position < last)
                        tl.store(at_fresh, fresh_row.to(windows_after.dtype.element_ty), mask=in_channels & is_fresh)

            result = no_channels
            highest = inputs[step]
            for level in tl.static_range(LEVELS):
                highest = found[LEVELS + level]
                result += weights[step * gates_each + level] * highest
            moved = ()
            powers = ()
            for running in tl.static_range(RUNNING):
                if DECAY == 0:
                    now = run[running] + tl.where(own, highest, 0.0)
                    powers = powers + (kept[running],)
                else:
                    if DECAY == 1:
                        keeps = fixed[running]
                    else:
                        keeps = decays[step]
                    now = tl.where(own, keeps * run[running] + (1.0 - keeps) * highest, run[running])
                    powers = powers + (tl.where(own, kept[running] * keeps, kept[running]),)
                moved = moved + (now,)
                if PART != 1:
                    if DECAY == 0:
                        average = (entered[running] + now) * inverse_count(
                            steps + wide * length, before, position, last, HAS_MASK
                        )
                    else:
                        average = now
                    result += weights[step * gates_each + LEVELS + running] * gelu(average)
            run = moved
            kept = powers
            stored = in_channels & (position >= first) & (position < last)
            here = (wide * length + position) * C + channel + lanes
            if PART == 2 and FIRST_GATE > 0:
                result += partial[step]
            if PART != 1 or LEVELS > 0:
                tl.store(out + here, result.to(out.dtype.element_ty), mask=stored)
            if PART == 1 and LEVELS > 0:
                tl.store(top + here, highest.to(top.dtype.element_ty), mask=stored)

    for reached in tl.static_range(RUNNING):
        if PART == 1:
            here = ((wide * chunks + chunk) * RUNNING + reached) * C + channel + lanes
            tl.store(totals + here, run[reached], mask=in_channels)
            if DECAY != 0:
                tl.store(products + here, kept[reached], mask=in_channels)
        if PART == 0:
            here = (wide * RUNNING + reached) * C + channel + lanes
            final = run[reached].to(running_after.dtype.element_ty)
            if DECAY == 0 and HAS_START:
                final += tl.load(starts + here, mask=in_channels, other=0.0).to(running_after.dtype.element_ty)
            tl.store(running_after + here, final, mask=in_channels)
    if PART != 2:
        if HAS_MASK:
            seen = tl.load(steps + wide * length + (length - 1))
        else:
            seen = length.to(tl.int64)
        at_end = (chunk == chunks - 1) & (group == 0) & (block == 0)
        tl.store(count_after + sequence, seen + before, mask=at_end)


@triton.jit(do_not_specialize=["items"])
def scan_kernel(
    totals,
    products,
    initial,
    starts,
    final,
    items,
    C: tl.constexpr,
    RUNNING: tl.constexpr,
    HAS_PRODUCTS: tl.constexpr,
    HAS_INITIAL: tl.constexpr,
    HAS_FINAL: tl.constexpr,
    REVERSED: tl.constexpr,
    UNROLL: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sum ``totals`` (B, items, R, C) over what comes before each item, or, REVERSED, after it: ``starts``, likewise.

    With ``products`` of the same shape, what came before is multiplied by those of each item passed. Begins with
    ``initial`` (B, R, C) and leaves the sum of all in ``final`` (B, R, C). One program a sequence, running level and
    channel block; sums are float64.
    """
    blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    lanes = tl.arange(0, BLOCK_C)
    channel = (tl.program_id(0) % blocks) * BLOCK_C
    running = tl.program_id(0) // blocks % RUNNING
    wide = (tl.program_id(0) // (blocks * RUNNING)).to(tl.int64)
    in_channels = channel + lanes < C
    at_end = (wide * RUNNING + running) * C + channel + lanes
    carried = tl.zeros([BLOCK_C], tl.float64)
    if HAS_INITIAL:
        carried += tl.load(initial + at_end, mask=in_channels, other=0.0).to(tl.float64)
    for turn in range(tl.cdiv(items, UNROLL)):
        sums = ()
        factors = ()
        for ahead in tl.static_range(UNROLL):
            coming = turn * UNROLL + ahead
            if REVERSED:
                item = items - 1 - coming
            else:
                item = coming
            here = ((wide * items + item) * RUNNING + running) * C + channel + lanes
            wanted = in_channels & (coming < items)
            sums = sums + (tl.load(totals + here, mask=wanted, other=0.0).to(tl.float64),)
            if HAS_PRODUCTS:
                factors = factors + (tl.load(products + here, mask=wanted, other=1.0).to(tl.float64),)
        for step in tl.static_range(UNROLL):
            passed = turn * UNROLL + step
            if REVERSED:
                where = items - 1 - passed
            else:
                where = passed
            there = ((wide * items + where) * RUNNING + running) * C + channel + lanes
            tl.store(starts + there, carried.to(tl.float32), mask=in_channels & (passed < items))
            if HAS_PRODUCTS:
                carried = sums[step] + factors[step] * carried
            else:
                carried += sums[step]
    if HAS_FINAL:
        tl.store(final + at_end, carried.to(final.dtype.element_ty), mask=in_channels)
