"""Compilers and exporters take a stage of the engine as one operator, and answer as it does alone.

Axes: B batch, H W height and width [px].
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tests.engine.test_accelerate import network
from torch import Tensor

from focalnets.engine.accelerate import AcceleratedNetwork, accelerate, why_unavailable
from focalnets.errors import BackendUnavailableError
from focalnets.ops import cpu_library
from focalnets.ops.engine_stage import engine_stage

pytestmark = pytest.mark.skipif(isinstance(cpu_library.load(), str), reason="the C++ kernels were not built")


def fast_network(**fields: object) -> AcceleratedNetwork:
    return accelerate(network(**fields))


def images(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(4))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("stem", ["patch", "overlapped"])
def test_one_graph_for_all_sizes_and_one_operator_a_stage(stem: str) -> None:
    fast, seen = fast_network(stem=stem), []

    def record(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        seen.append(sum(node.target is torch.ops.focalnets.engine_stage.default for node in graph.graph.nodes))
        return graph

    compiled = torch.compile(fast, backend=record, fullgraph=True, dynamic=True)
    for sizes in ((2, 3, 64, 96), (3, 3, 45, 38), (2, 3, 70, 33)):
        torch.testing.assert_close(compiled(images(*sizes)), fast(images(*sizes)))
    assert set(seen) == {3}
    assert stem == "overlapped" or len(seen) == 1, "only convolutions of PyTorch ask whether the stride divides a size"


def test_masks_and_all_maps_compile() -> None:
    fast, batch = fast_network(pyramid_norms=True), images(2, 3, 40, 48)
    mask = torch.zeros(2, 40, 48, dtype=torch.bool)
    mask[0, :40, :30], mask[1, :21, :48] = True, True
    compiled = torch.compile(fast.forward_pyramid, backend="aot_eager", fullgraph=True)
    for got, expected in zip(compiled(batch, mask), fast.forward_pyramid(batch, mask), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_the_operator_is_one_for_compilers(precision: str) -> None:
    if (reason := why_unavailable(precision)) is not None:
        pytest.skip(reason)
    fast = accelerate(network(), precision)  # type: ignore[arg-type]
    stage = fast.stages[0]
    arguments = (images(2, 3, 21, 30), None, None, stage.packed, stage.layout, stage.stride, stage.channels)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.focalnets.engine_stage.default, (*arguments, stage.engine), test_utils=checks)
    with pytest.raises(BackendUnavailableError, match="packed for the engine of nowhere"):
        engine_stage(*arguments, "of nowhere")


def test_exported_programs_hold_the_weights(tmp_path: Path) -> None:
    fast = fast_network()
    # From two images and two tokens on: PyTorch lays out a map of one otherwise.
    batch, height, width = (
        torch.export.Dim(name, min=least, max=512) for name, least in (("batch", 2), ("height", 17), ("width", 17))
    )
    shapes = ({0: batch, 2: height, 3: width}, None)
    program = torch.export.export(fast, (images(2, 3, 64, 96), None), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "fast.pt2")
    again = torch.export.load(tmp_path / "fast.pt2").module()
    for sizes in ((2, 3, 64, 96), (3, 3, 45, 38)):
        torch.testing.assert_close(again(images(*sizes), None), fast(images(*sizes)))


@pytest.mark.slow
def test_compiled_ahead_of_time(tmp_path: Path) -> None:
    fast = fast_network()
    program = torch.export.export(fast, (images(2, 3, 64, 96),))
    with torch.no_grad():
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "fast.pt2"))
    loaded = torch._inductor.aoti_load_package(path)
    torch.testing.assert_close(loaded(images(2, 3, 64, 96)), fast(images(2, 3, 64, 96)))


def test_copies_are_whole() -> None:
    fast = fast_network()
    again = copy.deepcopy(fast)
    expected = fast(images(1, 3, 32, 32))
    del fast
    assert torch.equal(again(images(1, 3, 32, 32)), expected)
