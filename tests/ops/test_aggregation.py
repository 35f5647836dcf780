"""The reference against explicit loops and finite differences, and the public function's checks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck

import focalnets
from focalnets.errors import BackendUnavailableError, ShapeError, UnknownNameError
from focalnets.ops.backends import BACKENDS, select_backend


def draw(batch, size, channels, kernel_sizes, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    kernels = [normal(channels, *k) / math.sqrt(math.prod(k)) for k in kernel_sizes]
    return normal(batch, *size, channels), normal(batch, *size, len(kernels) + 1), kernels


def gelu(value):
    return 0.5 * value * (1 + math.erf(value / math.sqrt(2)))


def by_loops(context, gates, kernels, *, normalize=False):
    """Equations 4 and 5 one number at a time, sharing nothing with the package."""
    batch, *size, channels = context.shape
    positions = list(itertools.product(*map(range, size)))
    out = torch.zeros_like(context)
    for b, c in itertools.product(range(batch), range(channels)):
        level = {p: context[(b, *p, c)].item() for p in positions}
        for index, kernel in enumerate(kernels):
            following = {}
            for p in positions:
                total = 0.0
                for tap in itertools.product(*map(range, kernel.shape[1:])):
                    at = tuple(x + t - k // 2 for x, t, k in zip(p, tap, kernel.shape[1:], strict=True))
                    total += level.get(at, 0.0) * kernel[(c, *tap)].item()
                following[p] = gelu(total)
            level = following
            for p in positions:
                out[(b, *p, c)] += gates[(b, *p, index)].item() * level[p]
        everywhere = gelu(sum(level.values()) / len(positions))
        for p in positions:
            out[(b, *p, c)] += gates[(b, *p, -1)].item() * everywhere
    return out / (len(kernels) + 1) if normalize else out


CASES = [
    ((5,), 2, [(3,), (5,)]),
    ((1,), 3, [(3,)]),
    ((1, 1), 2, [(3, 3), (5, 5)]),
    ((4, 7), 3, [(3, 3), (5, 5)]),
    ((2, 3), 1, [(7, 7)]),
    ((3, 5), 2, [(1, 3)]),
    ((3, 2), 5, []),
    ((2, 3, 4), 2, [(3, 3, 3)]),
]


@pytest.mark.parametrize(("size", "channels", "kernel_sizes"), CASES)
@pytest.mark.parametrize("normalize", [False, True])
def test_reference_equals_loops(size, channels, kernel_sizes, normalize):
    context, gates, kernels = draw(2, size, channels, kernel_sizes)
    result = focalnets.focal_aggregation(context, gates, kernels, normalize=normalize, backend="reference")
    torch.testing.assert_close(result, by_loops(context, gates, kernels, normalize=normalize), rtol=1e-12, atol=1e-12)
    assert result.is_contiguous()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("size", "channels", "kernel_sizes"), [CASES[0], CASES[5], CASES[6], CASES[7]])
def test_reference_gradients(size, channels, kernel_sizes, masked):
    context, gates, kernels = draw(2, size, channels, kernel_sizes)
    mask = torch.rand(2, *size, generator=torch.Generator().manual_seed(3)) < 0.7 if masked else None
    inputs = [tensor.requires_grad_() for tensor in (context, gates, *kernels)]

    def function(context, gates, *kernels):
        return focalnets.focal_aggregation(context, gates, kernels, mask=mask, normalize=True, backend="reference")

    assert gradcheck(function, inputs)


@pytest.mark.parametrize("kernel_sizes", [[], [(3, 3)], [(3, 3), (5, 5), (7, 7)]])
def test_mask_makes_a_padded_batch_equal_to_its_images_alone(kernel_sizes):
    sizes = [(5, 9), (8, 3), (1, 1)]
    images = [draw(1, size, 4, kernel_sizes, seed=index) for index, size in enumerate(sizes)]
    kernels = images[0][2]
    context, gates = torch.full((3, 8, 9, 4), 1e4).double(), torch.full((3, 8, 9, len(kernels) + 1), 1e4).double()
    mask = torch.zeros(3, 8, 9, dtype=torch.bool)
    for index, (height, width) in enumerate(sizes):
        context[index, :height, :width], gates[index, :height, :width] = images[index][0][0], images[index][1][0]
        mask[index, :height, :width] = True
    batched = focalnets.focal_aggregation(context, gates, kernels, mask=mask, backend="reference")
    for index, (height, width) in enumerate(sizes):
        alone = focalnets.focal_aggregation(*images[index][:2], kernels, backend="reference")[0]
        torch.testing.assert_close(batched[index, :height, :width], alone)
    assert not batched[~mask].any()


def test_an_image_without_valid_tokens_gives_zeros():
    context, gates, kernels = draw(1, (3, 3), 2, [(3, 3)])
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    assert not focalnets.focal_aggregation(context, gates, kernels, mask=mask).any()


def test_nan_outside_the_mask_does_not_leak():
    context, gates, kernels = draw(1, (4, 4), 2, [(3, 3)])
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[0, 3] = False
    context[0, 3], gates[0, 3] = torch.nan, torch.nan
    assert focalnets.focal_aggregation(context, gates, kernels, mask=mask, backend="reference").isfinite().all()


def test_an_empty_batch_passes_through():
    context, gates, kernels = draw(0, (4, 4), 2, [(3, 3)], dtype=torch.float32)
    assert focalnets.focal_aggregation(context, gates, kernels).shape == (0, 4, 4, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, g, k: (c[0, 0], g, k), "context"),
        (lambda c, g, k: (c.long(), g, k), "floating"),
        (lambda c, g, k: (c[:, :0], g[:, :0], k), "at least one position"),
        (lambda c, g, k: (c, g[..., :1], k), "gates"),
        (lambda c, g, k: (c, g.float(), k), "gates"),
        (lambda c, g, k: (c, g, [k[0][:1]]), r"kernels\[0\]"),
        (lambda c, g, k: (c, g, [k[0][:, :2]]), "odd"),
        (lambda c, g, k: (c, g, [k[0].float()]), r"kernels\[0\]"),
    ],
)
def test_wrong_input_is_named(change, words):
    context, gates, kernels = change(*draw(1, (4, 4), 2, [(3, 3)]))
    with pytest.raises(ShapeError, match=words):
        focalnets.focal_aggregation(context, gates, kernels)


@pytest.mark.parametrize("mask", [torch.ones(1, 4, 3, dtype=torch.bool), torch.ones(1, 4, 4)])
def test_a_wrong_mask_is_named(mask):
    context, gates, kernels = draw(1, (4, 4), 2, [(3, 3)])
    with pytest.raises(ShapeError, match="mask"):
        focalnets.focal_aggregation(context, gates, kernels, mask=mask)


def test_unknown_backend():
    with pytest.raises(UnknownNameError, match="reference"):
        focalnets.focal_aggregation(*draw(1, (2, 2), 1, []), backend="cuda")


def test_a_backend_asked_for_by_name_never_falls_back(monkeypatch):
    unavailable = focalnets.ops.backends.dataclasses.replace(BACKENDS["reference"], why_unavailable=lambda: "Broken.")
    monkeypatch.setitem(BACKENDS, "reference", unavailable)
    with pytest.raises(BackendUnavailableError, match="Broken"):
        focalnets.focal_aggregation(*draw(1, (2, 2), 1, []), backend="reference")


def test_every_backend_says_in_a_sentence_why_it_is_not_there():
    for backend in BACKENDS.values():
        reason = backend.why_unavailable()
        assert reason is None or (reason.endswith(".") and len(reason) > 20), backend.name
    assert select_backend(*draw(1, (2, 2), 1, [], dtype=torch.float32), None).why_unavailable() is None
