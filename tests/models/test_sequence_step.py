"""The fused step of a causal network: what calling the layers one by one gives, and when it steps aside."""

from __future__ import annotations

import itertools

import pytest
import torch

from focalnets.errors import BackendUnavailableError
from focalnets.models.sequence import FocalLanguageModel, begin_steps
from focalnets.models.sequence_config import LanguageConfig
from focalnets.models.sequence_generation import step_by_calls
from focalnets.models.sequence_step import FusedStep, can_fuse
from focalnets.ops import cpu, cpu_library

pytestmark = pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable()))

KINDS = {
    "mean": {},
    "scales": {"running": "ema", "scales": 3, "gate_heads": 4},
    "gated": {"running": "gated"},
    "odd sizes": {"dim": 50, "kernel_sizes": (4, 1, 2), "dilations": (2, 1, 16), "gate_heads": 5, "mlp_ratio": 1.7},
    "no level": {"kernel_sizes": ()},
    "hybrid": {"attention_every": 2, "depth": 3},
    "attention first": {"attention_every": 1, "dim": 36, "attention_heads": 2},
    "large layers": {"dim": 400, "depth": 1},
    "memory": {"memory_keys": 8},
    "memory in groups": {"dim": 42, "memory_keys": 5, "gate_heads": 3, "running": "ema", "scales": 2},
    "memory of a hybrid": {"memory_keys": 17, "attention_every": 2, "gate_heads": 2, "depth": 3},
}


def build(kind="mean", **fields):
    torch.manual_seed(0)
    return FocalLanguageModel(LanguageConfig(**{"vocabulary_size": 19, "dim": 32, "depth": 2} | KINDS[kind] | fields))


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instruction_set(request, monkeypatch):
    """Makes the kernels run with one of the instruction sets that this processor has."""
    monkeypatch.setenv("FOCALNETS_CPU_ISA", request.param)
    try:
        library = cpu_library.Library()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cpu_library, "load", lambda: library)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_steps_are_those_of_the_layers(kind):
    network = build(kind).eval()
    for parameter in network.parameters():  # also biases and norms that are not what they begin as
        parameter.add_(0.1 * torch.randn_like(parameter))
    tokens = torch.randint(19, (3, 30))
    mask = torch.ones(3, 30, dtype=torch.bool)
    mask[1, :4] = False
    _, state = network(tokens[:, :9], None, mask[:, :9])
    fused, plain = begin_steps(network, state), step_by_calls(network, state)
    assert isinstance(fused, FusedStep)
    for position in range(9, 30):
        expected = plain(tokens[:, position])
        assert (fused(tokens[:, position]) - expected).abs().max() <= 2e-5 * max(1, expected.abs().max())
    assert fused.count.tolist() == [30, 26, 30]


def held_by(entry):
    if entry is None or isinstance(entry, torch.Tensor):
        return [] if entry is None else [entry]
    return [held for part in entry for held in held_by(part)]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["hybrid", "memory"])
def test_the_state_given_stays_as_it_was(kind):
    network = build(kind).eval()
    _, state = network(torch.randint(19, (1, 9)))
    before = [held.clone() for entry in state for held in held_by(entry)]
    begin_steps(network, state)(torch.zeros(1, dtype=torch.int64))
    assert all(map(torch.equal, before, [held for entry in state for held in held_by(entry)]))


@torch.inference_mode()
def test_the_memory_of_attention_grows():
    network = build("hybrid").eval()
    tokens = torch.randint(19, (2, 700))
    whole, _ = network(tokens)
    step = begin_steps(network, network(tokens[:, :250])[1])
    for position in range(250, 700):
        logits = step(tokens[:, position])
    assert (logits - whole[:, -1]).abs().max() <= 1e-5


def fuses(network):
    with torch.inference_mode():
        return isinstance(begin_steps(network, network(torch.zeros(1, 3, dtype=torch.int64))[1]), FusedStep)


def test_whoever_looks_on_gets_the_layers():
    network = build().eval()
    assert fuses(network)
    handle = network.blocks[1].mixer.output_projection.register_forward_hook(lambda *_: None)
    assert not fuses(network)
    handle.remove()
    assert fuses(network)
    network.blocks[0].norm1 = torch.nn.Sequential(network.blocks[0].norm1)
    assert not fuses(network)


def test_other_networks_go_by_calls():
    assert not fuses(build().double().eval())
    network = build("memory").eval()
    network.blocks[0].mixer.memory.key_projection = torch.nn.Identity()
    assert not can_fuse(network, network.blocks, network.embedding, network.head, ())
    network = build().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert not fuses(network)


def test_weights_changed_between_tokens_are_seen():
    network = build().eval()
    tokens = network.generate([1, 2], temperature=0)
    next(tokens)
    with torch.no_grad():
        network.embedding.weight.zero_()
    assert [int(token) for token in itertools.islice(tokens, 3)] == [0, 0, 0]
