"""Shards: the same samples as the folder they were made of, whole or not at all, and nothing trusted in them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import pickle
import tarfile
import threading

import pytest
import torch

from focalnets.cli.main import main
from focalnets.data.shards.members import Shard
from focalnets.data.shards.open import is_shards, open_shards
from focalnets.data.shards.writing import write_shards
from focalnets.data.sources import open_evaluation_images, open_images, read_split
from focalnets.errors import ConfigError, DataError, ImageError
from focalnets.models.config import Preprocessing
from focalnets.tasks.classify.data import training_data
from focalnets.training.config import TrainingConfig
from focalnets.training.data import training_loader
from focalnets.training.trainer import open_data


def contents(samples):
    return [(file.read_bytes(), label) for file, label in samples]


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def images(write_coloured_images, tmp_path):
    return write_coloured_images(tmp_path / "images", 5)


@pytest.fixture
def shards(images, tmp_path, capsys):
    assert main(["shard", str(images), str(tmp_path / "shards"), "--samples-per-shard", "4"]) == 0
    assert "15 images of 3 classes in 4 shards" in capsys.readouterr().out
    return tmp_path / "shards"


@pytest.fixture
def server(tmp_path):
    """Address of the folder ``tmp_path`` on a server of this machine, and what was asked of it."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format, *arguments):
            asked.append(arguments[0])

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def test_the_same_samples_as_the_folder(images, shards):
    folder, found = open_images(images, seed=2), open_images(shards, seed=2)
    assert found.classes == folder.classes
    assert contents(found.train) == contents(folder.train)
    assert contents(found.val) == contents(folder.val)
    assert contents(open_evaluation_images(shards).samples) == contents(open_evaluation_images(images).samples)
    copy = pickle.loads(pickle.dumps(found.train))
    assert copy == found.train


def test_train_and_val_stay_apart(images, tmp_path):
    assert main(["shard", str(images), str(tmp_path / "s"), "--val_fraction", "0.4", "--seed", "1"]) == 0
    folder, found = open_images(images, val_fraction=0.4, seed=1), open_images(tmp_path / "s")
    assert (contents(found.train), contents(found.val)) == (contents(folder.train), contents(folder.val))
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == [
        "index.json", "train-000000.tar", "val-000000.tar",
    ]  # fmt: skip
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    assert index["images_per_class"] == {
        side: dict.fromkeys(("blue", "green", "red"), n) for side, n in (("train", 3), ("val", 2))
    }


def test_a_split_of_shards_can_be_written_and_read(shards, tmp_path):
    found = open_images(shards, seed=4)
    again = read_split(found.write_split(tmp_path / "split.json"))
    assert (again.train, again.val, again.root) == (found.train, found.val, shards)
    moved = shards.rename(tmp_path / "moved")
    again = read_split(tmp_path / "split.json", root=moved)
    assert contents(again.train) == contents(found.train[:0] + again.train)
    assert again.train[0][0].shard.location.startswith(str(moved))


def test_other_tools_can_read_the_shards(images, shards):
    with tarfile.open(shards / "images-000000.tar") as tar:
        names = tar.getnames()
        assert len(names) == 8
        assert all(
            a.removesuffix(".png") == b.removesuffix(".cls") for a, b in zip(names[::2], names[1::2], strict=True)
        )
    (shards / "index.json").unlink()
    without = open_shards(shards)
    assert without.class_names == ("0", "1", "2")
    assert sorted(contents(without.sides["all"])) == sorted(contents(open_evaluation_images(images).samples))
    pattern = open_shards(str(shards / "images-{000001..000002}.tar"))
    assert [shard.name for shard in pattern.shards] == ["images-000001.tar", "images-000002.tar"]


def test_shards_stay_below_max_bytes(images, tmp_path):
    assert main(["shard", str(images), str(tmp_path / "s"), "--max_bytes", "30720"]) == 0
    sizes = [file.stat().st_size for file in (tmp_path / "s").glob("*.tar")]
    assert len(sizes) > 1
    assert max(sizes) <= 30720


def test_stopped_and_started_again(images, tmp_path, monkeypatch):
    found = open_images(images)
    options = {"name_of": found.name_of, "split": found.split, "samples_per_shard": 4}
    sides = {"train": found.train, "val": found.val}
    whole = write_shards(sides, found.classes, tmp_path / "whole", **options)

    def stop(done):
        if done == 8:
            raise KeyboardInterrupt

    output = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        write_shards(sides, found.classes, output, on_progress=stop, **options)
    assert sorted(f.name for f in output.iterdir()) == ["train-000000.tar", "train-000001.tar", "unfinished.jsonl"]
    with (output / "unfinished.jsonl").open("a") as file:
        file.write('{"file": "train-0000')  # a stop in the middle of a line
    with pytest.raises(DataError, match="other images or settings"):
        write_shards(sides, found.classes, output, seed=1, **options)
    result = write_shards(sides, found.classes, output, **options)
    assert (result.kept, result.shards) == (2, whole.shards)
    assert {f.name: f.read_bytes() for f in output.iterdir()} == {
        f.name: f.read_bytes() for f in whole.index.parent.iterdir()
    }
    again = write_shards(sides, found.classes, output, seed=1, overwrite=True, **options)
    assert again.kept == 0


