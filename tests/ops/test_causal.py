"""Causal focal aggregation: what it means, that nothing leaks from the future, chunks, padding, mistakes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from focalnets.errors import BackendUnavailableError, ShapeError, UnknownNameError
from focalnets.ops.causal import causal_focal_aggregation, initial_state

DECAYS = {"mean": 0, "one scale": 1, "three scales": 3, "by position": -1}
"""Fixed time scales; -1 for a decay that depends on the position."""


def draw(batch, length, channels, sizes, *, scales=0, groups=1, dtype=torch.float64, seed=0):
    """Arguments by name: context, gates, kernels, decay."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    levels = len(sizes) + max(1, scales)
    decay = None if scales == 0 else normal(scales, channels) if scales > 0 else normal(batch, length, channels)
    return {
        "context": normal(batch, length, channels),
        "gates": normal(batch, length, levels, groups),
        "kernels": [normal(channels, size) / math.sqrt(size) for size in sizes],
        "decay": None if decay is None else torch.sigmoid(2 * decay),
    }


def part_of(case, wanted):
    """The same arguments for some positions."""
    decay = case["decay"]
    return {
        "context": case["context"][:, wanted],
        "gates": case["gates"][:, wanted],
        "kernels": case["kernels"],
        "decay": decay[:, wanted] if decay is not None and decay.ndim == 3 else decay,
    }


def by_hand(context, gates, kernels, decay=None, dilations=None):
    """The definition, one position and one sequence after the other; context (T, C), gates (T, L + R)."""
    result, level = torch.zeros_like(context), context
    for index, (kernel, dilation) in enumerate(zip(kernels, dilations or [1] * len(kernels), strict=True)):
        size, convolved = kernel.shape[1], torch.zeros_like(level)
        for t in range(len(level)):
            for tap in range(size):
                source = t - (size - 1 - tap) * dilation
                if source >= 0:
                    convolved[t] += kernel[:, tap] * level[source]
        level = F.gelu(convolved)
        result += gates[:, index : index + 1] * level
    for index in range(1 if decay is None else len(decay)):
        held = torch.zeros_like(level[0])
        for t in range(len(level)):
            mean = level[: t + 1].mean(0)
            held = mean if decay is None else decay[index] * held + (1 - decay[index]) * level[t]
            result[t] += gates[t, len(kernels) + index] * F.gelu(held)
    return result


@pytest.mark.parametrize("scales", [0, 1, 3])
def test_definition(scales):
    case = draw(2, 11, 3, (3, 2, 5), scales=scales)
    got, _ = causal_focal_aggregation(**case, dilations=(1, 3, 2))
    for index in range(2):
        expected = by_hand(
            case["context"][index], case["gates"][index, ..., 0], case["kernels"], case["decay"], (1, 3, 2)
        )
        torch.testing.assert_close(got[index], expected)


@pytest.mark.parametrize("scales", DECAYS.values(), ids=DECAYS)
def test_nothing_comes_from_the_future(scales):
    case = draw(1, 13, 4, (3, 4), scales=scales, groups=2)
    case["context"].requires_grad_()
    result, _ = causal_focal_aggregation(**case, dilations=(1, 2))
    for position in (0, 5, 12):
        (gradient,) = torch.autograd.grad(result[:, position].sum(), case["context"], retain_graph=True)
        assert gradient[:, position + 1 :].abs().sum() == 0
        assert gradient[:, : position + 1].abs().amin() > 0
    changed = {**case, "context": case["context"].detach().clone()}
    changed["context"][:, 7:] = float("nan")
    after, _ = causal_focal_aggregation(**changed, dilations=(1, 2))
    assert torch.equal(after[:, :7], result[:, :7].detach())


@pytest.mark.parametrize("scales", DECAYS.values(), ids=DECAYS)
@pytest.mark.parametrize("pieces", [(1, 1, 1, 5, 29), (2048 - 700, 1, 699)], ids=["short", "long"])
def test_chunks_give_the_whole(scales, pieces):
    case = draw(2, sum(pieces), 6, (3, 5, 7), scales=scales, groups=3, dtype=torch.float32)
    whole, last = causal_focal_aggregation(**case, dilations=(1, 1, 4))
    state, results, first = None, [], 0
    for length in pieces:
        result, state = causal_focal_aggregation(
            **part_of(case, slice(first, first + length)), dilations=(1, 1, 4), state=state
        )
        results.append(result)
        first += length
    assert (torch.cat(results, 1) - whole).abs().max() <= 1e-5
    for got, expected in zip((*state.windows, state.running), (*last.windows, last.running), strict=True):
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
    assert state.count.tolist() == [sum(pieces)] * 2


