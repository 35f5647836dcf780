from __future__ import annotations

import pytest
import torch
from torch import nn

from focalnets.models import plain
from focalnets.models.layers import FocalModulation


@pytest.fixture
def padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pad as on a GPU."""
    monkeypatch.setattr(plain, "pads_projection", lambda tokens, layer: layer.weight.shape[0] % 8 != 0)


def run(modulation: FocalModulation, tokens: torch.Tensor) -> list[torch.Tensor]:
    tokens = tokens.detach().requires_grad_()
    result = modulation(tokens)
    return [result, *torch.autograd.grad(result.square().sum(), [tokens, *modulation.parameters()])]


@pytest.mark.parametrize("bias", [True, False])
def test_padding_the_projection_changes_no_result(bias: bool, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    modulation, tokens = FocalModulation(12, 3), torch.randn(2, 5, 7, 12)
    if not bias:
        modulation.input_projection = nn.Linear(12, 28, bias=False)
    plain_results = run(modulation, tokens)
    request.getfixturevalue("padded")
    assert plain.project_aligned(modulation.input_projection, tokens).shape == (2, 5, 7, 32)
    for got, expected in zip(run(modulation, tokens), plain_results, strict=True):
        torch.testing.assert_close(got, expected)


def test_rows_of_context_and_gates_begin_at_whole_loads(padded: None) -> None:
    modulation = FocalModulation(16, 2)
    seen = []
    modulation.aggregate = lambda part, mask: seen.append(part) or part[..., :16]  # type: ignore[method-assign]
    modulation(torch.randn(1, 3, 3, 16))
    assert all(stride % 8 == 0 for stride in seen[0].stride()[:-1])


def test_nothing_is_padded_on_a_cpu_nor_around_an_adapter() -> None:
    tokens = torch.randn(1, 3, 3, 12)
    modulation = FocalModulation(12, 3)
    assert plain.project_aligned(modulation.input_projection, tokens).shape[-1] == 28
    assert not plain.pads_projection(tokens, modulation.input_projection)


def test_exported_graphs_hold_only_what_others_know() -> None:
    exported = torch.export.export(FocalModulation(8, 2).eval(), (torch.randn(1, 6, 5, 8),))
    names = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert "aten.conv2d.default" in names
    assert not [name for name in names if "focalnets" in name or "mkldnn" in name]
