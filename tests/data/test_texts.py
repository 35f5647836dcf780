"""Texts: which files hold them, what is wrong with them in one sentence, and tokens that give them back."""

from __future__ import annotations

import gzip
import importlib.util
import json

import numpy as np
import pytest
import torch
from tests.tasks.corpus import corpus

from focalnets.data.text.corpus import open_corpus, write_tokens
from focalnets.data.text.finding import find_texts, recognise_texts
from focalnets.data.text.passages import Passages
from focalnets.data.text.pieces import PieceTokenizer, read_tokenizer, tokenizer_of, train_tokenizer
from focalnets.data.text.reading import read_texts, without_surrogates
from focalnets.data.text.tokenizers import ByteTokenizer, CharacterTokenizer, Decoder
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import TextInput

HAS_PIECES = importlib.util.find_spec("tokenizers") is not None
with_pieces = pytest.mark.skipif(not HAS_PIECES, reason="needs the package tokenizers")

TEXT = "Grüße, 世界!\nAn apple 🍎 a day.\n\n" * 40


def write_lines(file, texts, field="text"):
    content = "\n".join(json.dumps({field: text, "number": 1}) for text in texts)
    file.write_bytes(gzip.compress(content.encode()) if file.suffix == ".gz" else content.encode())
    return file


def test_all_kinds_of_files_give_the_same_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    write_lines(tmp_path / "a.jsonl", [TEXT])
    write_lines(tmp_path / "a.jsonl.gz", [TEXT])
    for name in ("a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz"):
        assert read_texts([tmp_path / name]) == TEXT
    assert read_texts([tmp_path / "a.txt", tmp_path / "a.jsonl"]) == f"{TEXT}\n\n{TEXT}"
    assert read_texts([write_lines(tmp_path / "b.jsonl", ["one", "two"], "body")], text_field="body") == "one\n\ntwo"


