"""The engine gives what the network gives: float32 to rounding, the others within what their numbers can hold.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import focalnets
from focalnets.engine.accelerate import PRECISIONS, accelerate, why_unavailable
from focalnets.errors import BackendUnavailableError, ConfigError, ShapeError, UnknownNameError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.ops import cpu_library

pytestmark = pytest.mark.skipif(isinstance(cpu_library.load(), str), reason="the C++ kernels were not built")

SMALL = {"embed_dim": 12, "depths": (1, 2, 1), "focal_levels": (3, 2, 1), "focal_windows": (3, 5, 3), "num_classes": 7}
VARIANTS = {
    "patches": {},
    "overlapped": {"stem": "overlapped"},
    "convolutional": {"stem": "convolutional"},
    "post norm, layer scale": {"post_norm": True, "layer_scale": 0.3},
    "layer scale": {"layer_scale": 0.3},
    "normalised modulator": {"normalize_modulator": True},
    "modulation norm": {"modulation_norm": True},
    "no levels": {"focal_levels": (0, 0, 0)},
    "width of no vector": {"embed_dim": 7},
    "wide": {"embed_dim": 100, "depths": (1, 1, 1), "mlp_ratio": 3.3},
    "one channel": {"in_chans": 1},
}
ERRORS = {"float32": 1e-5, "bfloat16": 0.08, "int8": 0.25}
"""Largest relative error on networks whose every weight is drawn so that it shows."""


def network(seed: int = 0, **fields: object) -> FocalNet:
    """Every weight has a visible effect on the output."""
    built = FocalNet(FocalNetConfig(**{**SMALL, **fields})).eval()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            deviation = 0.1 if weight.ndim == 1 else 1 / weight[0].numel() ** 0.5
            mean = 1.0 if weight.ndim == 1 and not name.endswith("bias") else 0.0
            weight.copy_(torch.randn(weight.shape, generator=generator) * deviation + mean)
    return built


def relative_error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact).norm() / exact.norm())


def runs(precision: str) -> None:
    if (reason := why_unavailable(precision)) is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize("fields", VARIANTS.values(), ids=list(VARIANTS))
def test_every_variant_gives_what_the_network_gives(fields: dict[str, object], precision: str) -> None:
    runs(precision)
    built = network(**fields)
    images = torch.randn(2, built.config.in_chans, 45, 38)
    with torch.no_grad():
        exact, eager = built.double()(images.double()), built.float()(images)
    error = relative_error(accelerate(built, precision)(images), exact)  # type: ignore[arg-type]
    limit = 2 * relative_error(eager, exact) + 1e-6 if precision == "float32" else ERRORS[precision]
    assert error <= limit
    assert precision == "float32" or error > 1e-4, "it was asked to round"


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (32, 32), (33, 70)])
def test_any_size_in_float32(size: tuple[int, int]) -> None:
    built, images = network(), torch.randn(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(accelerate(built)(images), built(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ERRORS)
def test_tasks_that_share_a_tall_map_see_the_context_as_it_was(precision: str) -> None:
    """What is gathered takes the place of the context, which other tasks still read on both sides of their borders."""
    runs(precision)
    built, images = network(), torch.randn(2, 3, 4 * 210, 20)  # of 210 rows of tokens, tasks take 70 each
    with torch.no_grad():
        exact, eager = built.double()(images.double()), built.float()(images)
    error = relative_error(accelerate(built, precision)(images), exact)  # type: ignore[arg-type]
    assert error <= (2 * relative_error(eager, exact) + 1e-6 if precision == "float32" else ERRORS[precision])


@pytest.mark.parametrize("precision", ERRORS)
def test_a_padded_image_gets_what_it_gets_alone(precision: str) -> None:
    runs(precision)
    fast = accelerate(network(), precision)  # type: ignore[arg-type]
    images, mask = torch.randn(2, 3, 40, 48), torch.zeros(2, 40, 48, dtype=torch.bool)
    mask[0, :40, :30], mask[1, :21, :48] = True, True
    together = fast(images, mask)
    alone = [fast(images[:1, :, :40, :30], mask[:1, :40, :30]), fast(images[1:, :, :21, :48], mask[1:, :21, :48])]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_all_outputs() -> None:
    images = torch.randn(1, 3, 50, 33)
    built = network(pyramid_norms=True)
    with torch.no_grad():
        for got, expected in zip(accelerate(built).forward_pyramid(images), built.forward_pyramid(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        classifier = network()
        fast = accelerate(classifier)
        torch.testing.assert_close(
            fast.forward_features(images), classifier.forward_features(images), rtol=1e-4, atol=1e-4
        )
        for got, expected in zip(fast.forward_pyramid(images), classifier.forward_pyramid(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="no classifier"):
        accelerate(built)(images)


def test_the_network_keeps_its_weights_and_later_changes_are_not_seen() -> None:
    built, images = network(), torch.randn(1, 3, 32, 32)
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    fast = focalnets.accelerate(built)
    first = fast(images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in built.state_dict().items())
    with torch.no_grad():
        for weight in built.parameters():
            weight.zero_()
    assert torch.equal(fast(images), first)
    del built
    assert torch.equal(fast(images.contiguous(memory_format=torch.channels_last)), first)


def test_equal_bits_whatever_the_threads_and_from_several_at_once() -> None:
    fast, images = accelerate(network()), torch.randn(3, 3, 64, 64)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(fast(images))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: fast(images), range(8)))
    assert all(torch.equal(result, results[0]) for result in together)


def test_what_is_not_as_built_is_refused_in_a_sentence() -> None:
    hooked = network()
    hooked.stages[1].blocks[0].mlp.register_forward_hook(lambda *_: None)
    with pytest.raises(ConfigError, match="has hooks"):
        accelerate(hooked)
    adapted = network()
    adapted.stages[0].blocks[0].mlp.fc1 = nn.Sequential(adapted.stages[0].blocks[0].mlp.fc1)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="not as it was built"):
        accelerate(adapted)
    with pytest.raises(UnknownNameError, match="float16"):
        accelerate(network(), "float16")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="FocalNet"):
        accelerate(nn.Linear(2, 2))  # type: ignore[arg-type]


def test_it_is_for_inference_on_images_only() -> None:
    fast = accelerate(network())
    with pytest.raises(ConfigError, match="inference only"):
        fast.train()
    assert not fast.eval().training
    for images in (torch.zeros(2, 4, 8, 8), torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8)):
        with pytest.raises(ShapeError, match="images must be"):
            fast(images)
    with pytest.raises(ShapeError, match="floating-point"):
        fast(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="mask must be"):
        fast(torch.zeros(1, 3, 8, 8), torch.ones(1, 8, 9, dtype=torch.bool))
    assert not fast(torch.zeros(1, 3, 8, 8, requires_grad=True)).requires_grad


def test_a_precision_without_its_instructions_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    library = cpu_library.load()
    assert not isinstance(library, str)
    slow = [
        dataclasses.replace(engine, missing=None if engine.precision == "float32" else "old")
        for engine in library.engines
    ]
    monkeypatch.setattr(library, "engines", tuple(slow))
    with pytest.raises(BackendUnavailableError, match="VNNI"):
        accelerate(network(), "int8")
    assert why_unavailable("float32") is None


@pytest.mark.parametrize("instruction_set", ["avx2", "baseline"])
def test_older_instruction_sets_give_the_same(instruction_set: str) -> None:
    """They are chosen when the library is loaded, so each needs a process of its own."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import torch; from tests.engine.test_accelerate import network; "
        "from focalnets.engine.accelerate import accelerate; built = network(); images = torch.randn(2, 3, 45, 38); "
        "fast = accelerate(built); print(fast.instruction_set); "
        "torch.testing.assert_close(fast(images), built(images).detach(), rtol=1e-4, atol=1e-4)"
    )
    folder = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "FOCALNETS_CPU_ISA": instruction_set}
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "does not have" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == instruction_set


def test_names_of_precisions() -> None:
    assert tuple(ERRORS) == PRECISIONS[1:]