def test_state_does_not_grow():
    sizes = []
    for length in (1, 300):
        _, state = causal_focal_aggregation(**draw(1, length, 4, (3, 5)))
        sizes.append(sum(tensor.numel() for tensor in (*state.windows, state.running, state.count)))
    assert sizes == [(2 + 4 + 1) * 4 + 1] * 2


@pytest.mark.parametrize("scales", DECAYS.values(), ids=DECAYS)
def test_padding_changes_nothing(scales):
    case = draw(2, 12, 4, (3, 4), scales=scales)
    for name in ("context", "gates"):
        case[name][1, :5] = float("inf") if name == "context" else 1.0
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, :5] = False
    result, state = causal_focal_aggregation(**case, mask=mask)
    alone = {name: value[1:] if name in ("context", "gates") else value for name, value in case.items()}
    if scales < 0:
        alone["decay"] = alone["decay"][1:]
    expected, own = causal_focal_aggregation(**part_of(alone, slice(5, 12)))
    torch.testing.assert_close(result[1:, 5:], expected)
    assert result[1, :5].abs().sum() == 0
    torch.testing.assert_close(state.running[1:], own.running)
    assert state.count.tolist() == [12, 7]


@pytest.mark.parametrize("scales", DECAYS.values(), ids=DECAYS)
def test_gradients(scales):
    case = draw(2, 4, 2, (2, 3), scales=scales, groups=2)
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[0, :2] = False
    _, state = causal_focal_aggregation(**case, dilations=(2, 1))
    leaves = [case["context"], case["gates"], *case["kernels"]] + ([] if scales == 0 else [case["decay"]])
    for leaf in leaves:
        leaf.requires_grad_()

    def function(context, gates, first, second, decay=None):
        return causal_focal_aggregation(
            context, gates, [first, second], dilations=(2, 1), decay=decay, mask=mask, state=state
        )[0]

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def test_gradients_end_at_the_state():
    case = draw(1, 4, 4, (3,))
    case["context"].requires_grad_()
    _, state = causal_focal_aggregation(**case)
    assert not any(tensor.requires_grad for tensor in (*state.windows, state.running))


def test_a_state_of_zeros_is_the_beginning():
    case = draw(2, 5, 4, (3, 2), scales=2)
    fresh = initial_state(case["context"], case["kernels"], decay=case["decay"])
    assert torch.equal(causal_focal_aggregation(**case)[0], causal_focal_aggregation(**case, state=fresh)[0])


@pytest.mark.parametrize(("change", "words"), [
    ({"context": torch.zeros(2, 0, 4)}, "at least one position"),
    ({"gates": torch.zeros(2, 5, 2)}, "one weight per position"),
    ({"gates": torch.zeros(2, 5, 3, 3)}, "do not make 3 equal groups"),
    ({"kernels": [torch.zeros(4, 3), torch.zeros(3, 3)]}, r"kernels\[1\] must be \(4, k\)"),
    ({"dilations": (1, 0)}, "whole numbers from 1 up"),
    ({"decay": torch.zeros(3)}, "decay must be"),
    ({"mask": torch.ones(2, 5)}, "mask must be boolean"),
    ({"gates": torch.zeros(2, 5, 3).double()}, "gates must be torch.float32"),
])  # fmt: skip
def test_mistakes_are_named(change, words):
    arguments = {"context": torch.zeros(2, 5, 4), "gates": torch.zeros(2, 5, 3), "kernels": [torch.zeros(4, 3)] * 2}
    with pytest.raises(ShapeError, match=words):
        causal_focal_aggregation(**arguments | change)


def test_a_foreign_state_is_refused():
    case = draw(1, 4, 4, (3,), dtype=torch.float32)
    _, state = causal_focal_aggregation(**draw(1, 4, 4, (5,), dtype=torch.float32))
    with pytest.raises(ShapeError, match=r"must hold float32 \(1, 2, 4\)"):
        causal_focal_aggregation(**case, state=state)


def test_backends_by_name():
    case = draw(1, 4, 4, (3,))
    assert torch.equal(causal_focal_aggregation(**case, backend="reference")[0], causal_focal_aggregation(**case)[0])
    with pytest.raises(UnknownNameError, match="No backend is called 'cuda'"):
        causal_focal_aggregation(**case, backend="cuda")
    with pytest.raises(BackendUnavailableError, match="'triton' was asked for"):
        causal_focal_aggregation(**case, backend="triton")