BAD = {
    "empty.txt": (b" \n", "is empty"),
    "mark.txt": (b"\xef\xbb\xbf\n", "holds no text"),
    "zeros.txt": (b"abc\0def", "holds zero bytes"),
    "binary.txt": (bytes(range(256)), "is no text"),
    "latin.txt": ("Grüße".encode("latin1"), r"not in UTF-8 \(byte 0xfc at position 2\)"),
    "wide.txt": ("text".encode("utf-16"), "is in UTF-16"),
    "plain.txt.gz": (b"not compressed at all", "is damaged"),
    "cut.txt.gz": (gzip.compress(TEXT.encode())[:-20], "is damaged"),
    "flipped.txt.gz": (gzip.compress(TEXT.encode())[:30] + b"\xff\xff\xff\xff" * 9, "is damaged"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": ', "line 2 of .* is no JSON"),
    "other.jsonl": (b'{"body": "a"}', r"has no text in a field 'text' \(its fields are \['body'\]\)"),
    "list.jsonl": (b'["a"]', "it is no object"),
    "deep.jsonl": (b"[" * 100_000, "is no JSON"),
    "blank.jsonl": (b'{"text": " "}', "holds no text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_sentence(name, tmp_path):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        open_corpus(tmp_path / name)
    assert name in str(refused.value)


def test_parts_are_found_by_their_names(tmp_path):
    for name in ("train.txt", "valid.txt", "test.txt", ".hidden.txt", "README.txt"):
        (tmp_path / name).write_text(name)
    found = find_texts(tmp_path)
    assert [file.name for file in found.train] == ["train.txt"]
    assert [file.name for file in found.val] == ["valid.txt"]
    (tmp_path / "books" / "train" / "old").mkdir(parents=True)
    (tmp_path / "books" / "dev").mkdir()
    for number in (10, 9):
        (tmp_path / "books" / "train" / "old" / f"{number}.txt").write_text("a")
    (tmp_path / "books" / "dev" / "c.jsonl").write_text('{"text": "b"}')
    found = find_texts(tmp_path / "books")
    assert [file.name for file in found.train] == ["9.txt", "10.txt"]
    assert [file.name for file in found.val] == ["c.jsonl"]
    before = found.fingerprint
    (tmp_path / "books" / "dev" / "c.jsonl").write_text('{"text": "bc"}')
    assert find_texts(tmp_path / "books").fingerprint != before


def test_places_without_texts_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        find_texts(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no text"):
        find_texts(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.bin").write_bytes(b"aa")
    with pytest.raises(DataError, match="leave one kind"):
        find_texts(tmp_path)


def test_what_is_recognised_as_text(tmp_path):
    (tmp_path / "a.txt").write_text("a" * 20_000)
    assert recognise_texts(tmp_path / "a.txt") == "a file of text with 0.02 MB"
    assert recognise_texts(tmp_path) == "a file of text with 0.02 MB"
    assert recognise_texts("https://somewhere/a.txt") == recognise_texts(tmp_path / "nowhere.txt") == ""
    (tmp_path / "photo.jpg").write_bytes(b"")
    assert recognise_texts(tmp_path) == ""
    (tmp_path / "photo.jpg").unlink()
    (tmp_path / "cats").mkdir()
    assert recognise_texts(tmp_path) == ""


def all_tokenizers():
    yield ByteTokenizer()
    yield CharacterTokenizer.of_text(TEXT)
    if HAS_PIECES:
        yield train_tokenizer(TEXT, 290)


def test_tokens_give_the_text_back_and_count_it():
    for tokenizer in all_tokenizers():
        tokens = tokenizer.encode(TEXT)
        assert tokenizer.decode(tokens) == TEXT
        assert tokens.max() < tokenizer.size
        assert tokenizer.byte_counts[tokens].sum() == len(TEXT.encode())
        assert tokenizer.character_counts[tokens].sum() == len(TEXT)
        decoder = Decoder(tokenizer)
        pieces = [decoder.add(int(token)) for token in tokens]
        assert "".join(pieces) + decoder.end() == TEXT
        spec = TextInput.from_dict(json.loads(json.dumps(tokenizer.spec(64).to_dict())))
        again = tokenizer_of(spec)
        assert (again.encode(TEXT) == tokens).all()
        assert again.spec(64) == spec


def test_a_character_that_ends_in_the_middle_is_shown_as_replaced():
    decoder = Decoder(ByteTokenizer())
    assert [decoder.add(byte) for byte in "ß".encode()[:1]] == [""]
    assert decoder.end() == "\N{REPLACEMENT CHARACTER}"


def test_unknown_characters_are_named():
    with pytest.raises(DataError, match=r"1 characters that the network does not know .'z'"):
        CharacterTokenizer.of_text("abc").encode("abz")


def test_descriptions_that_contradict_themselves_are_refused():
    with pytest.raises(ConfigError, match="has 3 entries"):
        tokenizer_of(TextInput(unit="characters", vocabulary="characters", vocabulary_size=4, tokenizer="abc"))
    with pytest.raises(ConfigError, match="each another"):
        tokenizer_of(TextInput(unit="characters", vocabulary="characters", vocabulary_size=4, tokenizer="aabc"))
    with pytest.raises(ConfigError, match="at most"):
        TextInput(tokenizer="a" * (8 * 2**20 + 1))


@with_pieces
def test_odd_tokenizers_are_refused(tmp_path):
    written = json.loads(train_tokenizer(TEXT, 260).written)
    for content, message in (("{", "cannot be read"), ("{}", "cannot be read"), ("[]", "cannot be read")):
        with pytest.raises(ConfigError, match=message):
            PieceTokenizer(content, "odd")
    with pytest.raises(ConfigError, match="decoder WordPiece"):
        PieceTokenizer(
            json.dumps({**written, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}), "words"
        )
    with pytest.raises(ConfigError, match=r"bpe:SIZE or a tokenizer.json"):
        read_tokenizer(tmp_path / "tokenizer.json")


@with_pieces
def test_pieces_with_spaces_as_sentencepiece_has_them():
    import tokenizers

    whole = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True))
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    whole.decoder = tokenizers.decoders.Metaspace(prepend_scheme="never")
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False)
    whole.train_from_iterator([corpus(200)], trainer)
    tokenizer = PieceTokenizer(whole.to_str(), "spaces")
    text = "the king came home"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.piece(0) == b""


def test_the_end_is_held_out_and_the_tokenizer_chosen(tmp_path):
    text = corpus(500)
    (tmp_path / "a.txt").write_text(text)
    opened = open_corpus(tmp_path / "a.txt")
    assert opened.tokenizer.unit == "characters"
    assert opened.tokenizer.decode(opened.train) == text[: int(0.9 * len(text))]
    assert opened.tokenizer.decode(np.concatenate([opened.train, opened.val])) == text
    (tmp_path / "b.txt").write_text(text + "".join(map(chr, range(0x4E00, 0x4F00))))
    opened = open_corpus(tmp_path / "b.txt")
    assert opened.tokenizer.unit == "bytes"
    assert "276 different characters" in opened.notes[0]
    assert open_corpus(tmp_path / "b.txt", tokenizer="characters").tokenizer.size == 276
    for name in ("words", "bpe:12", "bpe:70000", "bpe:x"):
        with pytest.raises(ConfigError, match="bpe:SIZE"):
            open_corpus(tmp_path / "a.txt", tokenizer=name)


@with_pieces
def test_a_tokenizer_trained_on_the_spot_never_sees_what_is_held_out(tmp_path):
    (tmp_path / "a.txt").write_text("abcd " * 200 + "xyzw " * 20)
    opened = open_corpus(tmp_path / "a.txt", tokenizer="bpe:300")
    pieces = {opened.tokenizer.piece(token) for token in range(opened.tokenizer.size)}
    assert b"abcd" in {piece.strip() for piece in pieces}
    assert not any(b"xy" in piece for piece in pieces)
    assert "only" in opened.notes[0]


def test_files_of_tokens_are_mapped(tmp_path):
    text = corpus(300)
    assert write_tokens(text, ByteTokenizer(), tmp_path / "train.bin") == len(text)
    np.save(tmp_path / "val.npy", np.frombuffer(text[:500].encode(), np.uint8).astype(np.uint32))
    opened = open_corpus(tmp_path, tokenizer="bytes")
    assert isinstance(opened.train, np.memmap)
    assert isinstance(opened.val, np.memmap)
    assert opened.tokenizer.decode(opened.train) == text
    assert opened.tokenizer.decode(opened.val) == text[:500]
    with pytest.raises(DataError, match="say with --tokenizer what made them"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, 300], np.uint16), "holds the token 300"),
        (np.array([1.0, 2.0]), "whole numbers without sign"),
        (np.ones((2, 2), np.uint16), r"shape \(2, 2\)"),
        (np.array([], np.uint16), "is empty"),
        (np.array([{"a": 1}], object), "no tokens that can be read"),
    ],
)
def test_odd_files_of_tokens_are_refused(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        open_corpus(tmp_path / "a.npy", tokenizer="bytes")


def test_broken_files_of_tokens_are_refused(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"")
    for name, message in (("a.bin", "no tokens that can be read"), ("b.bin", "is empty")):
        with pytest.raises(DataError, match=message):
            open_corpus(tmp_path / name, tokenizer="bytes")


def test_passages_to_measure_on_predict_every_token_once():
    tokens = np.arange(1, 101, dtype=np.uint8)
    passages = Passages(tokens, ByteTokenizer(), 16)
    targets = np.concatenate([passages[index][0].cut(16)[1:] for index in range(len(passages))])
    assert targets.tolist() == tokens[1:].tolist()
    assert passages.text(0) == bytes(range(1, 18)).decode()
    with pytest.raises(IndexError):
        passages[len(passages)]


@pytest.mark.parametrize("count", [0, 3, 200])
def test_passages_to_learn_from_reach_every_place(count):
    tokens = np.arange(100, dtype=np.uint8)
    passages = Passages(tokens, ByteTokenizer(), 16, count=count)
    assert len(passages) == (count or 7)
    firsts = set()
    for index in range(len(passages)):
        passage = passages[index][0]
        firsts |= set(range(passage.first, passage.first + passage.spread))
        assert len(passage.cut(16, passage.spread - 1)) == 17
    assert firsts == set(range(84))
    assert torch.from_numpy(passages[0][0].cut(16)).dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x93NUMPY\x01\x00\x04\x00{'d(", "no tokens that can be read"),
        (b"PK\x05\x06" + bytes(18), "no tokens that can be read"),
    ],
)
def test_broken_arrays_of_tokens_are_refused(content, message, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_corpus(tmp_path / "a.npy", tokenizer="bytes")


def test_halves_of_pairs_are_replaced_everywhere(tmp_path):
    torn, whole = "a \udcff b \ud800", "a \ufffd b \ufffd"
    assert without_surrogates(torn) == whole
    assert without_surrogates(TEXT) == TEXT
    assert read_texts([write_lines(tmp_path / "a.jsonl", [torn, "🍎"])]) == f"{whole}\n\n🍎"
    assert bytes(ByteTokenizer().encode(torn)).decode() == whole
    characters = CharacterTokenizer.of_text(torn)
    assert characters.written == " ab\ufffd"
    assert characters.decode(characters.encode(torn)) == whole
    with pytest.raises(DataError, match="does not know"):
        CharacterTokenizer("ab ").encode(torn)


@with_pieces
def test_pieces_take_halves_of_pairs(tmp_path):
    tokenizer = train_tokenizer(f"{TEXT}\ud800", 300)
    assert tokenizer.decode(tokenizer.encode("An \udcff")) == "An \ufffd"
