"""Verdicts in the model card of a run, and an earlier network beside a new one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tests.report.reading import Page

import focalnets
from focalnets.auditing.against import against_verdicts, compare_with
from focalnets.auditing.card import card_of
from focalnets.cli.main import main
from focalnets.errors import ConfigError


def test_a_network_that_became_worse_for_one_group_is_found():
    random = np.random.default_rng(0)
    place = np.repeat(["garden", "street"], [200, 800])
    before = random.random(1000) < 0.9
    now = before & ~((place == "garden") & (random.random(1000) < 0.3))
    against = compare_with("before", now, before, {"place": list(place)}, gap=0.05, alpha=0.05, least=30)
    statuses = {change.name: change.status for change in against.changes}
    assert statuses == {"all images": "found", "place = garden": "found", "place = street": "nothing found"}
    assert len(against_verdicts(against, images=1000)) == 2
    same = compare_with("before", before, before, {}, gap=0.05, alpha=0.05, least=30)
    assert [verdict.kind for verdict in against_verdicts(same, images=1000)] == ["nothing"]


def test_the_card_takes_the_verdicts_once(coloured_run, coloured_images, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(coloured_run, run)
    card = run / "README.md"
    before = card.read_text()
    options = ["--most_changed", "0", "--card", "--against", str(coloured_run), "--fail_on", "against"]
    for _ in range(2):
        assert main(["audit", str(run), str(coloured_images), *options, "--output", str(tmp_path / "out")]) == 0
    text = card.read_text()
    assert text.count("## Audit") == 1
    start, end = text.index("## Audit"), text.index("## Limits")
    assert text[:start] + text[end:] == before
    audited = json.loads((tmp_path / "out" / "audit.json").read_text())
    for verdict in audited["verdicts"][:5]:
        assert verdict["sentence"][:20] in text[start:end]
    assert audited["against"]["changes"][0]["difference"]["value"] == 0.0
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "Against the earlier network" in page.text
    assert "The most confident errors" in page.text or not audited["looks"]["errors"]


def test_a_network_without_card_or_of_other_classes_is_refused(coloured_run, coloured_images, shipped_stand_in):
    with pytest.raises(ConfigError, match="no folder of a run"):
        card_of(None)
    with pytest.raises(ConfigError, match="has other classes"):
        focalnets.audit(coloured_images, coloured_run, against="focalnet_pico.imagenette", most_changed=0)


def test_a_card_that_is_not_in_utf_8_is_refused_before_the_work(coloured_run, coloured_images, tmp_path, capsys):
    shutil.copy(coloured_run / "best.safetensors", tmp_path)
    (tmp_path / "README.md").write_bytes(b"caf\xe9 \xff")
    assert main(["audit", str(tmp_path), str(coloured_images), "--card"]) == 2
    shown = capsys.readouterr()
    assert "is not in UTF-8" in shown.err
    assert not shown.out


def test_an_earlier_network_of_other_classes_is_refused_before_the_work(
    coloured_run, coloured_images, shipped_stand_in
):
    seen = []
    with pytest.raises(ConfigError, match="has other classes"):
        focalnets.audit(
            coloured_images,
            coloured_run,
            against="focalnet_pico.imagenette",
            on_progress=lambda *done: seen.append(done),
        )
    assert not seen
