"""The comparison of causal focal modulation with attention runs at miniature size, and becomes a table."""

from __future__ import annotations

import json

import pytest
from benchmarks import causal
from benchmarks.command import main
from benchmarks.measure import DisagreementError
from benchmarks.results_page import write_page

from focalnets.models.sequence_generation import step_by_calls
from focalnets.ops import cpu

pytestmark = pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable()))


def test_its_result_becomes_a_table(tmp_path):
    assert main([causal.TOPIC], "tiny", [tmp_path / "causal.json"]) == 0
    result = json.loads((tmp_path / "causal.json").read_text())
    *generation, training = result["cases"]
    assert [case["name"].rpartition(", ")[2] for case in generation][::3] == ["focalnets", "attention"]
    states = [case["state_bytes"] for case in generation]
    assert all(len(set(state.values())) == 1 for state in states[:-1])  # focal: the same after few tokens and many
    assert states[-1]["40"] > 4 * states[-1]["8"]
    rows = {row["name"]: row for row in training["contenders"]}
    assert rows["focalnets"]["relative_error"] <= training["tolerance"]
    assert {row["status"] for row in rows.values()} == {"measured"}
    page = write_page(tmp_path, tmp_path / "results.md")
    section = page.partition("## Language: speed beside attention")[2].partition("\n## ")[0]
    assert section.count("| forward and backward, 24 tokens, batch 2 |") == len(rows)
    assert "Not measured yet" not in section


def test_a_step_that_computes_something_else_is_refused(monkeypatch):
    def wrong(network, state):
        step = step_by_calls(network, state)
        return lambda tokens: 1.1 * step(tokens)

    monkeypatch.setattr(causal, "begin_steps", wrong)
    with pytest.raises(DisagreementError, match="layers, after"):
        causal.TOPIC.cases("tiny")[0].run()
