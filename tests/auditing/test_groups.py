"""Groups against fairlearn, and on draws of known truth: false alarms, power, and groups that are too small."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.auditing.answers import Answers
from focalnets.auditing.attributes import read_attributes
from focalnets.auditing.groups import compare_shares, find_gaps, group_verdicts
from focalnets.errors import DataError

SETTINGS = {"gap": 0.05, "alpha": 0.05, "least": 30}


def answers_of(labels, right, classes=4):
    labels, right = np.asarray(labels), np.asarray(right)
    predicted = np.where(right, labels, (labels + 1) % classes)
    names = tuple(f"class {number}" for number in range(classes))
    confidences = np.full(len(labels), 0.8)
    return Answers(
        classes=names, indices=np.arange(len(labels)), labels=labels, predicted=predicted, confidences=confidences
    )


def draw(random, sizes, recalls, classes=4):
    """Images of groups of these sizes, recognised in these shares."""
    groups = np.repeat([f"g{number}" for number in range(len(sizes))], sizes)
    labels = random.integers(0, classes, len(groups))
    right = random.random(len(groups)) < np.repeat(recalls, sizes)
    return answers_of(labels, right, classes), {"group": list(groups)}


def test_eight_groups_without_a_gap_rarely_cry_wolf():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(120):
        found = find_gaps(*draw(random, [150] * 8, [0.85] * 8), **SETTINGS)
        alarms += any(group.status == "found" for group in found)
    assert alarms / 120 <= 0.09


def test_ten_points_in_a_group_of_150_are_found():
    random = np.random.default_rng(1)
    found, covered = 0, 0
    for _ in range(120):
        groups = find_gaps(*draw(random, [150] * 8, [0.8] + [0.9] * 7), **SETTINGS)
        found += groups[0].status == "found"
        covered += groups[0].recall.gap.low <= -0.1 <= groups[0].recall.gap.high
    assert found / 120 >= 0.65  # 75 % in 2,000 repetitions
    assert covered / 120 >= 0.9


def test_groups_that_are_too_small_are_never_found():
    answers, attributes = draw(np.random.default_rng(2), [29, 400], [0.0, 1.0])
    groups = find_gaps(answers, attributes, **SETTINGS)
    assert groups[0].status == "too few"
    verdicts = group_verdicts(groups, least=30, images=len(answers))
    assert any("too few images to tell (29)" in verdict.sentence for verdict in verdicts)
    assert not any(verdict.kind == "found" and "g0" in verdict.sentence for verdict in verdicts)


def test_an_attribute_that_names_each_image_is_one_sentence():
    answers, attributes = draw(np.random.default_rng(7), [100, 100], [0.9, 0.9])
    attributes["number"] = [str(number) for number in range(200)]
    groups = find_gaps(answers, attributes, **SETTINGS)
    assert len(groups) == 202
    few = [each.sentence for each in group_verdicts(groups, least=30, images=200) if each.kind == "too few"]
    assert len(few) == 1
    assert few[0].startswith("number: 200 groups have too few images to tell")


def test_a_group_of_hard_classes_is_not_blamed_for_them():
    labels = np.repeat([0, 1, 0, 1], [90, 10, 90, 810])
    right = np.concatenate([np.arange(90) < 45, np.arange(10) < 9, np.arange(90) < 45, np.arange(810) < 729])
    group = find_gaps(answers_of(labels, right), {"a": ["in"] * 100 + ["out"] * 900}, **SETTINGS)[0]
    assert group.accuracy == pytest.approx(0.54)
    assert group.recall.expected == pytest.approx(0.54)
    assert group.status == "nothing found"


def test_classes_that_only_the_group_has_are_not_compared():
    right, strata = np.ones(6, bool), np.array([0, 0, 1, 2, 2, 2])
    inside = np.array([1, 0, 1, 0, 0, 1], bool)
    found = compare_shares(right, strata, inside, ~inside)
    assert found.images == 2
    assert compare_shares(right, strata, strata == 0, strata == 2) is None


def test_of_two_groups_one_is_worse_and_the_other_is_no_finding_of_its_own():
    answers, attributes = draw(np.random.default_rng(3), [300, 300], [0.7, 0.9])
    one, other = find_gaps(answers, attributes, **SETTINGS)
    assert one.status == "found"
    assert one.adjusted_p == pytest.approx(2 * one.recall.p)
    assert other.status == "nothing found"
    assert other.better
    assert [each.kind for each in group_verdicts([one, other], least=30, images=600)] == ["found"]


def test_a_group_that_fares_better_is_worth_a_note():
    answers, attributes = draw(np.random.default_rng(8), [200] * 8, [0.98] + [0.8] * 7)
    verdicts = group_verdicts(find_gaps(answers, attributes, **SETTINGS), least=30, images=1600)
    assert [each.kind for each in verdicts] == ["note"]
    assert "g0 fares better" in verdicts[0].sentence


def test_images_whose_value_is_not_known_are_left_out():
    answers, attributes = draw(np.random.default_rng(4), [100, 100, 100], [0.9, 0.9, 0.0])
    attributes["group"][200:] = [""] * 100
    groups = find_gaps(answers, attributes, **SETTINGS)
    assert [group.value for group in groups] == ["g0", "g1"]
    assert {group.status for group in groups} == {"nothing found"}


def test_the_sentences_say_what_is_worse_and_by_how_much():
    answers, attributes = draw(np.random.default_rng(5), [300, 300, 300], [0.5, 0.9, 0.9])
    verdicts = group_verdicts(find_gaps(answers, attributes, **SETTINGS), least=30, images=900)
    assert [verdict.kind for verdict in verdicts] == ["found"]
    assert "group = g0 fares worse" in verdicts[0].sentence
    assert 0.1 < verdicts[0].harm < 0.16


def test_accuracies_are_fairlearns():
    metrics = pytest.importorskip("fairlearn.metrics")
    answers, attributes = draw(np.random.default_rng(6), [40, 70, 200], [0.5, 0.8, 0.9])
    frame = metrics.MetricFrame(
        metrics=lambda truth, said: float(np.mean(truth == said)),
        y_true=answers.labels,
        y_pred=answers.predicted,
        sensitive_features=np.array(attributes["group"]),
    )
    for group in find_gaps(answers, attributes, **SETTINGS):
        assert group.accuracy == pytest.approx(frame.by_group[group.value], abs=1e-12)


def test_attributes_are_found_by_where_files_lie(tmp_path):
    (tmp_path / "photos").mkdir()
    files = [tmp_path / "photos" / f"{number}.png" for number in range(3)]
    table = tmp_path / "groups.csv"
    table.write_text("camera;File;place\nphone;photos/0.png;\nbox;photos/../photos/2.png;garden\n")
    assert read_attributes(table).of(files) == {"camera": ["phone", "", "box"], "place": ["", "", "garden"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,a\nx.png,1\nx.png,2\n", "line 3 .* repeats 'x.png' of line 2"),
        ("path\nx.png\n", "must name a path and one or more attributes"),
        ("path,a,a\nx.png,1,2\n", "each once"),
        ("a,b\nx.png,1\n", "names no column for the path"),
        ("path,a\n,1\n", "has an empty path"),
        ("path,a\nother.png,1\n", "names none of the 1 images"),
        ("path,a\nx.png\n", "has 1 columns, expected 2"),
    ],
)
def test_tables_that_do_not_fit_are_refused(text, words, tmp_path):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_attributes(tmp_path / "groups.csv").of([tmp_path / "x.png"])
