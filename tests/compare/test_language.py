"""Language models side by side: recall, cost, each at its best rate, and what is kept."""

from __future__ import annotations

import json

import pytest
import torch
from tests.tasks.corpus import write_corpus

from focalnets.compare.language.comparing import compare_language_models, network_config
from focalnets.compare.language.page import write_language_page
from focalnets.compare.language.recall import RecallSettings, draw_recall, measure_recall, recall_config
from focalnets.compare.language.results import LanguageComparison, read_language_comparison
from focalnets.compare.language.speed import SpeedSettings, measure_speeds, state_bytes
from focalnets.compare.language.training import TrainingPlan, shared_config, train_language_models
from focalnets.compare.models import find_models
from focalnets.errors import CheckpointError, ConfigError, UnknownNameError
from focalnets.models.sequence import FocalLanguageModel
from focalnets.models.sequence_config import LANGUAGE_VARIANTS
from focalnets.training.runs import find_runs
from focalnets.training.trainer import open_data

NAMES = ["focal_language_small:dim=8,depth=1", "attention_language_small:dim=8,depth=1,attention_heads=2"]
RATES = (1e-3, 3e-2)
SPEED = SpeedSettings(context_length=8, batch=2, lengths=(4, 40), tokens=3, budget_s=0.0, rounds=1)
RECALL = RecallSettings(pairs=2, length=10, vocabulary=12, dim=8, depth=1, steps=3, batch=4, texts=8)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt", words=800)


def plan_of(text, folder, **fields):
    config = shared_config({"epochs": 2, "passages": 16, "batch_size": 4, "context_length": 16, "device": "cpu"}, text)
    return TrainingPlan(**{"config": config, "place": text, "folder": folder, "learning_rates": RATES} | fields)


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp("trained"), []
    plan = plan_of(text, folder, seeds=2)
    return folder, train_language_models(find_models(NAMES), plan, after_run=lambda _, line: lines.append(line)), lines


def test_texts_to_recall_from():
    settings = RecallSettings()
    tokens, targets = draw_recall(settings, 50, torch.Generator().manual_seed(0))
    for text, wanted in zip(tokens.tolist(), targets.tolist(), strict=True):
        known = dict(zip(text[:8:2], text[1:8:2], strict=True))
        asked = {place: value for place, value in enumerate(wanted) if value != -100}
        assert len(known) == len(set(known.values())) == len(asked) == 4
        assert all(known[text[place]] == value for place, value in asked.items())
        assert min(asked) >= 8
        assert sum(token != 0 for token in text) == 12
        assert max(known) < 16 <= min(known.values())


@pytest.mark.parametrize("name", LANGUAGE_VARIANTS)
def test_every_kind_has_a_small_network(name):
    config = recall_config(LANGUAGE_VARIANTS[name].config, RecallSettings())
    mixers = [config.mixer_of(block) for block in range(config.depth)]
    assert ("attention" in mixers) == ("hybrid" in name or "attention" in name)
    assert (mixers[0] == "focal") == name.startswith("focal_")


def test_recall_takes_the_best_rate_and_leaves_random_numbers_alone():
    torch.manual_seed(7)
    found = measure_recall(LANGUAGE_VARIANTS["recurrence_language_small"].config, RECALL)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    assert list(found.by_rate) == list(RECALL.learning_rates)
    assert found.fraction == max(found.by_rate.values()) == found.by_rate[found.learning_rate]


@pytest.mark.parametrize("name", ["short_conv_attention_language_small", "focal_language_small_memory"])
def test_what_looks_up_recalls(name):
    settings = RecallSettings(pairs=2, length=12, vocabulary=16, depth=1, steps=250, batch=32, texts=128)
    found = measure_recall(LANGUAGE_VARIANTS[name].config, settings)
    assert found.fraction >= 0.99
    assert found.learning_rate == 3e-3
    assert list(found.by_rate) == [3e-3]  # solved: no further rate is tried


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"pairs": 0}, "pairs"), ({"length": 11}, "length"), ({"vocabulary": 8}, "vocabulary"), ({"batch": 0}, "batch"),
     ({"learning_rates": ()}, "learning_rates")],
)  # fmt: skip
def test_mistakes_in_recall(fields, words):
    with pytest.raises(ConfigError, match=words):
        RecallSettings(**fields)


def test_cost_and_state():
    networks = {model.name: FocalLanguageModel(network_config(model)) for model in find_models(NAMES)}
    before = [parameter.clone() for network in networks.values() for parameter in network.parameters()]
    speeds = measure_speeds(networks, SPEED)
    after = [parameter for network in networks.values() for parameter in network.parameters()]
    assert all(map(torch.equal, before, after))
    ours, attention = (speeds[name] for name in NAMES)
    assert ours.state_bytes[4] == ours.state_bytes[40] == 4 * 8 * (2 + 4 + 6) + 8 * 8 + 8
    assert attention.state_bytes[40] == 40 * (2 * 4 * 8 + 1)
    for speed in (ours, attention):
        assert speed.training["median"] > 0
        assert all(speed.generation[length]["median"] > 0 for length in (4, 40))
    assert state_bytes(None) == 0


