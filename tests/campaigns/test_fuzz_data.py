"""Fuzzing of what reads annotations, tables, shards, splits and lists of inputs."""

from __future__ import annotations

import functools
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st
from tests.campaigns.fuzzing import Target, changed_bytes, changed_values, json_texts
from tests.campaigns.odd_images import ODD_NAMES, encoded, picture
from tests.campaigns.odd_tables import SHARDS, TABLES
from tests.campaigns.test_coco_files import GOOD
from tests.data.odd_coco_files import HEIGHT, WIDTH

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_PHOTO = encoded(picture(size=(WIDTH, HEIGHT)), "PNG")
_OTHER = encoded(picture(size=(40, 30)), "PNG")


def _read_coco(text: bytes, place: Path) -> None:
    from focalnets.data.annotated.coco_content import read_coco

    (place / "odd.json").write_bytes(text)
    content = read_coco(place / "odd.json")
    known = {category.id for category in content.categories}
    assert all(each.get("category_id") in known for image in content.images for each in image.annotations)


def _read_objects(text: bytes, place: Path) -> None:
    from focalnets.data.annotated.coco import open_coco

    (place / "odd.json").write_bytes(text)
    (place / "a.png").write_bytes(_PHOTO)
    (place / "b.png").write_bytes(_OTHER)
    for image in open_coco(place / "odd.json", everything=True):
        assert image.masks.shape == (len(image.objects), image.image.height, image.image.width)
        assert image.boxes.isfinite().all()


def _encode_mask(segmentation: Any, _: Path) -> None:
    from focalnets.data.annotated.encoded_masks import encode_segmentation

    mask = encode_segmentation(segmentation, 30, 40)
    assert mask is None or mask.decode().shape == (30, 40)


_CLASS_TABLES = {
    "classes.txt": b"background\ncat\ndog\n",
    "class_dict.csv": b"name,r,g,b\nbackground,0,0,0\ncat,200,0,0\n",
    "classes.csv": b"id,name\n0,background\n1,cat\n",
    "classes.yaml": b"names: [background, cat]\n",
    "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:200,0,0::\n",
}


def _read_class_names(files: tuple[str, bytes], place: Path) -> None:
    from focalnets.data.annotated.mask_folders import find_mask_folders
    from focalnets.data.annotated.masks import open_masks

    name, content = files
    for folder in ("images", "masks"):
        (place / folder).mkdir()
        (place / folder / "a.png").write_bytes(encoded(picture("L", (WIDTH, HEIGHT)), "PNG"))
    (place / name).write_bytes(content)
    folders = find_mask_folders(place)
    assert folders is not None
    image = open_masks(folders, everything=True)[0]
    assert image.mask.shape == (HEIGHT, WIDTH)


def _read_table(content: bytes, place: Path) -> None:
    from focalnets.data.tables import open_evaluation_table, open_image_table

    for number in range(4):
        for name in ("cat", "dog"):
            (place / f"{name}{number}.png").touch()
    (place / "odd.csv").write_bytes(content)
    found = open_image_table(place / "odd.csv")
    assert len(found.classes) > 1
    assert {label for _, label in found.train} == set(range(len(found.classes)))
    assert open_evaluation_table(place / "odd.csv").samples


def _scan_shard(content: bytes, place: Path) -> None:
    from focalnets.data.shards.members import Shard, scan_shard

    path = place / "odd.tar"
    path.write_bytes(content)
    for sample in scan_shard(Shard(str(path), len(content))):
        assert len(sample.image.read_bytes()) == sample.image.size
        assert isinstance(sample.label, str) or 0 <= sample.label < 10**6
    scan_shard(Shard("https://example.org/a.tar", None), io.BytesIO(content))
    assert [file.name for file in place.iterdir()] == ["odd.tar"]


_INDEX = {
    "format": "focalnets shards", "version": 1, "identity": "0" * 64, "split": "not split", "images": 2,
    "images_per_class": {"all": {"cat": 1, "dog": 1}},
    "classes": ["cat", "dog"],
    "shards": [{"file": "images-000000.tar", "side": "all", "bytes": 4096, "sha256": "0" * 64, "members": ["0.png",
    "1.png"], "offsets": [512, 1536], "sizes": [100, 99], "labels": [0, 1], "positions": [0, 1],
    "origins": ["cat/0.png", "dog/0.png"]}],
}  # fmt: skip


