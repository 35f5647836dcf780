"""`focalnets doctor`: versions, devices, backends with reasons."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from pathlib import Path

import pytest

from focalnets.cli import doctor
from focalnets.cli.main import main
from focalnets.ops.backends import BACKENDS
from focalnets.weights import shipped


def test_json_says_what_is_installed_and_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert all(found["packages"].values())
    assert [backend["name"] for backend in found["backends"]] == list(BACKENDS)
    assert found["backends"][-1] == {
        "name": "reference",
        "summary": BACKENDS["reference"].summary,
        "available": True,
        "reason": None,
    }
    assert found["devices"]["cpu"]["threads"] >= 1
    assert found["devices"]["cuda"]["available"] == (found["devices"]["cuda"]["reason"] is None)


def test_a_backend_that_cannot_run_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = dataclasses.replace(BACKENDS["reference"], name="broken", why_unavailable=lambda: "no such processor.")
    monkeypatch.setitem(BACKENDS, "broken", broken)
    monkeypatch.setitem(doctor._OPTIONAL, "package-that-is-absent", "nothing")
    assert main(["doctor", "--json", str(tmp_path / "doctor.json")]) == 0
    output = capsys.readouterr().out
    assert "cannot run: no such processor." in output
    assert "not installed" in output
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert found["backends"][-1]["reason"] == "no such processor."


def test_writing_where_nothing_can_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert main(["doctor", "--json", str(tmp_path / "folder")]) == 2
    assert "folder" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_the_network_in_the_package_is_looked_for(
    shipped_stand_in: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["doctor"]) == 0
    assert "network in the package: focalnet_pico.imagenette, present" in capsys.readouterr().out
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert main(["doctor"]) == 0
    assert "focalnet_pico.imagenette, MISSING" in capsys.readouterr().out
