"""GPU kernels of causal focal aggregation in Triton, backward.

Legend, blocks and conventions are those of ``triton_causal_kernels``; N elements of e bytes a map.

Nothing but what the running levels begin each chunk with is kept from forward. :func:`recompute_kernel` goes through
the chunks forwards and writes ``U_1`` to ``U_L`` and ``S_1`` to ``S_R``, the gate gradients, and what each chunk sends
back through the running levels; a scan adds that up from the end; :func:`gradient_kernel` goes backwards in time with
the gradients that later positions need in registers. That moves (2 L + 2 R + 5) N e: 13 N e at L = 3, R = 1.

A chunk that is not the last begins ``warm_up`` positions late, in the next one. So that it finds there what comes back
through the running levels, each chunk's share is split: its first ``warm_up`` positions, and the others.
"""

# Compile-time arguments are in capitals, as is usual in Triton, whose compiler knows no star unpacking in tuples.
# ruff: noqa: N803, RUF005, SIM108
# mypy: disallow-untyped-defs=False, disable-error-code="assignment,var-annotated"
from __future__ import annotations

import triton
import triton.language as tl

from focalnets.ops.triton_causal_kernels import (
    RUNTIME_INTEGERS,
    advance,
    counts_at,
    inverse_count,
    load_decays,
    load_starts,
    load_taps,
    load_windows,
    place_of,
)
from focalnets.ops.triton_gradient_kernels import gelu_derivative
from focalnets.ops.triton_kernels import gelu