def _read_index(text: bytes, place: Path) -> None:
    from focalnets.data.shards.open import open_shards

    (place / "images-000000.tar").write_bytes(bytes(4096))
    (place / "index.json").write_bytes(text)
    found = open_shards(place)
    for samples in found.sides.values():
        for image, label in samples:
            assert 0 <= label < len(found.class_names)
            assert len(image.read_bytes()) == image.size


def _go_on(text: bytes, place: Path) -> None:
    from focalnets.data.shards.writing import write_shards

    source = place / "a.png"
    source.write_bytes(_PHOTO)
    out = place / "out"
    out.mkdir()
    (out / "mine.tar").write_bytes(b"mine")
    (out / "unfinished.jsonl").write_bytes(text)
    try:
        write_shards(
            {"all": [(source, 0)]}, ["a"], out, name_of=lambda file: file.name, split="not split", overwrite=True
        )
    finally:
        assert (out / "mine.tar").read_bytes() == b"mine"
        assert source.read_bytes() == _PHOTO


_PROGRESS = b'{"identity": "x", "planned": ["images-000000.tar"]}\n' + json.dumps(_INDEX["shards"][0]).encode()  # type: ignore[index]


def _expand(pattern: str, _: Path) -> None:
    from focalnets.data.shards.index import expand

    assert expand(pattern)


@functools.cache
def _real_split() -> Any:
    """What a training writes about its split."""
    import tempfile

    from focalnets.data.sources import open_images

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_classes(folder)
        return json.loads(open_images(folder).write_split(folder / "split.json").read_text(encoding="utf-8"))


def _write_classes(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for number in range(3):
            (folder / name / f"{number}.png").write_bytes(_PHOTO)


def _read_split(text: bytes, place: Path) -> None:
    from focalnets.data.sources import read_split

    _write_classes(place)
    (place / "split.json").write_bytes(text)
    found = read_split(place / "split.json", root=place)
    assert all(0 <= label < len(found.classes) for _, label in (*found.train, *found.val))


def _gather(inputs: list[str], place: Path) -> None:
    import os

    from focalnets.data.inputs import gather_inputs

    assume(not any(Path(each).is_absolute() for each in inputs))  # The whole machine would be searched.
    (place / "a.png").write_bytes(_PHOTO)
    before = Path.cwd()
    os.chdir(place)
    try:
        found, missing = gather_inputs(inputs, once=True, videos=True)
    finally:
        os.chdir(before)
    assert found or missing


def _open_folder(names: list[str], place: Path) -> None:
    from focalnets.data.sources import open_evaluation_images, open_images

    for name in names:
        file = place / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_PHOTO)
        except (OSError, ValueError):  # A name that no system allows.
            continue
    found = open_images(place)
    assert {label for _, label in found.train} <= set(range(len(found.classes)))
    assert open_evaluation_images(place, found.classes).samples


def _match(given: tuple[list[str], list[str]], _: Path) -> None:
    from focalnets.data.class_matching import match_classes

    present, known = given
    index = match_classes(present, known, "data")
    assert set(index) == set(present)
    assert set(index.values()) <= set(range(len(known)))


