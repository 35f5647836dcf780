"""Labelled texts: which places hold them, how they are divided, and what is wrong with them in one sentence."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from tests.tasks.messages import messages, write_messages

from focalnets.data.checks.texts import check_texts
from focalnets.data.text.inputs import GivenText, as_texts_or_paths, gather_texts, lines_of
from focalnets.data.text.labelled import LabelledTexts, find_labelled_texts, held_out_rows, split_rows
from focalnets.data.text.pieces import tokenizer_of
from focalnets.data.text.recognition import recognise_labelled_texts
from focalnets.data.text.tables import read_table
from focalnets.data.text.words import WordTokenizer, split_words
from focalnets.errors import ConfigError, DataError
from focalnets.tasks.recognition import recognise_task


def plain(rows):
    return [(row.text, row.label) for row in rows]


def write_folders(root, rows, endings=(".txt",)):
    for number, (text, label) in enumerate(rows):
        (root / label).mkdir(parents=True, exist_ok=True)
        ending = endings[number % len(endings)]
        content = text.encode()
        (root / label / f"{number}{ending}").write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    return root


def test_all_kinds_of_places_give_the_same_texts(tmp_path):
    rows = messages(30)
    lines = "\n".join(json.dumps({"id": 1, "text": text, "label": label}) for text, label in rows)
    (tmp_path / "c.jsonl").write_text(lines)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    places = [write_messages(tmp_path / "a.csv", 30), write_messages(tmp_path / "b.tsv", 30),
              tmp_path / "c.jsonl", tmp_path / "c.jsonl.gz"]  # fmt: skip
    for place in places:
        assert plain(find_labelled_texts(place).rows) == rows, place.name
        assert recognise_task(place)[0] == "text"
    folder = write_folders(tmp_path / "folders", rows, (".txt", ".txt.gz"))
    assert sorted(plain(find_labelled_texts(folder).rows)) == sorted(rows)
    assert "training text" in recognise_task(folder)[1]


def test_the_same_text_is_never_on_both_sides(tmp_path):
    rows = [*messages(40), *messages(40)[:20], ("torn apart", "ham"), ("torn apart", "spam")]
    place = tmp_path / "a.jsonl"
    place.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    train, val, classes, words, _ = split_rows(find_labelled_texts(place), val_fraction=0.25, seed=1)
    assert classes == ("ham", "spam")
    assert not {row.text for row in train} & {row.text for row in val}
    assert len(train) + len(val) == len(rows)
    assert "25%" in words
    again = split_rows(find_labelled_texts(place), val_fraction=0.25, seed=1)[1]
    assert again == val
    assert split_rows(find_labelled_texts(place), val_fraction=0.25, seed=2)[1] != val


def test_parts_that_are_named_are_kept(tmp_path):
    for part, seed in (("train", 1), ("dev", 2), ("test", 3)):
        write_messages(tmp_path / f"{part}.csv", 12, seed)
    found = find_labelled_texts(tmp_path)
    train, val, _, words, notes = split_rows(found, val_fraction=0.2, seed=0)
    assert plain(train) == messages(12, 1)
    assert plain(val) == plain(held_out_rows(found)) == messages(12, 2)
    assert words == "texts of train and val"
    assert notes == ("texts of test, which are not used: 12",)
    (tmp_path / "one").mkdir()
    table = tmp_path / "one" / "all.csv"
    table.write_text(
        "text,label,split\n" + "".join(f"{i} words,{'ab'[i % 2]},{'train' if i < 6 else 'test'}\n" for i in range(9))
    )
    train, val, _, words, _ = split_rows(find_labelled_texts(table), val_fraction=0.2, seed=0)
    assert (len(train), len(val), words) == (6, 3, "texts of train and test")
    root = tmp_path / "folders"
    write_folders(root / "train", messages(12))
    write_folders(root / "test", messages(9, 5))
    assert [len(part) for part in split_rows(find_labelled_texts(root), val_fraction=0.2, seed=0)[:2]] == [12, 9]


def test_columns_by_name_and_by_number(tmp_path):
    (tmp_path / "a.csv").write_text("id,Title,Body,kind\n1,One,two three,x\n2,Four,five,y\n")
    rows = read_table(tmp_path / "a.csv", text_field="title,body", label_field="kind")
    assert plain(rows) == [("One two three", "x"), ("Four five", "y")]
    assert [row.name for row in rows] == ["a.csv line 2", "a.csv line 3"]
    (tmp_path / "b.tsv").write_text('x\t"Odd" quotes "\ny\t"whole, ""quoted"""\n')
    rows = read_table(tmp_path / "b.tsv", text_field="2", label_field="1")
    assert plain(rows) == [('"Odd" quotes "', "x"), ('whole, "quoted"', "y")]


