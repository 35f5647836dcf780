"""A graph gives all that is needed for what the network says, also for padded batches; run by PyTorch itself here."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tests.exporting.networks import classifier, detector, semantic

from focalnets.data.dense.batches import collate_padded
from focalnets.errors import CheckpointError, ConfigError
from focalnets.exporting.description import GraphFacts
from focalnets.exporting.graphs import largest_difference
from focalnets.exporting.network import FileGraph, _leave_weights_out
from focalnets.exporting.writing import choose_graph
from focalnets.models.heads import uper
from focalnets.tasks.batch import tensors_of
from focalnets.tasks.table import build_task

FREE = GraphFacts(precision="float32", shape=None, smallest_px=1)


def as_file(task, network, facts=FREE):
    """The network without weights, whose answers its graph gives."""
    graph = choose_graph(task, network)(network).eval()
    outer = copy.deepcopy(network)
    _leave_weights_out(outer)

    def run(*inputs):
        with torch.no_grad():
            return list(graph(*inputs))

    outer.forward = FileGraph(outer, type(graph), run, facts, Path("net.onnx"))
    return outer.eval()


def difference(one, other):
    pairs = list(zip(tensors_of(one), tensors_of(other), strict=True))
    assert pairs
    return max(largest_difference(*pair) if pair[1].numel() else 0.0 for pair in pairs)


def padded():
    torch.manual_seed(5)
    return collate_padded([(torch.randn(3, 40, 57), None), (torch.randn(3, 64, 33), None)], 1)


@pytest.mark.parametrize("make", [semantic, lambda: semantic("uper"), detector], ids=["mlp", "uper", "detector"])
def test_a_file_answers_as_the_network_does(make):
    task, network = make()
    stands_in = as_file(task, network)
    assert sum(weight.numel() for weight in stands_in.parameters()) == 0
    images, _, mask = padded()
    with torch.no_grad():
        for batch in ((images, None), (images, mask)):
            expected = network(*batch)
            assert difference(stands_in(*batch), expected) < 1e-4


def test_detections_and_losses_are_those_of_the_detector():
    task, network = detector(padding_masked=False)
    images, _, mask = padded()
    targets = [
        {
            "boxes": torch.tensor([[3.0, 4.0, 20.0, 30.0]]),
            "labels": torch.tensor([index]),
            "crowd": torch.tensor([False]),
        }
        for index in range(2)
    ]
    with torch.no_grad():
        expected = network(images, mask, targets)
        found = as_file(task, network)(images, mask, targets)
    assert all(len(each["boxes"]) > 3 for each in expected["detections"])
    assert set(found["losses"]) == set(expected["losses"]) != set()
    assert [each["labels"].tolist() for each in found["detections"]] == [
        each["labels"].tolist() for each in expected["detections"]
    ]
    assert difference(found["detections"], expected["detections"]) < 1e-4
    for name, values in expected["losses"].items():
        assert difference(found["losses"][name], values) < 1e-4


def test_masked_detectors_give_losses_of_each_image():
    task, network = detector()
    images, _, mask = padded()
    targets = [
        {"boxes": torch.tensor([[3.0, 4.0, 20.0, 30.0]]), "labels": torch.tensor([0]), "crowd": torch.tensor([False])}
    ] * 2
    with torch.no_grad():
        expected, found = network(images, mask, targets), as_file(task, network)(images, mask, targets)
    for name, values in expected["losses"].items():
        assert values["sum"].shape == (2,)
        assert difference(found["losses"][name], values) < 1e-4


def test_heads_that_draw_masks_are_refused():
    task, network = detector(masks=True)
    with pytest.raises(ConfigError, match="--without_masks"):
        choose_graph(task, network)(network)


def test_other_heads_are_refused():
    task, network = semantic()
    with pytest.raises(ConfigError, match="no graph for the head of this network"):
        choose_graph(build_task("detect"), network)
    assert choose_graph(task, network).outputs == ("logits",)


def test_backbones_are_refused():
    network = classifier()
    network.reset_classifier(0)
    with pytest.raises(ConfigError, match="has no classifier"):
        choose_graph(build_task("classify"), network)(network)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda outputs: outputs[:-1], "answers with tensors of shapes"),
        (lambda outputs: [outputs[0][:, :-1], *outputs[1:]], "answers with tensors of shapes"),
        (lambda outputs: [outputs[0].long(), *outputs[1:]], "anchors of torch.int64, not torch.float32"),
        (lambda outputs: [outputs[0], outputs[1].bool(), *outputs[2:]], "candidates of torch.bool, not torch.int64"),
        (lambda outputs: [outputs[0], outputs[1] + 10**6, *outputs[2:]], "names candidates that there are not"),
    ],
)
def test_other_answers_than_promised_are_refused(change, words):
    task, network = detector()
    stands_in = as_file(task, network)
    run = stands_in.forward.run
    stands_in.forward.run = lambda *inputs: change(run(*inputs))
    with pytest.raises(CheckpointError, match=words):
        stands_in(torch.randn(1, 3, 48, 48))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (GraphFacts(precision="float32", shape=(1, 3, 24, 24), smallest_px=1), "takes images of shape"),
        (GraphFacts(precision="float32", shape=None, smallest_px=33), "from 33 px up"),
    ],
)
def test_images_that_a_file_cannot_take_are_refused(facts, words):
    stands_in = as_file(*semantic(), facts)
    with pytest.raises(ConfigError, match=words):
        stands_in(torch.randn(1, 3, 32, 40))


def test_pooling_for_other_runtimes_is_that_of_pytorch(monkeypatch):
    features = torch.randn(2, 3, 7, 11, dtype=torch.float64)
    expected = [F.adaptive_avg_pool2d(features, size) for size in uper.POOLED_SIZES]
    monkeypatch.setattr(uper, "is_exporting", lambda: True)
    for size, pooled in zip(uper.POOLED_SIZES, expected, strict=True):
        assert torch.allclose(uper._pooled(features, size), pooled, rtol=1e-12, atol=0)
