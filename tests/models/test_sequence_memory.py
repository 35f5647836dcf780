"""The associative memory of causal focal modulation, beside its loop: chunks, state, padding, long texts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from focalnets.models.sequence import FocalLanguageModel
from focalnets.models.sequence_config import LanguageConfig
from focalnets.models.sequence_memory import AssociativeMemory, read_written

CONFIG = LanguageConfig(vocabulary_size=11, dim=12, depth=2, memory_keys=4, gate_heads=3)


def vectors(length, dtype=torch.float64):
    """Queries, keys (2, T, 3, 4), values (2, T, 3, 5) and what was written before them (2, 3, 4, 5)."""
    random = torch.Generator().manual_seed(0)
    shapes = ((2, length, 3, 4), (2, length, 3, 4), (2, length, 3, 5), (2, 3, 4, 5))
    return [torch.randn(shape, dtype=dtype, generator=random) for shape in shapes]


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("begins", [False, True])
def test_chunks_of_the_parallel_form_are_the_loop(length, begins):
    query, key, value, before = vectors(length)
    written, expected = before if begins else torch.zeros_like(before), []
    for position in range(length):
        written = written + key[:, position, :, :, None] * value[:, position, :, None]
        expected.append((query[:, position, :, None] @ written).squeeze(2))
    read, after = read_written(query, key, value, before if begins else None)
    torch.testing.assert_close(read, torch.stack(expected, 1))
    torch.testing.assert_close(after, written)


def test_derivatives():
    inputs = [each[:1, :, :1].requires_grad_() for each in vectors(70)[:3]]
    weights = torch.randn(1, 70, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad((read_written(*inputs)[0] * weights).sum(), inputs)
    seen = (inputs[0][:, :, 0] @ inputs[1][:, :, 0].mT).tril() @ inputs[2][:, :, 0]
    torch.testing.assert_close(got, torch.autograd.grad((seen.unsqueeze(2) * weights).sum(), inputs))


@torch.no_grad()
def test_a_value_is_found_under_the_token_before_it():
    """With keys that are the token before and queries that are the token, the memory tells what followed it."""
    memory = AssociativeMemory(8, 8)
    for projection in (memory.key_projection, memory.query_projection):
        projection.weight.copy_(torch.eye(8))
    memory.convolution.kernel.zero_()[:, -2] = 1
    tokens = F.one_hot(torch.tensor([[3, 5, 1, 6, 2, 7, 3]]), 8).float()
    read, state = memory(tokens, tokens)
    assert read[0, -1].argmax() == 5
    assert memory(tokens[:, :1] * 0 + F.one_hot(torch.tensor(1), 8), tokens[:, :1], state)[0].argmax() == 6


@torch.no_grad()
def test_positions_that_do_not_count_write_nothing_and_read_zero():
    memory = AssociativeMemory(12, 4, 3)
    tokens, context = torch.randn(2, 1, 90, 12).unbind(0)
    mask = torch.ones(1, 90, dtype=torch.bool)
    mask[:, :20] = mask[:, 85:] = False
    read, state = memory(tokens, context, None, mask)
    alone, own = memory(tokens[:, 20:85], context[:, 20:85])
    assert (read[~mask] == 0).all()
    torch.testing.assert_close(read[:, 20:85], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.written, own.written, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_long_texts_in_parts_give_the_whole_with_a_state_that_does_not_grow():
    torch.manual_seed(0)
    network = FocalLanguageModel(CONFIG).eval()
    tokens = torch.randint(11, (1, 2048))
    whole, _ = network(tokens)
    state, parts, sizes = None, [], []
    for part in tokens.split([1, 700, 64, 1283], 1):
        logits, state = network(part, state)
        parts.append(logits)
        sizes.append([entry.memory.written.shape for entry in state])
    assert (torch.cat(parts, 1) - whole).abs().max() <= 1e-5
    assert all(each == [(1, 3, 4, 4)] * 2 for each in sizes)


def test_half_precision_adds_in_full():
    torch.manual_seed(0)
    network = FocalLanguageModel(CONFIG)
    tokens = torch.randint(11, (2, 80))
    with torch.autocast("cpu", torch.bfloat16):
        logits, state = network(tokens)
    assert state[0].memory.written.dtype == torch.float64
    assert (logits.float() - network(tokens)[0]).abs().max() < 0.1
