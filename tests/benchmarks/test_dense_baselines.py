"""The loop that ours and torchvision's networks share: every contender learns and is measured, and rows are kept."""

from __future__ import annotations

import json
import math

import pytest
import torch
from benchmarks import dense_baselines, dense_contenders
from benchmarks.dense_baselines import format_tables, main, measure_all, run_one, settings_for
from benchmarks.dense_contenders import CONTENDERS

from focalnets.training.data import training_loader, validation_loader

TASKS = tuple(CONTENDERS)
SMALL = {"image_size": 64, "batch_size": 2, "limit_val_batches": 1}


@pytest.fixture(scope="module")
def opened():
    return {task: settings_for("scenes:5", task, SMALL) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_every_contender_has_a_loss_with_gradients_and_is_measured(opened, task):
    config, data = opened[task]
    spec = dense_baselines._spec(config, data)
    batch = next(iter(training_loader(config.build_task(), data, config, spec)))
    held_out = next(iter(validation_loader(config.build_task(), data, config, spec)))
    for contender in CONTENDERS[task]:
        if "50" in contender.name:
            continue  # the same classes with more layers
        learner = contender.build(config.build_task(), config, data.labels)
        learner.module.train()
        loss = learner.loss(batch)
        loss.backward()
        assert math.isfinite(loss.item())
        weights = [parameter for parameter in learner.module.parameters() if parameter.requires_grad]
        assert sum(parameter.grad is not None for parameter in weights) > 0.9 * len(weights)
        assert any(not learner.is_head(name) for name, _ in learner.module.named_parameters())
        metrics = config.build_task().metrics(data.labels)
        learner.module.eval()
        with torch.inference_mode():
            learner.measure(learner.module, metrics, held_out)
        assert min(map(float, metrics.compute().values())) >= 0


def test_torchvisions_boxes_and_masks_come_back_to_the_photos(opened):
    config, data = opened["instance"]
    task = config.build_task()
    spec = dense_baselines._spec(config, data)
    batch = next(iter(validation_loader(task, data, config.replace(batch_size=1), spec)))

    class Knows(torch.nn.Module):
        """Says what the data says, in pixels of the input."""

        def forward(self, images):
            (target,), (image,) = batch.targets, images
            labels, count = target["labels"] + 1, len(target["labels"])
            masks = target["masks"][:, None].float()
            assert masks.shape[-2:] == image.shape[-2:]
            return [{"boxes": target["boxes"], "labels": labels, "scores": torch.ones(count), "masks": masks}]

    learner = dense_contenders.TorchvisionDetector(Knows(), task, config)
    metrics = task.metrics(data.labels)
    learner.measure(learner.module, metrics, batch)
    figures = {name: float(value) for name, value in metrics.compute().items()}
    assert figures["map"] > 0.99
    assert figures["mask_map50"] > 0.8  # masks were brought to a third of the size and back


def test_runs_end_with_the_clock_and_go_on_where_they_were(opened, tmp_path, monkeypatch, capsys):
    config, data = opened["semantic"]
    row = run_one(CONTENDERS["semantic"][1], config, data, minutes=0.02, clock="wall")
    assert row["steps"] >= 1
    assert row["images"] == 2 * row["steps"]
    assert row["training_s"] >= 1.2
    assert 0 <= row["figures"]["miou"] <= 1
    output, done = tmp_path / "rows.json", []

    def instead(contender, config, data, **_):
        done.append((contender.name, config.seed, config.learning_rate))
        if "DeepLab" in contender.name and len(done) < 6:
            raise RuntimeError("broke down")
        return row

    monkeypatch.setattr(dense_baselines, "run_one", instead)
    options = {"minutes": 0.02, "seeds": [0], "task": "semantic", "changes": SMALL}
    rows = measure_all("scenes:5", output, baseline_rate=0.5, **options)
    assert [name for name, _, _ in done] == [contender.name for contender in CONTENDERS["semantic"]]
    assert {rate for name, _, rate in done if "torchvision" in name} == {0.5}
    assert sum("failed" in each for each in rows) == 1
    rows = measure_all("scenes:5", output, baseline_rate=0.5, **options)
    assert len(done) == 6  # the one that failed is tried again
    measure_all("scenes:5", output, **{**options, "seeds": [0, 1], "task": "semantic"}, only=["recipe"])
    assert len(done) == 7
    content = json.loads(output.read_text())
    assert len(content["rows"]) == 6
    tables = format_tables(content["rows"])
    assert "semantic, scenes:5, 64 px, 0.02 minutes each:" in tables
    assert "| focalnets, the recipe |" in tables
    capsys.readouterr()
    assert main(["--output", str(output)]) == 0
    assert capsys.readouterr().out.strip() == tables


def test_the_rate_follows_the_clock(opened):
    config = opened["detect"][0].replace(epochs=10, warmup_epochs=1.0, final_learning_rate=0.1)
    factors = [dense_baselines._factor(done, config) for done in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.01, 0.5, 1.0, 0.55, 0.1])