_SEGMENTATIONS = [
    [[4, 5, 24, 5, 24, 15, 4, 15], [1, 1, 3, 1, 3, 3]], {"size": [30, 40], "counts": [100, 20, 1080]}, {"size": [30,
    40], "counts": "d3d0lQ1"},
]  # fmt: skip
_letters = st.characters(min_codepoint=40, max_codepoint=120)
_corners = st.lists(st.floats() | st.integers(-(10**7), 10**7) | st.floats(-50, 90), min_size=4, max_size=14)
_segmentations = st.one_of(
    *map(changed_values, _SEGMENTATIONS),
    st.lists(_corners, max_size=3),
    st.builds(
        lambda counts: {"size": [30, 40], "counts": counts},
        st.text(_letters, max_size=60) | st.lists(st.integers(0, 1200), max_size=9),
    ),
)
_names = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        (
            *ODD_NAMES,
            "*",
            "**",
            "[",
            "[a-",
            "{0..3}",
            "a\0b",
            "~",
            "~x",
            "",
            ".",
            "..",
            "/",
            "//",
            "a.mp4",
            "a.png",
            "*.png",
            "/dev/null",
            "/proc/self/mem",
            "http://x",
            "x" * 5000,
        )
    ),
)
_parts = st.sampled_from(
    (
        "train",
        "val",
        "Test",
        "TRAIN",
        "cat",
        "dog",
        "@eaDir",
        ".git",
        "images",
        "a b",
        "ünï",
        "1",
        "2",
        "dev",
        "eval",
        "train_set",
        "__MACOSX",
    )
)
_folder_names = st.lists(
    st.builds(
        "/".join, st.lists(_parts | _names, min_size=1, max_size=3).map(lambda parts: [*parts, f"{len(parts)}.png"])
    ),
    min_size=1,
    max_size=9,
)
_classes = st.lists(
    st.text(max_size=6)
    | st.sampled_from(
        ("tench", "n01440764", "English_springer", "english springer", "cat", "Cat", "n02102040", "crane")
    ),
    min_size=1,
    max_size=5,
    unique=True,
)


@functools.cache
def _tars() -> list[bytes]:
    kinds = (
        "good",
        "in the form of GNU",
        "in the form of 1988",
        "a long name",
        "a PAX size",
        "a sparse file",
        "a link",
        "a long name of 1 GB",
        "a PAX sparse size",
    )
    return [SHARDS[name]()[:30_000] for name in kinds] + [
        _small_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ]


def _small_tar(form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in (
            ("a" * 60 + "/" + "b" * 60 + ".png", b"x"),
            ("a" * 60 + "/" + "b" * 60 + ".cls", b"1"),
            ("ü.jpg", b"y"),
            ("ü.json", b'{"label": "b"}'),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


_TABLES = [
    TABLES[name]
    for name in ("good", "with a split", "semicolons", "tabs", "all quoted", "byte order mark", "carriage returns")
]

TARGETS = {
    "COCO content": Target(lambda: json_texts(GOOD), _read_coco),
    "COCO objects": Target(lambda: json_texts(GOOD), _read_objects),
    "encoded masks": Target(lambda: _segmentations, _encode_mask, (ValueError,)),
    "names of classes": Target(
        lambda: st.one_of(
            st.tuples(st.just("classes.json"), json_texts(["background", "cat", "dog"])),
            *(st.tuples(st.just(name), changed_bytes([text])) for name, text in _CLASS_TABLES.items()),
        ),
        _read_class_names,
    ),
    "tables": Target(lambda: changed_bytes(_TABLES, (b"\n", b",", b";", b'"', b"cat0.png", b"train", b"path,label")),
    _read_table),
    "shards": Target(lambda: changed_bytes(_tars(), (b"30 path=a\n", b"ustar\x0000", b"L", b"x", b"g", b"S")),
    _scan_shard),
    "indexes of shards": Target(lambda: json_texts(_INDEX), _read_index),
    "notes of stopped runs": Target(lambda: changed_bytes([_PROGRESS], (b"\n", b"{", b"}", b'"mine.tar"',
    b'"../a.png"')) | json_texts(_INDEX), _go_on),
    "patterns of shards": Target(lambda: st.text("ab{.}019", max_size=12) | st.just("{0..9}{0..9}{0..9}"), _expand),
    "splits": Target(lambda: json_texts(_real_split()), _read_split),
    "lists of inputs": Target(lambda: st.lists(_names, min_size=1, max_size=4), _gather),
    "folders": Target(lambda: _folder_names, _open_folder),
    "class names": Target(lambda: st.tuples(_classes, _classes), _match),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TARGETS))
def test_fuzz(name, fuzzed, say):
    say(fuzzed(__name__, name))
