"""Fuzzing of what reads annotations of each format: good places of the tests, with one file changed."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.campaigns.fuzzing import Target, changed_bytes
from tests.data.annotated_files import photo
from tests.data.odd_annotations import cvat, labelme, masks, panoptic, voc, yolo

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FORMATS: dict[str, tuple[ModuleType, tuple[bytes, ...]]] = {
    "YOLO labels": (yolo, (b"0 0.5 0.5 0.5 0.5\n", b" ", b"1", b"nan", b"names: {0: cat}", b"\n")),
    "VOC files": (voc, (b"<object>", b"</object>", b"<bndbox>", b"<xmin>", b"<!ENTITY a 'b'>", b"&a;", b"<size>",
    b"1e999")),
    "Labelme files": (labelme, (b"{", b"}", b"[", b"]", b"null", b"1e999", b'"points"', b'"shape_type"', b'"mask"')),
    "CVAT files": (cvat, (b"<image ", b"<box ", b"<mask ", b"rle=", b"points=", b"<polygon ", b"&amp;", b";", b",")),
    "mask folders": (masks, (b"[", b"]", b"{", b"}", b'"cat"', b"name,r,g,b", b"IDAT", b"PLTE")),
    "panoptic files": (panoptic, (b"{", b"}", b"[", b"]", b"null", b"1e999", b'"segments_info"', b'"id"')),
}  # fmt: skip
_LARGEST_BYTES = 20_000


@functools.cache
def _good_places(module: ModuleType) -> list[dict[str, bytes]]:
    """Places that are read, as files with their content."""
    places = []
    for files, said in module.odd_files().values():
        held = {
            name: content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            for name, content in files.items()
            if content is not None and content != "<missing>"
        }
        if said is None and held and max(map(len, held.values())) < _LARGEST_BYTES:
            places.append(held)
    return places


def _changed_places(module: ModuleType, words: tuple[bytes, ...]) -> st.SearchStrategy[dict[str, bytes]]:
    """A good place, and which of its files is changed how."""
    places = _good_places(module)
    files = sorted({content for place in places for content in place.values()})

    def put(number: int, which: int, content: bytes) -> dict[str, bytes]:
        place = dict(places[number % len(places)])
        place[sorted(place)[which % len(place)]] = content
        return place

    alone = [
        st.builds(
            lambda content, place=place, name=name: {**place, name: content},
            changed_bytes([place[name]], words),
        )
        for place in places[:12]
        for name in sorted(place)
    ]
    return st.one_of(*alone, st.builds(put, st.integers(0, 255), st.integers(0, 9), changed_bytes(files, words)))


def _read(module: ModuleType, files: dict[str, bytes], place: Path) -> None:
    from focalnets.data.annotated.training import open_annotated_evaluation, recognise_annotations

    photo(place / module.PHOTO, 12, 8)
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    tasks = {task for found in recognise_annotations(place) for task in found.tasks}
    wanted: Any = module.TASK
    for task in sorted(tasks & {wanted} if wanted in tasks else tasks) or ["detect"]:
        labels, data = open_annotated_evaluation(place, task=task)
        for number in range(len(data)):
            picture, image = data[number]
            assert tuple(image.masks.shape[1:]) == (picture.height, picture.width)
            assert image.boxes.isfinite().all()
            assert all(0 <= label < len(labels) for label in image.labels.tolist())
            if task in ("semantic", "panoptic"):
                assert image.semantic.shape == (picture.height, picture.width)


TARGETS = {
    name: Target(functools.partial(_changed_places, *values), functools.partial(_read, values[0]))
    for name, values in FORMATS.items()
}


@pytest.mark.parametrize("name", list(TARGETS))
def test_fuzz(name, fuzzed, say):
    say(fuzzed(__name__, name))
