"""Heads of queries as files: the graph says all that the network says, and files answer as the checkpoint does."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from tests.exporting.networks import QUERY_HEADS, queries
from tests.exporting.test_graphs import as_file, difference, padded

import focalnets
from focalnets.errors import ConfigError
from focalnets.exporting.formats import FORMATS, Options
from focalnets.exporting.query_graphs import BoxQueriesGraph, MaskQueriesGraph
from focalnets.exporting.traceable import _reference_points, _sine_positions
from focalnets.exporting.writing import choose_graph, export_network

pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")


def same_answer(found, expected, tolerance):
    """Compare what networks return; which of two equally likely detections comes first may differ."""
    if "detections" not in expected:
        return difference(found, expected) < tolerance
    for one, other in zip(found["detections"], expected["detections"], strict=True):
        assert one["labels"].tolist() == other["labels"].tolist()
        assert len(other["labels"]) > 3
    return difference(found["detections"], expected["detections"]) < tolerance


@pytest.mark.parametrize("name", QUERY_HEADS)
def test_a_file_answers_as_the_network_does(name):
    task, network = queries(name)
    stands_in = as_file(task, network)
    assert sum(weight.numel() for weight in stands_in.parameters()) == 0
    images, _, mask = padded()
    with torch.no_grad():
        for batch in ((images, None), (images, mask)):
            assert same_answer(stands_in(*batch), network(*batch), 1e-4)


@pytest.mark.parametrize("name", ["rtdetr", "dfine", "instance"])
def test_losses_are_those_of_the_network(name):
    task, network = queries(name)
    images, _, mask = padded()
    drawn = torch.zeros(1, *images.shape[2:], dtype=torch.bool)
    drawn[:, 4:30, 3:20] = True
    targets = [
        {"boxes": torch.tensor([[3.0, 4.0, 20.0, 30.0]]), "labels": torch.tensor([index]),
         "crowd": torch.tensor([False]), "masks": drawn}
        for index in range(2)
    ]  # fmt: skip
    if name == "instance":  # Masks are as large as their image.
        sizes = [(int(each.any(1).sum()), int(each.any(0).sum())) for each in mask]
        targets = [
            {**target, "masks": drawn[:, :height, :width]}
            for target, (height, width) in zip(targets, sizes, strict=True)
        ]
    with torch.no_grad():
        expected, found = (
            network(images, mask, targets)["losses"],
            as_file(task, network)(images, mask, targets)["losses"],
        )
    assert set(found) == set(expected) != set()
    for loss, values in expected.items():
        assert values["sum"].shape == (2,)
        assert difference(found[loss], values) < 1e-4


def test_positions_are_those_of_transformers():
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderOnly
    from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2SinePositionEmbedding

    module = RTDetrV2SinePositionEmbedding(32)
    expected = module(7, 5, torch.device("cpu"), torch.float32)
    assert torch.allclose(_sine_positions(module, 7, 5, "cpu", torch.float32), expected, atol=1e-6)
    sizes, ratios = [(3, 5), (6, 10)], torch.ones(2, 2, 2)
    expected = Mask2FormerPixelDecoderEncoderOnly.get_reference_points(sizes, ratios, "cpu")
    assert torch.allclose(_reference_points(None, sizes, ratios, "cpu"), expected, atol=1e-6)


def test_queries_in_another_order_are_the_same_answer():
    torch.manual_seed(0)
    logits, boxes = torch.randn(2, 200, 3), torch.rand(2, 200, 4)
    order = torch.randperm(200)
    assert BoxQueriesGraph.compare((logits[:, order], boxes[:, order]), (logits, boxes)) == 0
    assert BoxQueriesGraph.compare((logits[:, order], boxes), (logits, boxes)) > 0.01
    assert BoxQueriesGraph.compare((logits / 0, boxes), (logits, boxes)) == float("inf")
    assert BoxQueriesGraph.compare((logits[:, 1:], boxes[:, 1:]), (logits, boxes)) == float("inf")


def test_a_hundredth_of_the_queries_may_differ():
    torch.manual_seed(0)
    classes, masks = torch.randn(1, 100, 3), torch.randn(1, 100, 4, 5)
    for changed, limit in ((1, 1e-6), (2, 10.0)):
        other = masks.clone()
        other[:, :changed] += 50.0
        far = MaskQueriesGraph.compare((classes, other), (classes, masks))
        assert far < 1e-6 if changed == 1 else far > limit
    assert MaskQueriesGraph.compare((classes, masks / 0), (classes, masks)) == float("inf")


@pytest.mark.parametrize(
    ("ending", "options", "words"),
    [
        (".onnx", Options(legacy=True), "older exporter cannot follow"),
        (".pte", Options(), "Only classifiers of images and segmenters"),
    ],
)
def test_what_heads_of_queries_cannot_be(ending, options, words, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr("focalnets.exporting.formats.require_packages", lambda *_: None)
    with pytest.raises(ConfigError, match=words):
        export_network(*queries("rtdetr"), tmp_path / "new" / f"net{ending}", options)
    assert list(tmp_path.iterdir()) == []


def exported_answers(name, ending, tmp_path):
    task, network = queries(name)
    exported = export_network(task, network, tmp_path / f"net{ending}")
    assert exported.difference < exported.tolerance
    assert exported.smallest_px >= choose_graph(task, network).smallest_px(network)
    assert len({each.shape[2:] for each in exported.comparisons}) == 3
    return network, exported


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".onnx", ".xml"])
@pytest.mark.parametrize("name", QUERY_HEADS)
def test_files_answer_as_the_network_does(name, ending, tmp_path):
    for package in (*FORMATS[ending].packages, *FORMATS[ending].runs_with):
        pytest.importorskip(package)
    network, exported = exported_answers(name, ending, tmp_path)
    file = focalnets.load(exported.path)
    images, _, mask = padded()
    with torch.no_grad():
        assert same_answer(file.network(images, mask), network(images, mask), 1e-3)
    if name in ("rtdetr", "dfine"):
        with pytest.raises(ConfigError, match="from 33 px up"):
            file.network(F.pad(images, (0, -1))[..., :20])


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERY_HEADS)
def test_programs(name, tmp_path):
    _, exported = exported_answers(name, ".pt2", tmp_path)
    program = torch.export.load(exported.path)
    operators = {str(node.target).partition(".")[0] for node in program.graph.nodes if node.op == "call_function"}
    assert {each for each in operators if not each.startswith(("<built-in", "<function sym"))} == {"aten"}