BAD = {
    "no_text.csv": ("words,label\na,b\n", "names no column for the text: it has 'words', 'label'; name it with --"),
    "no_label.csv": ("text,kind\na,b\n", "names no column for the label"),
    "two.csv": ("text,review,label\na,b,c\n", "2 columns that could be the text ('text', 'review'); choose"),
    "hole.csv": ("text,label\na,\n", "line 2 of .* has an empty label"),
    "split.csv": ("text,label,split\na,b,sometimes\n", "has the split 'sometimes'"),
    "one.csv": ("text,label\na b,x\nc d,x\n", "holds only the class 'x'"),
    "few.csv": ("text,label\na b,x\nc d,y\n", "holds 1 different text"),
    "empty.csv": ("text,label\n,x\n,y\n", "all 2 texts of .* are empty"),
    "bad.jsonl": ('{"text": "a", "label": "x"}\n{"text": \n', "line 2 of .* is no JSON"),
    "number.jsonl": ('{"text": 3, "label": "x"}\n', "has no text but 3"),
    "float.jsonl": ('{"text": "a", "label": 1.5}\n', "has the label 1.5"),
    "list.jsonl": ("[1]\n", "is no object"),
    "alone.csv": ("text,label,split\na,x,train\nb,y,train\nc,z,val\n", "holds out classes that it does not train: 'z'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_text(content)
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(DataError, match=pattern):
        split_rows(find_labelled_texts(tmp_path / name), val_fraction=0.5, seed=0)


def test_nothing_to_find(tmp_path):
    with pytest.raises(DataError, match="there is no file or folder"):
        find_labelled_texts(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no labelled texts"):
        find_labelled_texts(tmp_path)


def test_tables_of_images_stay_what_they_are(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "images.csv").write_text("path,label,comment\na.png,x,nice\n")
    assert recognise_labelled_texts(tmp_path / "images.csv") == ""
    assert recognise_task(tmp_path / "images.csv") == ("classify", "")
    (tmp_path / "both.csv").write_text("image,text,label\nhttps://a/b.png,nice,x\n")
    with pytest.raises(ConfigError, match="--task classify or --task text"):
        recognise_task(tmp_path / "both.csv")
    for content in ("path,label\na.png,x\n", "v1,v2\nham,hello\n", ""):
        (tmp_path / "other.csv").write_text(content)
        assert recognise_labelled_texts(tmp_path / "other.csv") == ""


def test_texts_without_labels_are_for_language(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a story"}\n')
    (tmp_path / "b.txt").write_text("a story")
    for name in ("a.jsonl", "b.txt"):
        assert recognise_task(tmp_path / name)[0] == "language"
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text("a story")
    assert recognise_labelled_texts(tmp_path) == ""


def test_words_of_any_script_come_back():
    assert split_words("Don't PAY £100 now!") == ["don't", "pay", "£", "100", "now", "!"]
    assert split_words("我爱北京, ok") == ["我", "爱", "北", "京", ",", "ok"]
    tokenizer = WordTokenizer.of_texts(["win a prize", "win a car", "a cat 77"], 10)
    assert tokenizer.written.split("\n") == ["a", "win"]
    assert tokenizer.encode("A dog will WIN 99!").tolist() == [2, 0, 0, 3, 1, 0]
    assert tokenizer.decode(tokenizer.encode("win a")) == "win a"
    again = tokenizer_of(tokenizer.spec(8))
    assert again.encode("win a prize 5").tolist() == tokenizer.encode("win a prize 5").tolist()
    assert WordTokenizer.of_texts(["each once"]).size == 4
    with pytest.raises(ConfigError, match="without spaces"):
        WordTokenizer(["a", "a"])


def test_what_is_given_for_an_answer(tmp_path, monkeypatch):
    write_messages(tmp_path / "a.csv", 3)
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    texts, missing = gather_texts(["a text", tmp_path / "a.csv", tmp_path / "b.txt", tmp_path / "gone.txt"])
    assert [text.text for text in texts] == ["a text", *(text for text, _ in messages(3)), "one\n\ntwo"]
    assert [text.name for text in texts][:2] == ["text 0", "a.csv line 2"]
    assert "there is no file" in missing[0][1]
    texts, _ = gather_texts(tmp_path, by_lines=True)
    assert texts == [GivenText("b.txt line 1", "one"), GivenText("b.txt line 3", "two")]
    assert lines_of(io.StringIO("x\n\n y\n"), "input") == [
        GivenText("input line 1", "x"),
        GivenText("input line 3", "y"),
    ]
    monkeypatch.chdir(tmp_path)
    words = ["b.txt", "gone.csv", "hello", "see you at a.txt"]
    assert as_texts_or_paths(words) == [Path("b.txt"), Path("gone.csv"), "hello", "see you at a.txt"]
    with pytest.raises(DataError, match="no text to look at"):
        gather_texts([])


def test_check_finds_what_is_odd(tmp_path):
    rows = [
        ("same words", "a"),
        ("same words", "b"),
        ("", "a"),
        *((f"text {i}", "a") for i in range(30)),
        ("last one", "b"),
    ]
    table = tmp_path / "t.csv"
    table.write_text("text,label,split\n" + "".join(f"{text},{label},train\n" for text, label in rows)
                     + "text 3,a,val\nnew one,a,val\n")  # fmt: skip
    checked = check_texts(table)
    found = {finding.kind: finding for finding in checked.findings}
    assert set(found) == {
        "empty",
        "contradictory",
        "doubled",
        "tiny-class",
        "imbalance",
        "across-splits",
        "only-in-train",
    }
    assert found["across-splits"].count == found["empty"].count == 1
    assert checked.counts == {"train": 33, "val": 2}
    table.write_text("text,label\na,x\nb,y\n")
    assert check_texts(table).findings[0].severity == "error"


def test_labels_index_the_classes(tmp_path):
    found = find_labelled_texts(write_messages(tmp_path / "a.csv", 6))
    data = LabelledTexts(found.rows, ("spam", "ham"))
    assert data.class_of == [0, 1, 1, 0, 1, 1]
    assert data[0] == (messages(6)[0][0], 0)
    assert data.length_of[0] == len(messages(6)[0][0])


def test_only_what_is_learnt_from_needs_two_classes(tmp_path):
    write_folders(tmp_path / "train", messages(12))
    write_folders(tmp_path / "val", [(f"text {number}", "ham") for number in range(3)])
    train, val, classes, _, _ = split_rows(find_labelled_texts(tmp_path), val_fraction=0.2, seed=0)
    assert (len(train), len(val), classes) == (12, 3, ("ham", "spam"))
    assert recognise_task(tmp_path)[0] == "text"


def test_a_bad_file_of_a_folder_is_listed_and_the_others_read(tmp_path):
    for name, content in (("a", b"one"), ("b", b"zero \0"), ("c", b"two \xff"), ("d", b"three")):
        (tmp_path / f"{name}.txt").write_bytes(content)
    texts, missing = gather_texts(tmp_path)
    assert [text.text for text in texts] == ["one", "three"]
    assert [Path(name).name for name, _ in missing] == ["b.txt", "c.txt"]
    assert "zero bytes" in missing[0][1]
    assert gather_texts("a \udcff")[0][0].text == "a \ufffd"


def test_streams_are_read_in_utf8_whatever_they_say():
    stream = io.TextIOWrapper(io.BytesIO("é\r\n\nb\n".encode()), encoding="latin1")
    assert lines_of(stream, "input") == [GivenText("input line 1", "é"), GivenText("input line 3", "b")]
    with pytest.raises(DataError, match="input is not in UTF-8"):
        lines_of(io.TextIOWrapper(io.BytesIO(b"win \xff prize\n"), encoding="utf-8"), "input")