@triton.jit(do_not_specialize=[*RUNTIME_INTEGERS, "map_elements"])
def recompute_kernel(
    source,
    taps,
    gates,
    decay,
    valid,
    steps,
    count,
    windows,
    starts,
    upstream,
    preactivations,
    runs,
    gate_partials,
    totals,
    products,
    length,
    chunk_positions,
    warm_up,
    map_elements,
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
    RUNNING: tl.constexpr,
    DECAY: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_START: tl.constexpr,
    UNROLL: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Compute the levels of a chunk again: ``preactivations`` (L, B, T, C) and ``runs`` (R, B, T, C), S before GELU.

    ``upstream`` (B, T, C), contiguous, is the gradient of the result. Adds up what this block of channels contributes
    to the gradients of the gates in ``gate_partials`` (B, T, blocks, L + R, H), and what the first ``warm_up``
    positions of the chunk, and the others, send back through the running levels in ``totals`` (B, 2 chunks, R, C), with
    the products of their decays.
    """
    sequence, chunk, chunks, group, block = place_of(tl.program_id(0), length, chunk_positions, C, GROUPS, BLOCK_C)
    blocks: tl.constexpr = (C // GROUPS + BLOCK_C - 1) // BLOCK_C
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
    before = 0
    if HAS_STATE:
        before = tl.load(count + sequence)

    run = ()
    sent = ()
    kept = ()
    for number in tl.static_range(RUNNING):
        if DECAY == 0:
            run = run + (no_channels,)
        else:
            run = run + (entered[number],)
        sent = sent + (no_channels, no_channels)
        kept = kept + (no_channels + 1.0, no_channels + 1.0)

    source_start = source + wide * source_batch_stride * ALIGNMENT + channel
    gate_start = gates + wide * gate_batch_stride + group
    decay_start = decay + wide * decay_batch_stride + channel
    valid_start = valid + wide * length
    for turn in range(tl.cdiv(last - begin, UNROLL)):
        inputs = ()
        arriving = ()
        weights = ()
        decays = ()
        for ahead in tl.static_range(UNROLL):
            coming = begin + turn * UNROLL + ahead
            is_counted = counts_at(valid_start, coming, last, HAS_MASK)
            is_own = is_counted & (coming >= first)
            far = coming.to(tl.int64)
            here = source_start + far * source_row_stride * ALIGNMENT
            inputs = inputs + (tl.load(here + lanes, mask=in_channels & is_counted, other=0.0).to(tl.float32),)
            here = upstream + (wide * length + far) * C + channel
            arriving = arriving + (tl.load(here + lanes, mask=in_channels & is_own, other=0.0).to(tl.float32),)
            for gate_of in tl.static_range(RUNNING):
                at = gate_start + far * gate_row_stride + (LEVELS + gate_of) * GROUPS
                weights = weights + (tl.load(at, mask=is_own, other=0.0).to(tl.float32),)
            if DECAY == 2:
                here = decay_start + far * decay_row_stride
                decays = decays + (tl.load(here + lanes, mask=in_channels & is_own, other=0.0).to(tl.float32),)

        for step in tl.static_range(UNROLL):
            position = begin + turn * UNROLL + step
            counted = counts_at(valid_start, position, last, HAS_MASK)
            own = counted & (position >= first)
            found = advance(inputs[step], held, filters, counted, KERNELS, LEVELS, ROWS)
            updated = ()
            for row_of in tl.static_range(ROWS + 1):
                updated = updated + (found[2 * LEVELS + row_of],)
            held = updated

            in_chunk = (position >= first) & (position < last)
            stored = in_channels & in_chunk
            there = wide * length + position
            here = there * C + channel + lanes
            gate_target = gate_partials + ((there * blocks + block) * (LEVELS + RUNNING)) * GROUPS + group
            highest = inputs[step]
            for level in tl.static_range(LEVELS):
                highest = found[LEVELS + level]
                at = preactivations + map_elements.to(tl.int64) * level + here
                tl.store(at, found[level].to(preactivations.dtype.element_ty), mask=stored)
                tl.store(gate_target + level * GROUPS, tl.sum(arriving[step] * highest, axis=0), mask=in_chunk)
            moved = ()
            sums = ()
            powers = ()
            for running in tl.static_range(RUNNING):
                if DECAY == 0:
                    now = run[running] + tl.where(own, highest, 0.0)
                    inverse = inverse_count(steps + wide * length, before, position, last, HAS_MASK)
                    average = (entered[running] + now) * inverse
                else:
                    if DECAY == 1:
                        keeps = fixed[running]
                    else:
                        keeps = decays[step]
                    now = tl.where(own, keeps * run[running] + (1.0 - keeps) * highest, run[running])
                    average = now
                moved = moved + (now,)
                at = runs + map_elements.to(tl.int64) * running + here
                tl.store(at, average.to(runs.dtype.element_ty), mask=stored)
                product = tl.sum(arriving[step] * gelu(average), axis=0)
                tl.store(gate_target + (LEVELS + running) * GROUPS, product, mask=in_chunk)
                share = arriving[step] * weights[step * RUNNING + running] * gelu_derivative(average)
                for part in tl.static_range(2):
                    if part == 0:
                        here_counts = own & (position < first + warm_up)
                    else:
                        here_counts = own & (position >= first + warm_up)
                    if DECAY == 0:
                        power = kept[2 * running + part]
                        added = share * inverse
                    else:
                        power = tl.where(here_counts, kept[2 * running + part] * keeps, kept[2 * running + part])
                        added = share * power
                    powers = powers + (power,)
                    sums = sums + (sent[2 * running + part] + tl.where(here_counts, added, 0.0),)
            run = moved
            kept = powers
            sent = sums

    for reached in tl.static_range(RUNNING):
        for half in tl.static_range(2):
            item = (wide * chunks + chunk) * 2 + half
            target = (item * RUNNING + reached) * C + channel + lanes
            tl.store(totals + target, sent[2 * reached + half], mask=in_channels)
            if DECAY != 0:
                tl.store(products + target, kept[2 * reached + half], mask=in_channels)


@triton.jit(do_not_specialize=[*RUNTIME_INTEGERS, "map_elements"])
def gradient_kernel(
    source,
    taps,
    gates,
    decay,
    valid,
    steps,
    count,
    windows,
    initial,
    upstream,
    preactivations,
    runs,
    carries,
    context_gradient,
    decay_gradient,
    kernel_partials,
    decay_partials,
    length,
    chunk_positions,
    warm_up,
    map_elements,
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
    RUNNING: tl.constexpr,
    DECAY: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_STATE: tl.constexpr,
    UNROLL: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Go through a chunk backwards in time: gradients of context, kernels and decay.

    ``carries`` (B, 2 chunks, R, C) is what comes back through the running levels from behind each part of a chunk;
    ``initial`` (B, R, C) what the running levels of the sequence began with. Writes ``context_gradient`` and, for DECAY
    2, ``decay_gradient`` (B, T, C), and adds up for each chunk ``kernel_partials`` (B chunks, TAPS, C) and, for DECAY
    1, ``decay_partials`` (B chunks, R, C).
    """
    sequence, chunk, chunks, group, block = place_of(tl.program_id(0), length, chunk_positions, C, GROUPS, BLOCK_C)
    lanes = tl.arange(0, BLOCK_C)
    channel = group * (C // GROUPS) + block * BLOCK_C
    in_channels = block * BLOCK_C + lanes < C // GROUPS
    wide = sequence.to(tl.int64)
    first = chunk * chunk_positions
    last = tl.minimum(first + chunk_positions, length)
    end = tl.minimum(last + warm_up, length)
    no_channels = tl.zeros([BLOCK_C], tl.float32)

    filters = load_taps(taps + channel, lanes, in_channels, C, TAPS, BLOCK_C)
    fixed = load_decays(decay + channel, lanes, in_channels, C, RUNNING, DECAY, BLOCK_C)
    before = 0
    if HAS_STATE:
        before = tl.load(count + sequence)
    # The gradients of U_l at the positions to come, the next one first, level after level.
    ahead = load_windows(windows, lanes, in_channels, C, ROWS, False, BLOCK_C)
    filter_sums = load_taps(taps, lanes, in_channels & False, C, TAPS, BLOCK_C)
    carried = ()
    decay_sums = ()
    for number in tl.static_range(RUNNING):
        behind = ((wide * chunks + chunk + 1) * 2 * RUNNING + number) * C + channel
        wanted = in_channels & (chunk + 1 < chunks)
        carried = carried + (tl.load(carries + behind + lanes, mask=wanted, other=0.0),)
        decay_sums = decay_sums + (no_channels,)

    source_start = source + wide * source_batch_stride * ALIGNMENT + channel
    gate_start = gates + wide * gate_batch_stride + group
    decay_start = decay + wide * decay_batch_stride + channel
    valid_start = valid + wide * length
    turns = tl.cdiv(end - first, UNROLL)
    for turn in range(turns):
        inputs = ()
        arriving = ()
        weights = ()
        decays = ()
        convolved = ()
        averages = ()
        earlier = ()
        for next_one in tl.static_range(UNROLL):
            coming = first + (turns - turn) * UNROLL - 1 - next_one
            is_counted = counts_at(valid_start, coming, end, HAS_MASK)
            is_own = is_counted & (coming < last)
            far = coming.to(tl.int64)
            wanted_here = in_channels & is_counted
            at_source = source_start + far * source_row_stride * ALIGNMENT
            inputs = inputs + (tl.load(at_source + lanes, mask=in_channels & is_own, other=0.0).to(tl.float32),)
            here = (wide * length + far) * C + channel + lanes
            arriving = arriving + (tl.load(upstream + here, mask=wanted_here, other=0.0).to(tl.float32),)
            for gate_of in tl.static_range(LEVELS + RUNNING):
                at_gate = gate_start + far * gate_row_stride + gate_of * GROUPS
                weights = weights + (tl.load(at_gate, mask=is_counted, other=0.0).to(tl.float32),)
            for level_of in tl.static_range(LEVELS):
                at_level = preactivations + map_elements.to(tl.int64) * level_of + here
                convolved = convolved + (tl.load(at_level, mask=wanted_here, other=0.0).to(tl.float32),)
            for run_of in tl.static_range(RUNNING):
                at_run = runs + map_elements.to(tl.int64) * run_of + here
                averages = averages + (tl.load(at_run, mask=wanted_here, other=0.0).to(tl.float32),)
                if DECAY != 0:
                    previous = tl.load(at_run - C, mask=wanted_here & (coming > 0), other=0.0).to(tl.float32)
                    if HAS_STATE:
                        at_initial = initial + (wide * RUNNING + run_of) * C + channel + lanes
                        is_first = wanted_here & (coming == 0)
                        previous += tl.load(at_initial, mask=is_first, other=0.0).to(tl.float32)
                    earlier = earlier + (previous,)
            if DECAY == 2:
                at_decay = decay_start + far * decay_row_stride
                decays = decays + (tl.load(at_decay + lanes, mask=wanted_here, other=0.0).to(tl.float32),)

        for step in tl.static_range(UNROLL):
            position = first + (turns - turn) * UNROLL - 1 - step
            counted = counts_at(valid_start, position, end, HAS_MASK)
            own = counted & (position < last)
            stored = in_channels & (position < last)
            there = (wide * length + position) * C + channel + lanes
            if LEVELS > 0:
                highest = gelu(convolved[step * LEVELS + LEVELS - 1])
            else:
                highest = inputs[step]
            gradient = no_channels
            moved = ()
            sums = ()
            for running in tl.static_range(RUNNING):
                average = averages[step * RUNNING + running]
                share = (
                    arriving[step] * weights[step * (LEVELS + RUNNING) + LEVELS + running] * gelu_derivative(average)
                )
                if DECAY == 0:
                    inverse = inverse_count(steps + wide * length, before, position, end, HAS_MASK)
                    returned = carried[running] + share * inverse
                    gradient += returned
                    moved = moved + (returned,)
                    sums = sums + (decay_sums[running],)
                else:
                    if DECAY == 1:
                        keeps = fixed[running]
                    else:
                        keeps = decays[step]
                    returned = carried[running] + share
                    gradient += (1.0 - keeps) * returned
                    changed = tl.where(own, returned * (earlier[step * RUNNING + running] - highest), 0.0)
                    if DECAY == 2:
                        tl.store(decay_gradient + there, changed.to(decay_gradient.dtype.element_ty), mask=stored)
                    moved = moved + (tl.where(counted, returned * keeps, carried[running]),)
                    sums = sums + (decay_sums[running] + changed,)
            carried = moved
            decay_sums = sums

            ahead_after = (ahead[ROWS],)
            filters_after = (filter_sums[TAPS],)
            if LEVELS > 0:
                gradient += weights[step * (LEVELS + RUNNING) + LEVELS - 1] * arriving[step]
            for level in tl.static_range(LEVELS - 1, -1, -1):
                passed = tl.where(counted, gradient * gelu_derivative(convolved[step * LEVELS + level]), 0.0)
                if level > 0:
                    below = tl.where(own, gelu(convolved[step * LEVELS + level - 1]), 0.0)
                    gradient = weights[step * (LEVELS + RUNNING) + level - 1] * arriving[step]
                else:
                    below = inputs[step]
                    gradient = no_channels
                products_of_taps = ()
                for tap in tl.static_range(KERNELS[4 * level]):
                    if tap == KERNELS[4 * level] - 1:
                        later = passed
                    else:
                        later = ahead[
                            KERNELS[4 * level + 3] + (KERNELS[4 * level] - 1 - tap) * KERNELS[4 * level + 1] - 1
                        ]
                    gradient += filters[KERNELS[4 * level + 2] + tap] * later
                    summed = filter_sums[KERNELS[4 * level + 2] + tap] + below * later
                    products_of_taps = products_of_taps + (summed,)
                filters_after = products_of_taps + filters_after
                window = ()
                if KERNELS[4 * level] > 1:
                    window = window + (passed,)
                for row in tl.static_range((KERNELS[4 * level] - 1) * KERNELS[4 * level + 1] - 1):
                    window = window + (ahead[KERNELS[4 * level + 3] + row],)
                ahead_after = window + ahead_after
            ahead = ahead_after
            filter_sums = filters_after
            gradient = tl.where(counted, gradient, 0.0)
            tl.store(context_gradient + there, gradient.to(context_gradient.dtype.element_ty), mask=stored)

    if HAS_STATE:
        # The first positions reached back to what the state holds, which has no gradient but meets the kernels.
        state = load_windows(
            windows + wide * (ROWS * C) + channel, lanes, in_channels & (chunk == 0), C, ROWS, True, BLOCK_C
        )
        with_state = ()
        for state_level in tl.static_range(LEVELS):
            for state_tap in tl.static_range(KERNELS[4 * state_level]):
                whole = filter_sums[KERNELS[4 * state_level + 2] + state_tap]
                # Position t of the first ones meets what lies before it by the distance of the tap.
                for t in tl.static_range((KERNELS[4 * state_level] - 1 - state_tap) * KERNELS[4 * state_level + 1]):
                    before_it = state[KERNELS[4 * state_level + 3] + t + state_tap * KERNELS[4 * state_level + 1]]
                    whole += before_it * ahead[KERNELS[4 * state_level + 3] + t]
                with_state = with_state + (whole,)
        filter_sums = with_state + (filter_sums[TAPS],)
    item = wide * chunks + chunk
    for tap_of in tl.static_range(TAPS):
        tl.store(kernel_partials + (item * TAPS + tap_of) * C + channel + lanes, filter_sums[tap_of], mask=in_channels)
    if DECAY == 1:
        for decay_of in tl.static_range(RUNNING):
            target = decay_partials + (item * RUNNING + decay_of) * C + channel + lanes
            tl.store(target, decay_sums[decay_of], mask=in_channels)
