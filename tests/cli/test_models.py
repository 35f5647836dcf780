"""`focalnets models`: the table, its figures, and its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from focalnets.cli.main import main
from focalnets.models.variants import VARIANTS


def test_the_table_names_every_network_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    assert all(f"{name} " in output for name in VARIANTS)
    assert "…" not in output
    assert "28.43" in output


def test_json_on_standard_output_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tiny_srf", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in content["models"]}
    assert set(rows) == {name for name in VARIANTS if "tiny_srf" in name}
    row = rows["focalnet_tiny_srf"]
    assert row["parameters"] / 1e6 == pytest.approx(row["published_parameters_m"], abs=0.005)
    assert row["macs"] / 1e9 == pytest.approx(row["published_gmacs_at_224"], abs=0.01)
    assert row["published_weights"][0] == "timm/focalnet_tiny_srf.ms_in1k"
    assert rows["focalnet_tiny_srf_overlapped"]["overlap_macs"] > 0


def test_json_in_a_file_and_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "models.json"
    assert main(["models", "*_lrf", "--size", "448", "--json", str(path)]) == 0
    assert "focalnet_tiny_lrf" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["size_px"] == 448
    assert content["models"][0]["macs"] > 4 * 4.4e9
    assert [one.name for one in tmp_path.iterdir()] == ["models.json"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["nothing"], "No network is called like 'nothing'"), (["--size", "0"], "--size must be a whole number")],
)
def test_mistakes(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *argv]) == 2
    assert words in capsys.readouterr().err


def test_listing_needs_no_torch() -> None:
    code = "import sys; from focalnets.cli.main import main; main(['models', 'pico']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False).returncode == 0


def test_the_network_in_the_package_is_listed_with_what_it_knows(
    shipped_stand_in: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pico"]) == 0
    shown = capsys.readouterr().out
    assert "focalnet_pico.imagenette (" in shown
    assert "top-1 93.8 % on its images held out" in shown
    assert "knows 10 classes: tench, English springer, " in shown
    assert main(["models", "imagenette", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["models"] == []
    (inside,) = content["inside_the_package"]
    assert (inside["variant"], inside["input_size_px"], len(inside["class_names"])) == ("focalnet_pico", 128, 10)
    assert main(["models", "pico", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert (row["published_weights"], row["weights_trained_on"]) == (["focalnet_pico.imagenette"], "Imagenette")
    assert main(["models", "tiny_srf"]) == 0
    assert "in the package" not in capsys.readouterr().out


def test_networks_for_places_in_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from focalnets.models.heads.table import DENSE_NETWORKS

    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in DENSE_NETWORKS)
    assert main(["models", "maskrcnn_*pico", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["models"] == []
    (row,) = content["dense_models"]
    assert (row["task"], row["backbone"], row["input_size_px"]) == ("instance", "focalnet_pico", 256)


@pytest.mark.parametrize(
    "name",
    ["fasterrcnn_focalnet_pico", "maskrcnn_focalnet_pico", "semantic_focalnet_pico", "upernet_focalnet_tiny_srf",
     "maskrcnn_focalnet_base_lrf", "rtdetr_focalnet_pico", "dfine_focalnet_tiny_lrf",
     "mask2former_instance_focalnet_pico", "mask2former_semantic_focalnet_pico",
     "mask2former_panoptic_focalnet_small_srf"],
)  # fmt: skip
def test_their_parameters_are_those_of_the_networks(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    import focalnets
    from focalnets.models.heads.sizes import COUNTED_CLASSES
    from focalnets.models.heads.table import DENSE_NETWORKS
    from focalnets.tasks.table import build_task

    if "detr" in name or "dfine" in name or "former" in name:
        pytest.importorskip("transformers")
    row, labels = DENSE_NETWORKS[name], [f"class {number}" for number in range(COUNTED_CLASSES)]
    task = build_task(row.task, model=name)
    with torch.device("meta"):
        fields = {**VARIANTS[row.backbone].config.to_dict(), **row.backbone_fields, **task.network_fields(labels)}
        backbone = focalnets.FocalNet(focalnets.FocalNetConfig.from_dict(fields))
        module = task.build(backbone, labels, pretrained=False)
    assert main(["models", name, "--json"]) == 0
    shown = {each["name"]: each for each in json.loads(capsys.readouterr().out)["dense_models"]}[name]
    assert shown["parameters"] == sum(each.numel() for each in module.parameters())
    assert shown["parameters_of_backbone"] == sum(each.numel() for each in module.backbone.parameters())