def test_labels_of_others(tmp_path):
    image = b"never decoded here"
    write_tar(
        tmp_path / "train-0.tar",
        {"a/1.JPG": image, "a/1.cls": b"cat\n", "2.png": image, "2.json": b'{"label": "ape", "x": 1}', "2.pyd": b"!"},
    )
    found = open_shards(tmp_path)
    assert found.classes == ("ape", "cat")
    assert [(file.name, label) for file, label in found.sides["train"]] == [("a/1.JPG", 1), ("2.png", 0)]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"../../x.jpg": b"i", "../../x.cls": b"0"}, "'../../x.jpg', which points outside"),
        ({"/etc/x.jpg": b"i"}, "points outside"),
        ({"a.jpg": b"i"}, "no class for the image 'a.jpg'"),
        ({"a.txt": b"i"}, "hold no image with a class"),
        ({"a.jpg": b"i", "a.cls": b"-1"}, None),
        ({"a.jpg": b"i", "a.cls": b"99999999999"}, "class number 99999999999"),
        ({"a.jpg": b"i", "a.cls": b"\xff"}, "no class that can be read"),
        ({"a.jpg": b"i", "a.cls": b"9" * 5000}, "number or the name"),
        ({"a.jpg": b"i", "a.json": b'{"label": 1e999}'}, "beyond the range"),
        ({"a.jpg": b"i", "a.json": b'{"label": 123456789012345678901}'}, "beyond the range"),
        ({"a.jpg": b"i", "a.json": b'{"label": NaN}'}, "no number of JSON"),
        ({"a.jpg": b"i", "a.json": b"[" * 100_000}, "no class that can be read"),
        ({"a.jpg": b"i", "a.json": b'{"label": [1]}'}, "number or the name"),
        ({"a.jpg": b"i", "a.png": b"i", "a.cls": b"0"}, "two images"),
    ],
)
def test_hostile_and_incomplete_tars(tmp_path, members, words):
    path = write_tar(tmp_path / "x.tar", members)
    if words is None:
        assert open_shards(path).classes == ("-1",)  # a name like any other
        return
    with pytest.raises(DataError, match=words) as error:
        open_shards(path)
    assert "\n" not in str(error.value)


def test_what_is_no_tar(shards, tmp_path):
    whole = (shards / "images-000000.tar").read_bytes()
    for name, data in (
        ("no.tar", b"hello" * 500),
        ("empty.tar", b""),
        ("cut.tar", whole[:3000]),
        ("end.tar", whole.rstrip(b"\0")),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=r"no plain tar|truncated"):
            open_shards(tmp_path / name)
    for name, words in (("gone.tar", "there is no shard"), ("x.tar.gz", "compressed"), ("a-{5..1}.tar", "count up")):
        assert is_shards(tmp_path / name)
        with pytest.raises(DataError, match=words):
            open_images(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="holds no class folders"):
        open_images(tmp_path / "folder")


def pax_header(content):
    """A head of the POSIX form, with whatever it says about the member behind it."""
    member = tarfile.TarInfo("x")
    member.size, member.type = len(content), tarfile.XHDTYPE
    return member.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    "head",
    [
        pax_header(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"),
        pax_header(b"29 GNU.sparse.size=999999999\n27 GNU.sparse.map=0,x,2,3\n"),
        pax_header(b"9" * 100_000 + b" a=b\n"),
        tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT)[:124] + b"\x80\0\0\0\x7f" + b"\xff" * 7,
    ],
)
def test_damaged_heads_of_members_are_one_sentence(shards, tmp_path, head):
    if len(head) < 512:  # A size of 2^63, with its sum.
        head += b" " * 12 + b" " * 8 + b"0" + bytes(512 - 157)
        head = head[:148] + b"%06o\0 " % sum(head[:512]) + head[156:512]
    (tmp_path / "odd.tar").write_bytes(head + (shards / "images-000000.tar").read_bytes())
    with pytest.raises(DataError, match=r"no plain tar file or is truncated|holds no class") as caught:
        open_shards(tmp_path / "odd.tar")
    assert str(caught.value).endswith(".")