def test_each_takes_its_best_rate(trained):
    folder, trainings, lines = trained
    assert len(lines) == 6  # two rates of two networks, and another seed of each
    assert "[6/6]" in lines[-1]
    assert len(find_runs(folder)) == 6
    for training in trainings.values():
        assert training.learning_rate == min(training.by_rate, key=training.by_rate.get)
        assert training.nats[0] == training.by_rate[training.learning_rate]
        assert sorted(training.nats) == [0, 1]
        assert training.interval[0] < training.mean < training.interval[1]
        assert [epoch for epoch, _ in training.curve] == [1, 2]
        assert training.curve[-1][1] == pytest.approx(training.mean)
        assert training.is_at_the_end
        assert training.result.startswith(f"{training.mean:.3f} (")


def test_what_is_there_is_kept_and_searches_may_be_shorter(trained, text):
    folder, trainings, _ = trained
    lines = []
    models = find_models(NAMES)
    again = train_language_models(models, plan_of(text, folder, seeds=2), after_run=lambda _, line: lines.append(line))
    assert (again, lines) == (trainings, [])
    plan = plan_of(text, folder, seeds=1, search_epochs=1)
    searched = train_language_models(models[:1], plan, after_run=lambda _, line: lines.append(line))[NAMES[0]]
    assert len(lines) == 2  # what is trained to its end is there
    assert searched.nats == {0: trainings[NAMES[0]].by_rate[searched.learning_rate]}
    assert set(searched.by_rate.values()).isdisjoint(trainings[NAMES[0]].by_rate.values())


def test_others_settings_are_refused(trained, text):
    folder, _, _ = trained
    plan = plan_of(text, folder)
    with pytest.raises(ConfigError, match="other settings"):
        train_language_models(find_models(NAMES), plan_of(text, folder, config=plan.config.replace(weight_decay=0.5)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"seeds": 0}, "--seeds"), ({"parallel": 0}, "--parallel"), ({"learning_rates": ()}, "--learning_rates"),
     ({"learning_rates": (-1.0,)}, "--learning_rates")],
)  # fmt: skip
def test_mistakes_in_plans(text, tmp_path, fields, words):
    with pytest.raises(ConfigError, match=words):
        plan_of(text, tmp_path, **fields)


def test_settings_that_are_not_for_all(text, tmp_path):
    config = shared_config({"device": "cpu"}, text)
    for changes, words in (({"model_overrides": {"dim": 8}}, "NAME:FIELD=VALUE"), ({"patience": 2}, "patience")):
        with pytest.raises(ConfigError, match=words):
            plan_of(text, tmp_path, config=config.replace(**changes))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("focal_language_smal", UnknownNameError, "focal_language_small"),
        ("focal_language_small:dims=8", ConfigError, "no field"),
        ("focal_language_small:vocabulary_size=8", ConfigError, "the same for all"),
        ("focal_language_small@runs/a", (ConfigError, CheckpointError), "random weights"),
    ],
)
def test_mistakes_in_names(name, error, words):
    pytest.importorskip("timm")
    with pytest.raises(error, match=words):
        find_models([name])


def test_a_comparison_is_completed_and_kept(trained, text, tmp_path):
    folder, trainings, _ = trained
    setting = {"machine": {"threads": 1}, "speed": {"lengths": [4, 40]}, "recall": None, "training": None}
    models, lines = find_models(NAMES), []
    comparison = LanguageComparison(setting)
    compare_language_models(models, comparison, speed=SPEED, recall=None, after=lines.append)
    assert lines == ["measured tokens a second"]
    comparison.write(tmp_path)
    assert write_language_page(comparison, tmp_path) == ["report.html"]

    plan = plan_of(text, folder, seeds=2)
    data = open_data(text, plan.config)
    both = setting | {"recall": {"pairs": 2, "steps": 3, "learning_rates": [1e-3]}, "training": plan.describe(data)}
    known = read_language_comparison(tmp_path, both)
    assert known.rows == comparison.rows
    compare_language_models(models, known, speed=SPEED, recall=RECALL, plan=plan)
    known.write(tmp_path)
    assert write_language_page(known, tmp_path) == ["language.png", "report.html"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "lowest or highest of those tried" in page
    again = read_language_comparison(tmp_path, both)
    assert again.rows == known.rows
    for name, row in again.rows.items():
        assert (row.training, row.speed) == (trainings[name], comparison.rows[name].speed)
        assert row.recall is not None
    assert (tmp_path / "language.csv").read_text().count("\n") == 3
    with pytest.raises(ConfigError, match="another setting"):
        read_language_comparison(tmp_path, setting | {"machine": {"threads": 2}})


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "language.json").write_text(json.dumps({"setting": {}, "origin": {}, "rows": [1]}))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_language_comparison(tmp_path, None)


def test_networks_that_read_no_text_are_refused():
    with pytest.raises(ConfigError, match="reads no text"):
        compare_language_models(find_models(["focalnet_pico"]), LanguageComparison({}), speed=SPEED, recall=None)
