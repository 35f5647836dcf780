"""What the README says is true: its example runs, its commands and folders exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from focalnets.cli.main import COMMANDS
from focalnets.training.recipes import RECIPES, in_miniature, small

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run_example(example, folder):
    assert len(example.strip().splitlines()) <= 12
    program = folder / "example.py"
    program.write_text(example, encoding="utf-8")
    runpy.run_path(str(program))


def test_the_example_of_the_verbs_runs(shipped_stand_in, write_coloured_images, tmp_path, monkeypatch, capsys):
    write_coloured_images(tmp_path / "photos", 5)
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photos" / "red" / "0.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    # The same in small: a network that learns in seconds.
    monkeypatch.setitem(RECIPES, "small", lambda: in_miniature(small()))
    run_example(EXAMPLES[0].replace('model="focalnet_pico", epochs=20', "epochs=1"), tmp_path)
    assert "run/split.json" in capsys.readouterr().out
    assert (tmp_path / "results.csv").exists()
    assert (tmp_path / "seen.pdf").exists()


def test_the_example_of_the_networks_runs(tmp_path, capsys):
    run_example(EXAMPLES[1], tmp_path)
    assert len(EXAMPLES) == 2
    assert "torch.Size([1, 10])" in capsys.readouterr().out


def test_every_command_is_shown_and_every_command_shown_exists():
    table = set(re.findall(r"^\| `focalnets (\w+)", README, re.MULTILINE))
    assert table == set(COMMANDS)
    assert set(re.findall(r"^ {4}focalnets (\w+)", README, re.MULTILINE)) <= set(COMMANDS)


def test_the_two_commands_stand_there():
    assert "pip install . && focalnets demo" in README
    assert "pip install '.[test]' && pytest" in README


def test_the_tree_names_every_folder():
    rooms = {p.name for p in (ROOT / "src" / "focalnets").iterdir() if p.is_dir() and not p.name.startswith("__")}
    tops = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name in {"tests", "benchmarks", "docs", "examples"}}
    for folder in rooms | tops:
        assert re.search(rf"^ +{folder}/ ", README, re.MULTILINE), f"README's tree does not name {folder}/"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_between_pages_lead_somewhere(page):
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}"