def test_members_without_a_name_are_passed_over(tmp_path):
    image = {"0.png": b"x", "0.cls": b"a", "1.png": b"y", "1.cls": b"b"}
    found = open_shards(write_tar(tmp_path / "odd.tar", {".": b"", **image}))
    assert found.class_names == ("a", "b")


def test_a_damaged_index_and_missing_shards(shards):
    index = shards / "index.json"
    content = json.loads(index.read_text())
    for change in ({"version": 2}, {"classes": ["a"]}, {"shards": [content["shards"][0] | {"file": "../x.tar"}]}):
        index.write_text(json.dumps(content | change))
        with pytest.raises(DataError, match="no index that focalnets shard wrote"):
            open_shards(shards)
    for key, words in (("positions", "not of one length"), ("labels", "list of int"), ("sha256", "it lacks 'sha256'")):
        entry = dict(content["shards"][0])
        entry |= {"positions": [0]} if key == "positions" else {"labels": ["0"] * len(entry["labels"])}
        if key == "sha256":
            entry = {name: value for name, value in content["shards"][0].items() if name != key}
        index.write_text(json.dumps(content | {"shards": [entry]}))
        with pytest.raises(DataError, match=words) as caught:
            open_shards(shards)
        assert "Error" not in str(caught.value)
    index.write_text(json.dumps(content))
    first = open_shards(shards).sides["all"][0][0]
    file = shards / "images-000000.tar"
    file.write_bytes(file.read_bytes()[:-512])
    with pytest.raises(DataError, match=r"bytes, but index\.json says"):
        open_shards(shards)
    for file in shards.glob("*.tar"):
        file.write_bytes(b"")
    with pytest.raises(ImageError, match="ends before"):
        first.read_bytes()
    for file in shards.glob("*.tar"):
        file.unlink()
    with pytest.raises(DataError, match="there is no shard"):
        open_shards(shards)


NO_VALUES = [
    "null",
    "[]",
    "{}",
    '"abc"',
    "[[[]]]",
    "-1",
    "1.5",
    "true",
    "1e999",
    "NaN",
    "9" * 30,
    "9" * 5000,
    '"\\ud800"',
]


@pytest.mark.parametrize("key", ["format", "version", "split", "classes", "shards"])
def test_an_index_with_values_of_other_kinds(shards, key):
    refused_or_read(shards, lambda content, value: content | {key: value}, least=8 if key != "split" else 4)


@pytest.mark.parametrize("key", ["file", "side", "bytes", "sha256"])
def test_an_index_with_shards_of_other_kinds(shards, key):
    refused_or_read(
        shards, lambda content, value: content | {"shards": [content["shards"][0] | {key: value}]},
        least=4 if key == "sha256" else 12,
    )  # fmt: skip


@pytest.mark.parametrize("column", ["members", "offsets", "sizes", "labels", "positions", "origins"])
def test_an_index_with_columns_of_other_kinds(shards, column):
    def whole(content, value):
        return content | {"shards": [content["shards"][0] | {column: value}]}

    def first(content, value):
        return whole(content, [value, *content["shards"][0][column][1:]])

    refused_or_read(shards, whole, least=len(NO_VALUES))
    refused_or_read(shards, first, least=8)


def refused_or_read(shards, change, *, least):
    """Replace something by each value that does not fit; returns nothing, but at least so many must be refused."""
    index = shards / "index.json"
    content = json.loads(index.read_text())
    sentences = []
    for value in NO_VALUES:
        text = json.dumps(change(content, "here it is")).replace('"here it is"', value)
        index.write_text(text)
        try:
            open_shards(shards)
        except DataError as error:
            sentences.append(str(error))
    index.write_text(json.dumps(content))
    assert open_shards(shards).sides["all"]
    assert len(sentences) >= least
    assert not any("\n" in sentence or len(sentence) > 500 for sentence in sentences)


def test_a_range_of_shards_beyond_all_numbers(tmp_path):
    for pattern in ("x-{0..9999999999}.tar", f"x-{{0..{'9' * 5000}}}.tar", f"x-{{{'9' * 5000}..1}}.tar"):
        with pytest.raises(DataError):
            open_shards(tmp_path / pattern)


@pytest.mark.parametrize("address", ["pipe:curl x", "pipe://x", "file:///etc/passwd", "s3://b/x.tar"])
def test_only_http_is_fetched(address):
    with pytest.raises(DataError, match="expected http"):
        open_images(address)


