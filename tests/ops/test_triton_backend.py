from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from focalnets.ops import triton_backend
from focalnets.ops.reference import focal_aggregation_reference

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (there is none for this system)"
)


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Triton decides when it is imported whether it interprets, so every script gets a process of its own."""
    paths = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    usual = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, str(HERE / name), *arguments],
        env={**usual, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_triton
@pytest.mark.parametrize("what", ["values", "operator", "derivatives"])
def test_kernels_in_the_interpreter(what: str) -> None:
    done = run_script("triton_interpreter_checks.py", what)
    if done.returncode == 77:
        pytest.skip("the interpreter of this triton does not work with this numpy")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.parametrize("what", ["values", "chunks", "operator"])
def test_causal_kernels_in_the_interpreter(what: str) -> None:
    done = run_script("causal_triton_interpreter_checks.py", what)
    if done.returncode == 77:
        pytest.skip("the interpreter of this triton does not work with this numpy")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.parametrize(
    ("capability", "dtype", "masked"), [("90", "float16", "unmasked"), ("80", "bfloat16", "masked")]
)
def test_kernels_compile_without_a_gpu(capability: str, dtype: str, masked: str, tmp_path: Path) -> None:
    done = run_script("triton_compile_checks.py", capability, dtype, masked, TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    compiled = {line.split()[0] for line in done.stdout.splitlines()}
    assert compiled == {
        "whole_map_kernel",
        "level_kernel",
        "finish_kernel",
        "position_sum_kernel",
        "gate_gradient_kernel",
        "level_gradient_kernel",
        "kernel_gradient_kernel",
        "aggregate_kernel",
        "scan_kernel",
        "recompute_kernel",
        "gradient_kernel",
    }


def test_without_triton_the_backend_imports_and_says_so() -> None:
    code = (
        "import sys; sys.modules['triton'] = None; from focalnets.ops import triton_backend; "
        "print(triton_backend.why_unavailable())"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Triton is not installed")


@pytest.mark.parametrize(
    ("context", "kernel", "words"),
    [
        (torch.zeros(1, 2, 2, 2, 3), torch.zeros(3, 1, 1, 1), "one or two spatial axes, the context has 3"),
        (torch.zeros(1, 2, 2, 3, dtype=torch.float64), torch.zeros(3, 1, 1), "the context is torch.float64"),
        (torch.zeros(1, 2, 2, 3), torch.zeros(3, 1, 1), "the context is on cpu"),
        (torch.zeros(1, 2, 2, 3, device="meta"), torch.zeros(3, 1, 1), "the context is on meta"),
    ],
)
def test_tensors_it_cannot_take_are_named(context: torch.Tensor, kernel: torch.Tensor, words: str) -> None:
    gates = torch.zeros(*context.shape[:-1], 2)
    reason = triton_backend.why_unsupported(context, gates, [kernel], None)
    assert reason is not None
    assert words in reason


def gpu_problem(
    shape: tuple[int, ...], sizes: list[int], dtype: torch.dtype
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Projection (B, *S, 2 C + L + 1), kernels and gradient of the result, float64 but exact in ``dtype``."""
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator, device="cuda").to(dtype).double()

    *positions, channels = shape
    kernels = [draw(channels, *([size] * (len(shape) - 2))) / size for size in sizes]
    kernels = [kernel.to(dtype).double() for kernel in kernels]
    return draw(*positions, 2 * channels + len(sizes) + 1), kernels, draw(*shape)


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((8, 56, 56, 96), [3, 5, 7]),
        ((64, 28, 28, 192), [3, 5]),
        ((32, 14, 14, 384), [3, 5, 7]),
        ((3, 7, 7, 768), [3, 5, 7]),
        ((1, 200, 304, 96), [9, 11, 13]),
        ((2, 5, 9, 40), []),
        ((4, 1000, 64), [3, 7]),
    ],
    ids=str,
)
def test_real_shapes_on_a_gpu(shape: tuple[int, ...], sizes: list[int], masked: bool, dtype: torch.dtype) -> None:
    projection, kernels, out_gradient = gpu_problem(shape, sizes, dtype)
    mask = torch.rand(shape[:-1], device="cuda") > 0.3 if masked else None
    channels = shape[-1]

    def evaluate(function, dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [tensor.to(dtype).requires_grad_() for tensor in (projection, *kernels)]
        context, gates = inputs[0][..., channels : 2 * channels], inputs[0][..., 2 * channels :]
        out = function(context, gates, inputs[1:], normalize=True, mask=mask)
        return [out.detach(), *torch.autograd.grad(out, inputs, out_gradient.to(dtype))]

    exact = evaluate(focal_aggregation_reference, torch.float64)
    plain = evaluate(focal_aggregation_reference, dtype)
    ours = evaluate(triton_backend.focal_aggregation_triton, dtype)
    again = evaluate(triton_backend.focal_aggregation_triton, dtype)
    for our, same, true, usual in zip(ours, again, exact, plain, strict=True):
        band = torch.finfo(dtype).eps * true.abs().max()
        assert (our.double() - true).abs().max() <= 2 * ((usual.double() - true).abs().max() + band)
        assert torch.equal(our, same)


@pytest.mark.gpu
@needs_triton
@pytest.mark.parametrize("whole_map", [False, True])
def test_both_forward_paths_on_a_gpu(whole_map: bool) -> None:
    from focalnets.ops import triton_launch

    projection, kernels, _ = gpu_problem((6, 28, 28, 96), [3, 5, 7], torch.float32)
    exact = focal_aggregation_reference(projection[..., 96:192], projection[..., 192:], kernels)
    inputs = [tensor.float() for tensor in (projection, *kernels)]
    context, gates = inputs[0][..., 96:192], inputs[0][..., 192:]
    plain = focal_aggregation_reference(context, gates, inputs[1:])
    ours = triton_launch.forward(context, gates, inputs[1:], None, False, whole_map=whole_map)
    band = torch.finfo(torch.float32).eps * exact.abs().max()
    assert (ours - exact).abs().max() <= 2 * ((plain - exact).abs().max() + band)


@pytest.mark.gpu
@needs_triton
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # raised within opcheck
def test_operator_on_a_gpu() -> None:
    projection, kernels, _ = gpu_problem((2, 9, 7, 24), [3, 5], torch.float32)
    projection, kernels = projection.float(), [kernel.float().requires_grad_() for kernel in kernels]
    context, gates = projection[..., 24:48].requires_grad_(), projection[..., 48:].requires_grad_()
    operator = torch.ops.focalnets.focal_aggregation_triton.default
    torch.library.opcheck(operator, (context, gates, kernels, None, True))
    compiled = torch.compile(triton_backend.focal_aggregation_triton, fullgraph=True)
    assert torch.equal(compiled(context, gates, kernels), operator(context, gates, kernels, None, False))


@pytest.mark.gpu
@needs_triton
def test_a_shape_class_is_timed_once() -> None:
    from focalnets.ops import triton_launch

    def call(height: int) -> int:
        context, gates = torch.randn(2, height, 30, 64, device="cuda"), torch.randn(2, height, 30, 2, device="cuda")
        triton_launch.forward(context, gates, [torch.randn(64, 3, 3, device="cuda")], None, False, whole_map=False)
        return triton_launch.TUNER.timed_classes

    timed = call(30)
    assert timed > 0
    assert call(31) == call(28) == timed
