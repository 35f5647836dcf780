"""Objects found in overlapping windows: none doubled, none cut."""

from __future__ import annotations

import numpy as np
import pytest

from focalnets.large.merging import PartMask, WindowObject, merge_objects
from focalnets.large.windows import cut_windows

SIZE = (900, 1300)


def place(random, count, longest):
    """Boxes with their class that do not touch each other."""
    boxes = []
    while len(boxes) < count:
        width, height = random.integers(8, longest, 2)
        left, top = random.integers(0, SIZE[1] - width), random.integers(0, SIZE[0] - height)
        box = (left, top, left + width, top + height)
        if all(box[0] > o[2] + 3 or box[2] < o[0] - 3 or box[1] > o[3] + 3 or box[3] < o[1] - 3 for o, _ in boxes):
            boxes.append((box, int(random.integers(3))))
    return boxes


def ellipse(box):
    left, top, right, bottom = box
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    inside = ((x - (left + right) / 2) / (right - left) * 2) ** 2 + ((y - (top + bottom) / 2) / (bottom - top) * 2) ** 2
    return PartMask(int(left), int(top), inside <= 1)


def seen(random, objects, windows, *, jitter=1.5, masks=False):
    """What a detector that sees windows says: boxes cut by their borders, a little off, with a score of their own."""
    found = []
    for window in windows:
        for box, label in objects:
            part = (
                max(box[0], window.left), max(box[1], window.top), min(box[2], window.right), min(box[3], window.bottom)
            )  # fmt: skip
            if part[2] - part[0] < 3 or part[3] - part[1] < 3:
                continue
            mask = None
            if masks:
                whole = ellipse(box)
                pixels = whole.cut(part)
                if not pixels.any():
                    continue
                rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
                mask = PartMask(int(part[0]), int(part[1]), pixels)
                part = (part[0] + columns[0], part[1] + rows[0], part[0] + columns[-1] + 1, part[1] + rows[-1] + 1)
            off = random.uniform(-jitter, jitter, 4)
            moved = np.clip(np.array(part) + off, [window.left, window.top] * 2, [window.right, window.bottom] * 2)
            found.append(WindowObject(window, label, float(random.uniform(0.3, 1)), tuple(moved.tolist()), mask))
    return found


def iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, width) * max(0, height)
    return common / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - common)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize(("longest", "overlap"), [(60, 64), (200, 64), (500, 96)])
def test_every_object_comes_once_and_whole(masks, longest, overlap):
    random = np.random.default_rng(longest + masks)
    objects = place(random, 90 if longest < 100 else 12, longest)
    windows = cut_windows(*SIZE, 256, overlap, 32)
    found = seen(random, objects, windows, masks=masks)
    assert len(found) > len(objects)
    merged = merge_objects(found, SIZE)
    assert len(merged) == len(objects)
    for box, label in objects:
        best = max(merged, key=lambda each: iou(each.box, box))
        assert np.abs(np.subtract(best.box, box)).max() < 3
        assert best.label == label
        if masks:
            whole = ellipse(box)
            assert abs(int(best.mask.cut(box).sum()) - int(whole.pixels.sum())) <= 0.02 * whole.pixels.sum()
    scores = [each.score for each in merged]
    assert scores == sorted(scores, reverse=True)


def test_neighbours_at_a_seam_stay_two():
    windows = cut_windows(64, 200, 128, 32, 32)
    objects = [((60, 5, 130, 30), 0), ((60, 34, 130, 60), 0), ((131, 5, 190, 30), 0)]
    merged = merge_objects(seen(np.random.default_rng(0), objects, windows, jitter=0.5), (64, 200))
    assert len(merged) == 3


def test_classes_are_not_mixed_and_a_window_keeps_its_own():
    windows = cut_windows(64, 200, 128, 32, 32)
    box = (100.0, 10.0, 120.0, 30.0)
    two = [WindowObject(windows[0], 0, 0.9, box), WindowObject(windows[1], 1, 0.8, box)]
    assert len(merge_objects(two, (64, 200))) == 2
    same = [WindowObject(windows[0], 0, 0.9, box), WindowObject(windows[0], 0, 0.8, box)]
    assert len(merge_objects(same, (64, 200))) == 2
    both = [*same, WindowObject(windows[1], 0, 0.7, box)]
    assert sorted(each.score for each in merge_objects(both, (64, 200))) == [0.8, 0.9]


def test_a_sliver_at_the_border_belongs_to_the_whole():
    windows = cut_windows(64, 200, 128, 32, 32)
    whole = WindowObject(windows[1], 0, 0.6, (101.0, 10.0, 150.0, 40.0))
    sliver = WindowObject(windows[0], 0, 0.9, (119.0, 14.0, 128.0, 30.0))
    (merged,) = merge_objects([sliver, whole], (64, 200))
    assert merged is whole


def test_nothing_is_merged_from_nothing():
    assert merge_objects([], SIZE) == []