def test_shards_on_a_server(images, shards, server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path / "cache"))
    address, asked = server
    found = open_images(f"{address}/shards/", seed=2)
    assert sum(".tar" in line for line in asked) == 0
    local = open_images(shards, seed=2)
    assert sorted(contents(found.train)) == sorted(contents(local.train))
    assert contents(found.val)
    assert sum(".tar" in line for line in asked) == 4  # each once
    one = open_shards(f"{address}/shards/images-{{000000..000001}}.tar")
    assert len(one.sides["all"]) == 8
    with pytest.raises(DataError, match="answers 404"):
        open_images(f"{address}/nothing")


def test_the_cache_is_kept_small_and_what_arrives_is_checked(shards, server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FOCALNETS_SHARD_CACHE_GB", "0.00004")
    samples = open_shards(f"{server[0]}/shards").sides["all"]
    assert len(contents(samples)) == 15
    assert 1 <= len(list((tmp_path / "cache" / "shards").glob("*.tar"))) < 4
    for file in (tmp_path / "cache" / "shards").glob("*.tar"):
        file.unlink()
    file = shards / "images-000000.tar"
    file.write_bytes(file.read_bytes().replace(b"PNG", b"GNP"))
    with pytest.raises(ImageError, match="cannot be fetched"):
        samples[0][0].read_bytes()


@pytest.fixture
def awkward_server():
    """Address of a server that answers with what ``answers`` holds for a path: headers and body."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            headers, body = answers[self.path.partition("?")[0]]
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", answers
        running.shutdown()
        thread.join()


def test_what_a_server_breaks_off_or_sends_too_much_of(awkward_server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path / "cache"))
    address, answers = awkward_server
    answers["/x/index.json"] = ({"Transfer-Encoding": "chunked"}, b"ff\r\n{")
    with pytest.raises(DataError, match="try again later"):
        open_shards(f"{address}/x")
    answers["/x.tar"] = ({"Content-Length": "20480"}, b"short")
    with pytest.raises(DataError, match=r"try again later|no plain tar"):
        open_shards(f"{address}/x.tar")
    with pytest.raises(ImageError, match="cannot be fetched"):
        Shard(f"{address}/x.tar", 20_480).read(0, 1)
    answers["/x.tar"] = ({}, bytes(4 << 20))
    with pytest.raises(ImageError, match="more than the 10 bytes"):
        Shard(f"{address}/x.tar", 10).read(0, 1)


def test_a_changed_or_damaged_shard_is_fetched_again(awkward_server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path / "cache"))
    address, answers = awkward_server
    for image in (b"first.", b"second"):
        body = write_tar(tmp_path / "a.tar", {"a.jpg": image, "a.cls": b"0"}).read_bytes()
        answers["/a.tar"] = ({"Content-Length": str(len(body)), "ETag": image.decode()}, body)
        found = open_shards(f"{address}/a.tar?token=secret")
        assert found.sides["all"][0][0].read_bytes() == image
        assert (
            "secret" not in f"{found.location}{found.shards[0].name}{found.sides['all'][0][0]}{found.origins.values()}"
        )
    for file in (tmp_path / "cache" / "shards").glob("*.tar"):
        file.write_bytes(b"cut off")
    assert found.sides["all"][0][0].read_bytes() == b"second"


def test_shards_of_one_name_are_refused(tmp_path):
    for folder in ("0", "1"):
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "a.tar", {"a.jpg": b"x", "a.cls": b"0"})
    with pytest.raises(DataError, match=r"have the name 'a\.tar'"):
        open_shards(str(tmp_path / "{0..1}" / "a.tar"))


def test_a_tar_beside_folders_of_classes_is_no_shard(images):
    write_tar(images / "backup.tar", {"notes.txt": b"x"})
    assert not is_shards(images)
    assert len(open_images(images).classes) == 3


def test_training_from_a_server_repeats_and_continues(images, shards, server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCALNETS_CACHE", str(tmp_path / "cache"))
    config = TrainingConfig(batch_size=4, workers=0, seed=1)
    data = open_data(f"{server[0]}/shards/", config)
    preprocessing = Preprocessing(input_size_px=16, crop_fraction=1.0)
    loader = training_loader(config.build_task(), data, config, preprocessing)
    batches = list(loader)
    assert len(batches) == 3
    folders = read_split(data.write_split(tmp_path / "split.json"))
    again = training_data(folders)
    assert again.fingerprint == data.fingerprint
    loader = training_loader(config.build_task(), again, config, preprocessing)
    loader.load_state_dict({"epoch": 0, "batch": 1})
    for first, second in zip(batches[1:], loader, strict=True):
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)
    with pytest.raises(ConfigError, match="would fetch all shards"):
        open_data(f"{server[0]}/shards/", config.replace(skip_unreadable=True))


def test_shards_of_shards_are_refused(shards, tmp_path, capsys):
    assert main(["shard", str(shards), str(tmp_path / "again")]) == 2
    assert "already holds shards" in capsys.readouterr().err
