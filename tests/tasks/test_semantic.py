"""Naming the class of each pixel: exact figures at the size of the photos, whatever the network saw."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tests.tasks.annotated_places import CLASSES, write_class_maps
from torch import nn

import focalnets
from focalnets.cli.main import main
from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig, WholeImage
from focalnets.models.heads.semantic import SemanticNetwork, build_semantic
from focalnets.tasks.batch import Batch
from focalnets.tasks.recognition import recognise_task
from focalnets.tasks.semantic import pixels
from focalnets.tasks.semantic.balance import balanced_weights
from focalnets.tasks.semantic.metrics import SegmentationMetrics
from focalnets.tasks.semantic.results import Segmentation
from focalnets.tasks.semantic.settings import SemanticSettings
from focalnets.tasks.semantic.task import Semantic
from focalnets.training.config import TrainingConfig
from focalnets.training.recipes import in_miniature, segment
from focalnets.training.resolve import resolve_config
from focalnets.training.trainer import open_data, train
from focalnets.weights.checkpoint import save_checkpoint

BACKBONE = FocalNetConfig(depths=(1, 1, 1, 1), embed_dim=8, pyramid_norms=True, num_classes=0)


def network(kind="mlp", **options):
    torch.manual_seed(0)
    module = SemanticNetwork(focalnets.FocalNet(BACKBONE), CLASSES, kind=kind, **{"channels": 32, **options})
    module.preprocessing = WholeImage(input_size_px=32)
    return module.eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    write_class_maps(folder)
    return folder


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    config = in_miniature(TrainingConfig(task="semantic")).replace(batch_size=8, epochs=1)
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config, open_data(place, config), output=folder, quiet=True)
    return folder


@pytest.mark.parametrize("size", [(50, 70), (13, 200), (8, 9)])
@pytest.mark.parametrize("at_once", [1, 2000, 1 << 24])
def test_maps_are_the_same_in_bands_as_at_once(monkeypatch, size, at_once):
    monkeypatch.setattr(pixels, "_NUMBERS_AT_ONCE", at_once)
    logits = torch.randn(5, 8, 9, generator=torch.Generator().manual_seed(1))
    whole = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    labels, confidence = pixels.confident_map(logits, size)
    assert (confidence - whole.softmax(0).amax(0)).abs().max() < 1e-5
    # Where two classes are alike the order of sums decides.
    best = whole.topk(2, 0).values
    sure = best[0] - best[1] > 1e-5
    assert torch.equal(pixels.class_map(logits, size)[sure], whole.argmax(0)[sure])
    assert torch.equal(labels[sure], whole.argmax(0)[sure])


def test_labels_are_sampled_in_the_middle_of_fields():
    labels = torch.arange(6)[:, None] * 10 + torch.arange(8)
    assert pixels.sampled(labels, (3, 2)).tolist() == [[12, 16], [32, 36], [52, 56]]
    assert torch.equal(pixels.sampled(labels, (6, 8)), labels)


def test_metrics_are_those_of_counting_pixels_one_by_one():
    generator = torch.Generator().manual_seed(3)
    metrics, union, both, right, all_of = SegmentationMetrics(4), [0] * 4, [0] * 4, 0, [0] * 4
    counted = 0
    for height, width in ((7, 5), (1, 9), (3, 3)):
        truth = torch.randint(0, 3, (height, width), generator=generator)
        truth[0, 0] = 255
        answer = torch.randint(0, 3, (height, width), generator=generator)
        metrics.update(answer, truth)
        for said, known in zip(answer.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if known == 255:
                continue
            counted, right = counted + 1, right + (said == known)
            all_of[known] += 1
            both[known] += said == known
            for label in {said, known}:
                union[label] += 1
    found = {name: float(value) for name, value in metrics.compute().items()}
    ious = [both[label] / union[label] for label in range(3)]  # the fourth class occurs nowhere
    assert found["miou"] == pytest.approx(sum(ious) / 3)
    assert found["pixel_accuracy"] == pytest.approx(right / counted)
    assert found["mean_accuracy"] == pytest.approx(sum(b / a for b, a in zip(both[:3], all_of[:3], strict=True)) / 3)


def test_nothing_counted_is_no_division_by_zero():
    metrics = SegmentationMetrics(2)
    metrics.update(torch.zeros(3, 3, dtype=torch.int64), torch.full((3, 3), 255))
    assert {float(value) for value in metrics.compute().values()} == {0.0}


@pytest.mark.parametrize("weights", [None, "1,2,0.5"])
def test_the_loss_is_the_mean_over_pixels_that_count(weights):
    task = Semantic(settings=SemanticSettings(class_weights=weights))
    logits = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    maps = torch.randint(0, 3, (2, 16, 24), generator=torch.Generator().manual_seed(1))
    maps[:, :3] = 255
    batch = Batch(torch.zeros(2, 3, 16, 24), [{"semantic": maps[0]}, {"semantic": maps[1, :10, :20]}])
    padded = maps.clone()
    padded[1, 10:], padded[1, :, 20:] = 255, 255
    table = None if weights is None else torch.tensor([1.0, 2.0, 0.5])
    large = F.interpolate(logits, size=(16, 24), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(large, padded, weight=table, ignore_index=255)
    got = task.losses({"logits": logits}, batch, train=True)
    assert float(got["cross_entropy"]) == pytest.approx(float(expected), rel=1e-5)


def test_a_batch_without_a_pixel_that_counts_teaches_nothing():
    module = network().train()
    images = torch.randn(1, 3, 32, 32)
    batch = Batch(images, [{"semantic": torch.full((32, 32), 255)}])
    loss = Semantic().losses(module(images), batch, train=True)["cross_entropy"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(bool(weight.grad.isfinite().all()) for weight in module.parameters() if weight.grad is not None)


@pytest.mark.parametrize("kind", ["mlp", "uper", "mask2former"])
def test_an_image_gives_the_same_alone_and_padded(kind):
    if kind == "mask2former":
        pytest.importorskip("transformers")
    module = network(kind, **({"channels": 64, "queries": 6, "layers": 3} if kind == "mask2former" else {}))
    images, mask = torch.zeros(2, 3, 72, 96), torch.zeros(2, 72, 96, dtype=torch.bool)
    singles = [torch.randn(1, 3, 70, 41), torch.randn(1, 3, 33, 96)]
    for number, single in enumerate(singles):
        images[number, :, : single.shape[2], : single.shape[3]] = single[0]
        mask[number, : single.shape[2], : single.shape[3]] = True
    with torch.inference_mode():
        together = module(images, mask)["logits"]
        for number, single in enumerate(singles):
            alone = module(single)["logits"][0]
            part = together[number, :, : alone.shape[1], : alone.shape[2]]
            assert (part - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("stages", [(0, 1, 2, 3), (1, 3), (0, 2)])
def test_every_parameter_that_learns_gets_a_gradient(stages):
    module = network("uper", stages=stages, channels=8, auxiliary=True).train()
    output = module(torch.randn(2, 3, 64, 64))
    sum(value.square().mean() for value in output.values()).backward()
    assert [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None] == []
    frozen = {name for name, each in module.named_parameters() if not each.requires_grad}
    assert any(name.startswith("backbone.stages.3.") for name in frozen) == (3 not in stages)
    again = build_semantic(focalnets.FocalNet(BACKBONE), CLASSES, json.loads(json.dumps(module.describe_head())))
    again.load_state_dict(module.state_dict())
    assert again.describe_head() == module.describe_head()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "great"}, "no semantic head 'great'"),
        ({"channels": 10**9}, "channels must be a whole number from 1 to 4,096"),
        ({"stages": [0, 7]}, "stages must be numbers from 0 to 3"),
        ({"stages": "all"}, "stages must be a list"),
        ({"outputs": 4}, "4 outputs but 3 labels"),
        ({"dropout": 2}, "dropout is a probability"),
        ({"auxiliary": 1}, "auxiliary must be true or false"),
        ({"more": 1}, "a semantic head is described by"),
    ],
)
def test_descriptions_of_heads_that_cannot_be_are_refused(change, sentence):
    head = {**network().describe_head(), **change}
    with pytest.raises(ConfigError, match=sentence):
        build_semantic(focalnets.FocalNet(BACKBONE), CLASSES, head)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"class_weights": "1,0"}, "class_weights must be balanced, or a number above 0"),
        ({"stages": "a"}, "stages must be numbers"),
        ({"scale_min": 2.0}, "scale_min must be at most scale_max"),
        ({"side": "longer", "longest_px": 90}, "longest_px is for side shorter"),
        ({"head": "fcn"}, "head cannot be 'fcn'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TrainingConfig(task="semantic", settings=settings)


def test_balanced_weights_are_chosen_from_the_pixels_and_written_down(place, tmp_path):
    config = in_miniature(TrainingConfig(task="semantic", settings={"class_weights": "balanced"})).replace(epochs=1)
    data = open_data(place, config)
    weights = balanced_weights(data.train, 3)
    assert weights[2] > weights[1] > weights[0] > 0  # green squares are the smallest
    train(config, data, output=tmp_path / "run", quiet=True)
    kept = TrainingConfig.from_dict(json.loads(json.dumps(_yaml(tmp_path / "run" / "config.yaml"))))
    assert kept.settings.weights() == pytest.approx(weights, rel=1e-3)
    assert "chosen for this data: class_weights" in (tmp_path / "run" / "log.txt").read_text()


def _yaml(path):
    import yaml

    return yaml.safe_load(path.read_text())


def test_data_choose_the_task_and_its_recipe(place, coloured_images, capsys):
    assert recognise_task(place)[0] == "semantic"
    assert recognise_task(coloured_images) == ("classify", "")
    told = []
    assert resolve_config(data=place, on_recognised=told.append) == segment()
    assert "training semantic" in told[0]
    assert resolve_config(data=coloured_images).task == "classify"
    assert resolve_config(settings={"task": "semantic"}) == segment()
    chosen = resolve_config(settings={"model": "upernet_focalnet_tiny_lrf", "pretrained": None, "freeze_norms": False})
    assert chosen.task == "semantic"
    assert chosen.build_task().chosen()["head"] == "uper"


def test_a_name_of_the_table_builds_its_network():
    config = TrainingConfig(task="semantic", model="semantic_focalnet_pico")
    from focalnets.training.network import build_network

    built = build_network(config.build_task(), config, CLASSES)
    assert built.module.kind == "mlp"
    assert built.spec == WholeImage(input_size_px=256, mean=built.spec.mean, std=built.spec.std)
    with pytest.raises(ConfigError, match="model_overrides cannot hold pyramid_norms"):
        build_network(config.build_task(), config.replace(model_overrides={"pyramid_norms": False}), CLASSES)


def test_frozen_norms_stay_as_they_came(place, tmp_path):
    config = segment().replace(epochs=1, batch_size=2, image_size=32, limit_train_batches=2, workers=0, ema_decay=0.0)
    result = train(config, open_data(place, config), output=tmp_path / "run", quiet=True)
    before = focalnets.load_model(config.pretrained, pyramid_norms=True).state_dict()
    after = focalnets.load(result.best_weights, device="cpu").network.state_dict()
    means = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert means
    assert all(torch.equal(before[name], after[f"backbone.{name}"]) for name in means)
    changed = [name for name, value in before.items() if not torch.equal(value, after[f"backbone.{name}"])]
    assert any(name.endswith("kernels.0") for name in changed)


def test_results_have_the_size_of_the_photo(run, tmp_path):
    trained = focalnets.load(run, device="cpu")
    photo = Image.effect_noise((90, 50), 80).convert("RGB")
    (result,) = trained.predict([photo])
    assert isinstance(result.value, Segmentation)
    assert result.labels.shape == (50, 90)
    assert sum(result.areas.values()) == 90 * 50
    assert result.mask(CLASSES[0]).sum() == result.areas.get(CLASSES[0], 0)
    with pytest.raises(ConfigError, match="no class 'grund'; did you mean ground"):
        result.mask("grund")
    assert trained.predict([photo], size_px=64)[0].labels.shape == (50, 90)


def test_predict_writes_maps_pictures_and_tables(place, run, tmp_path, capsys):
    photos = place / "val" / "images"
    assert main(["predict", str(photos), "--model", str(run), "--output", str(tmp_path / "out")]) == 0
    assert "written: predictions.json" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "0_classes.png") as written, Image.open(photos / "0.png") as photo:
        assert written.mode == "P"
        assert written.size == photo.size
        labels = np.asarray(written)
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == list(CLASSES)
    (entry,) = [
        each
        for each in json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
        if each["path"].endswith("/0.png")
    ]
    for area in entry["areas"]:
        assert (labels == CLASSES.index(area["class"])).sum() == area["pixels"]


@pytest.mark.parametrize("ids", [(0, 7, 24), (3, 40_000, 5)])
def test_maps_are_written_with_the_numbers_of_the_data(tmp_path, ids):
    random = np.random.default_rng(0)
    for number in range(2):
        for kind, values in (
            ("images", random.integers(0, 255, (16, 20, 3), np.uint8)),
            ("masks", random.choice(ids, (16, 20)).astype(np.uint16)),
        ):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "data" / kind / f"{number}.png")
    entries = [{"id": number, "name": name} for number, name in sorted(zip(ids, CLASSES, strict=True))]
    (tmp_path / "data" / "classes.json").write_text(json.dumps(entries))
    data = Semantic().open(tmp_path / "data", val_fraction=0.5, seed=0)
    chosen = Semantic().choose_settings(data, image_size=None)
    assert chosen == {"class_ids": ",".join(map(str, sorted(ids)))}
    task = Semantic(settings=SemanticSettings(channels=8, **chosen))
    module = task.build(focalnets.FocalNet(BACKBONE), data.labels, pretrained=False)
    save_checkpoint(module, tmp_path / "net.safetensors", task="semantic", head=task.head(module))
    trained = focalnets.load(tmp_path / "net.safetensors", device="cpu")
    results = trained.predict(tmp_path / "data" / "images")
    trained.task.write_results([each.value for each in results], tmp_path)
    with Image.open(tmp_path / "0_classes.png") as written:
        assert written.mode == ("P" if max(ids) < 256 else "I;16")
        assert np.array_equal(np.asarray(written), np.array(sorted(ids))[results[0].labels])
    assert json.loads((tmp_path / "classes.json").read_text()) == entries


def test_numbers_of_classes_that_cannot_be_are_refused():
    head = {**network().describe_head(), "class_ids": [0, 5, 65_536]}
    for numbers, sentence in (([0, 5, 65_536], "from 0 to 65,535"), ([1, 2], "one for each"), ([1, 1, 2], "differ")):
        with pytest.raises(ConfigError, match=sentence):
            build_semantic(focalnets.FocalNet(BACKBONE), CLASSES, {**head, "class_ids": numbers})
    again = build_semantic(focalnets.FocalNet(BACKBONE), CLASSES, {**head, "class_ids": [9, 0, 4]})
    assert again.class_ids == (9, 0, 4)
    assert again.describe_head()["class_ids"] == [9, 0, 4]


def test_videos_are_drawn_frame_by_frame(run, tmp_path, capsys):
    pytest.importorskip("av")
    from tests.visualize.clips import write_clip

    from focalnets.data.clips import describe_clip

    write_clip(tmp_path / "clip.mp4", range(0, 200, 40))
    with pytest.raises(ConfigError, match="is a video, which is drawn into a new one"):
        focalnets.predict(tmp_path / "clip.mp4", focalnets.load(run, device="cpu"))
    command = ["predict", str(tmp_path / "clip.mp4"), "--model", str(run), "--every", "2"]
    assert main([*command, "--output", str(tmp_path / "out"), "--json", str(tmp_path / "r.json")]) == 0
    (video,) = json.loads((tmp_path / "r.json").read_text())["videos"]
    assert video["frames"] == 5
    assert [each["path"].rpartition("#")[2] for each in video["predictions"]] == ["0", "2", "4"]
    before, after = describe_clip(tmp_path / "clip.mp4"), describe_clip(tmp_path / "out" / "clip_predicted.mp4")
    assert (after.width_px, after.height_px) == (before.width_px, before.height_px)


def test_explain_shows_the_answer_beside_the_modulator(place, run, tmp_path, capsys):
    photo = place / "val" / "images" / "0.png"
    assert main(["explain", str(photo), "--model", str(run), "--output", str(tmp_path), "--html"]) == 0
    assert (tmp_path / "0_explained.html").exists()
    (page,) = focalnets.explain(photo, focalnets.load(run, device="cpu"), size=48)
    assert page.seen_px == (64, 48)
    assert page.to_dict()["result"]["areas"]
    titles = {text.get_text() for axes in page.figure.axes for text in axes.texts} | {
        axes.get_title() for axes in page.figure.axes
    }
    assert any("What it says" in text for text in titles | {t.get_text() for t in page.figure.texts})


def test_the_report_shows_classes_confusions_and_the_worst_images(place, run, tmp_path):
    measured = focalnets.evaluate(place, focalnets.load(run, device="cpu"))
    measured.save(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("Class by class", "What is taken for what", "Confident errors", *CLASSES):
        assert words in page
    assert measured.miou == measured.evaluation.metrics["miou"]
    counted = np.array(measured.confusion)
    assert counted.sum() == 6 * 0 + sum(
        int((np.asarray(Image.open(file)) != 255).sum()) for file in (place / "val" / "masks").iterdir()
    )


def test_batches_of_different_sizes_train_all_kinds_of_heads():
    for kind in ("mlp", "uper"):
        module = network(kind, channels=8, auxiliary=kind == "uper").train()
        mask = torch.zeros(2, 64, 64, dtype=torch.bool)
        mask[0], mask[1, :40, :50] = True, True
        output = module(torch.randn(2, 3, 64, 64), mask)
        assert all(isinstance(value, torch.Tensor) and value.requires_grad for value in output.values())
        assert all(not isinstance(each, nn.SyncBatchNorm) for each in module.modules())
