"""Looking into networks of texts: what each token takes in is what the layers compute, and pages hold it all."""

from __future__ import annotations

import csv
import html
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.report.reading import check_alone

from focalnets.data.text.tokenizers import ByteTokenizer, CharacterTokenizer
from focalnets.errors import ConfigError, DataError
from focalnets.models.sequence import FocalLanguageModel, FocalTextClassifier, LanguageConfig, TextClassifierConfig
from focalnets.visualize.text.explain import explain_text

LETTERS = "abcdefgh <>&'\"\n"
TEXT = "bad <b>cab</b> & 'head'\nbag".replace("/", "")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def language_model(tokenizer=None, seed=0, **changes):
    tokenizer = tokenizer or CharacterTokenizer(LETTERS)
    settings = {"vocabulary_size": tokenizer.size, "dim": 16, "depth": 2, "kernel_sizes": (3, 2), **changes}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = FocalLanguageModel(LanguageConfig(**settings)).eval()
    network.preprocessing = tokenizer.spec(32)
    return network


def text_classifier(context=32):
    tokenizer = CharacterTokenizer(LETTERS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FocalTextClassifier(
            TextClassifierConfig(vocabulary_size=tokenizer.size, num_classes=3, dim=16, depth=2, focal_levels=2)
        ).eval()
    network.preprocessing, network.class_names = tokenizer.spec(context), ("spam", "<ham>", "egg")
    return network


def tokens_of(network, text=TEXT):
    return torch.tensor([[network.preprocessing.tokenizer.index(letter) for letter in text]])


def levels_by_hand(mixer, tokens, context):
    """All levels of a causal block (L, T, C), position by position."""
    level, levels = context, []
    for kernel, step in zip(mixer.kernels, mixer.dilations, strict=True):
        past = F.pad(level.mT, ((kernel.shape[1] - 1) * step, 0))
        level = F.gelu(F.conv1d(past, kernel.unsqueeze(1), dilation=step, groups=level.shape[-1]).mT)
        levels.append(level[0])
    decay = mixer.decay(tokens, torch.float32)
    rows = [None] if decay is None else [decay[0]] if decay.ndim == 3 else [row.expand_as(level[0]) for row in decay]
    for row in rows:
        running, held = [], torch.zeros(level.shape[-1])
        for place, value in enumerate(level[0]):
            kept = place / (place + 1) if row is None else row[place]
            held = kept * held + (1 - kept) * value
            running.append(F.gelu(held))
        levels.append(torch.stack(running))
    if mixer.memory is not None:
        levels.append(memory_by_hand(mixer.memory, tokens, context)[0])
    return torch.stack(levels)


def memory_by_hand(memory, tokens, context):
    """What an associative memory reads, from all pairs of positions."""
    taps = memory.convolution.kernel
    past = F.conv1d(F.pad(tokens.mT, (taps.shape[1] - 1, 0)), taps.unsqueeze(1), groups=len(taps)).mT
    query, key, value = (
        each.unflatten(-1, (memory.groups, -1)).transpose(1, 2)
        for each in (memory.query_projection(tokens), memory.key_projection(past), context)
    )
    read = F.cosine_similarity(query.unsqueeze(-2), key.unsqueeze(-3), dim=-1).tril() @ value
    return (read / (read.square().mean(-1, keepdim=True) + 1e-6).sqrt()).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({}, "everything so far"),
        ({"running": "ema", "scales": 2, "gate_heads": 4}, "a fading past, 2 of 2"),
        ({"running": "gated", "dilations": (1, 3)}, "a fading past"),
        ({"memory_keys": 4, "gate_heads": 2}, "what is looked up"),
    ],
)
def test_what_is_taken_in_is_what_the_layers_compute(changes, last):
    network = language_model(**changes)
    figures = explain_text(TEXT, network)
    assert figures.levels[-1] == last
    assert figures.levels[:2] == ("3 characters", "6 characters" if "dilations" in changes else "4 characters")
    block, mixer = network.blocks[0], network.blocks[0].mixer
    with torch.no_grad():
        tokens = block.norm1(network.embedding(tokens_of(network)))
        query, context, gates = mixer.input_projection(tokens).split(
            (16, 16, mixer.gated_levels * mixer.gate_heads), -1
        )
        gates = gates[0].unflatten(-1, (mixer.gated_levels, mixer.gate_heads))
        levels = levels_by_hand(mixer, tokens, context)
        added = levels * gates.transpose(0, 1).repeat_interleave(16 // mixer.gate_heads, -1)
        modulator = mixer.modulator_projection(added.sum(0))
    found = figures.blocks[0]
    np.testing.assert_allclose(found.gates, gates.mean(-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.lengths, added.norm(dim=-1).T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.modulator, modulator.norm(dim=-1), rtol=1e-4)
    np.testing.assert_allclose(found.shares.sum(1), 1, rtol=1e-5)
    assert query.shape == (1, len(TEXT), 16)


def test_surprise_is_that_of_each_token_after_those_before_it():
    network = language_model()
    figures = explain_text(TEXT, network)
    tokens = tokens_of(network)
    assert math.isnan(figures.surprise[0])
    assert figures.guesses[0] is None
    with torch.no_grad():
        for place in (1, 5, len(TEXT) - 1):
            probabilities = network(tokens[:, :place])[0][0, -1].softmax(-1)
            assert figures.surprise[place] == pytest.approx(-math.log(probabilities[tokens[0, place]]), rel=1e-4)
            assert figures.guesses[place].piece == LETTERS[int(probabilities.argmax())]
            assert figures.guesses[place].probability == pytest.approx(float(probabilities.max()), rel=1e-4)
    assert figures.nats == pytest.approx(float(figures.surprise[1:].mean()), rel=1e-5)
    assert "".join(figures.pieces) == TEXT


def test_a_classifier_is_looked_into_and_reads_no_more_than_it_was_made_for():
    network = text_classifier()
    figures = explain_text(TEXT, network)
    with torch.no_grad():
        probabilities = network(tokens_of(network))[0].softmax(-1)
    assert dict(figures.classes)["<ham>"] == pytest.approx(float(probabilities[1]), rel=1e-4)
    assert figures.classes[0][1] == pytest.approx(float(probabilities.max()), rel=1e-4)
    assert figures.levels == ("3 characters", "7 characters", "the whole text")
    assert figures.surprise is None
    assert figures.nats is None
    block = network.blocks[0]
    with torch.no_grad():
        tokens = block.norm1(network.embedding(tokens_of(network)))
        _, context, gates = block.modulation.input_projection(tokens).split((16, 16, 3), -1)
        level, levels = context, []
        for kernel in block.modulation.kernels:
            convolved = F.conv1d(level.mT, kernel.unsqueeze(1), padding=kernel.shape[1] // 2, groups=16)
            level = F.gelu(convolved.mT)
            levels.append(level[0])
        levels.append(F.gelu(level[0].mean(0)).expand_as(level[0]))
    added = torch.stack(levels, 1) * gates[0].unsqueeze(-1)
    np.testing.assert_allclose(figures.blocks[0].lengths, added.norm(dim=-1), rtol=1e-4, atol=1e-6)
    short = explain_text(TEXT, text_classifier(context=5))
    assert (len(short.tokens), short.left_out) == (5, len(TEXT) - 5)


def test_blocks_that_attend_are_left_out(tmp_path):
    hybrid = explain_text(TEXT, language_model(depth=3, attention_every=2))
    assert [block.block for block in hybrid.blocks] == [0, 2]
    assert "1, without focal modulation" in check_alone(saved(hybrid, tmp_path), scripts=True).text
    alone = explain_text(TEXT, language_model(attention_every=1))
    assert alone.blocks == alone.levels == ()
    page = check_alone(saved(alone, tmp_path), scripts=True)
    assert "Character by character" in page.text
    assert "Block by block" not in page.text
    assert alone.table()[0] == ["position", "token", "text", "surprise_nats", "likeliest", "likeliest_probability"]


def test_nothing_is_left_on_the_network():
    network = language_model()
    before = network(tokens_of(network))[0]
    network.train()
    explain_text(TEXT, network)
    assert network.training
    network.embedding.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explain_text(TEXT, network)
    network.embedding._forward_hooks.clear()
    assert not any(module._forward_hooks for module in network.modules())
    torch.testing.assert_close(network.eval()(tokens_of(network))[0], before)


def test_bytes_that_are_no_characters_are_written_down():
    network = language_model(ByteTokenizer())
    figures = explain_text("aé\n", network)
    assert figures.pieces == ("a", "<c3>", "<a9>", "\n")
    assert figures.unit == "bytes"


def test_mistakes_are_told_in_one_sentence(tmp_path):
    network = language_model()
    for text, words in (("", "is empty"), ("zebra", "does not know ('r', 'z')")):
        with pytest.raises(DataError, match=re.escape(words)):
            explain_text(text, network)
    with pytest.raises(ConfigError, match="most_tokens must be a whole number from 1 up, got 0"):
        explain_text(TEXT, network, most_tokens=0)
    with pytest.raises(ConfigError, match="continue or classify texts, got a Linear"):
        explain_text(TEXT, torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"\.html, \.csv or \.json, got 'a\.png'"):
        explain_text(TEXT, network).save(tmp_path / "a.png")


def saved(figures, folder):
    return figures.save(folder / "page.html").read_text(encoding="utf-8")


def shown_tokens(page):
    found = re.findall(r'<span class="(\w+)" style="--s: ([\d.]+)" title="([^"]*)">([^<]*)</span>', page)
    return [(name, float(strength), html.unescape(title), html.unescape(text)) for name, strength, title, text in found]


def test_the_page_shows_every_token_with_its_figures(tmp_path):
    figures = explain_text(TEXT, language_model(), name="/home/x/letter.txt", model_name="/home/x/runs/text")
    page = saved(figures, tmp_path)
    read = check_alone(page, scripts=True)
    assert "/home/x" not in page
    assert "letter.txt" in read.text
    assert "prefers-color-scheme: dark" in page
    tokens = shown_tokens(page)
    assert "".join(text for *_, text in tokens).replace("⏎", "") == TEXT
    shares = figures.shares
    for place, (name, strength, title, _) in enumerate(tokens):
        most = int(shares[place].argmax())
        assert name == f"l{most}" or np.sort(shares[place])[-2] > shares[place, most] - 0.002
        assert 0.06 <= strength <= 0.5
        share = round(1000 * float(shares[place, most])) / 10
        assert f"{share:.0f} % {figures.levels[most]}" in title
        assert f"modulator {figures.modulator[place]:.3g}" in title
        assert ("surprise" in title) == (place > 0)
    assert tokens[-1][2].startswith("character 26: g\nsurprise ")


def test_one_token_has_a_page(tmp_path):
    figures = explain_text("a", language_model())
    assert figures.nats is None
    check_alone(saved(figures, tmp_path), scripts=True)


def test_files_hold_what_python_has(tmp_path):
    figures = explain_text(TEXT, language_model(), most_tokens=20)
    assert figures.left_out == len(TEXT) - 20
    with figures.save(tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert rows[0]["surprise_nats"] == ""
    assert float(rows[7]["surprise_nats"]) == pytest.approx(float(figures.surprise[7]), abs=1e-6)
    assert float(rows[7]["share.1.2"]) == pytest.approx(float(figures.blocks[1].shares[7, 2]), abs=1e-6)
    assert float(rows[7]["gate.0.1"]) == pytest.approx(float(figures.blocks[0].gates[7, 1]), abs=1e-6)
    content = json.loads(figures.save(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["levels"] == ["3 characters", "4 characters", "everything so far"]
    assert [token["text"] for token in content["tokens"]] == list(TEXT[:20])
    assert content["tokens"][3]["modulator.0"] == pytest.approx(float(figures.blocks[0].modulator[3]))
    assert content["nats"] == pytest.approx(figures.nats)


def test_notebooks_get_tokens_without_a_script(capsys):
    figures = explain_text(TEXT, text_classifier())
    markup = figures._repr_html_()
    check_alone(markup)
    assert "".join(text for *_, text in shown_tokens(markup)).replace("⏎", "") == TEXT
    figures.show()
    assert "save('name.html')" in capsys.readouterr().out
    pandas = pytest.importorskip("pandas")
    assert isinstance(figures.to_dataframe(), pandas.DataFrame)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_choosing_a_block_colours_the_tokens_anew(tmp_path):
    figures = explain_text(TEXT, language_model())
    script = """<script>
addEventListener("load", () => {
  const found = [], tokens = [...document.querySelectorAll(".tokens span")];
  const note = () => found.push(tokens.map(token => [token.className, token.style.getPropertyValue("--s")]));
  const choose = (name, value) => {
    const list = document.querySelector(name);
    list.value = value; list.dispatchEvent(new Event("change")); note();
  };
  note(); choose(".block", "0"); choose(".block", "2"); choose(".view", "surprise"); choose(".view", "modulator");
  tokens[3].dispatchEvent(new Event("click", {bubbles: true}));
  const written = document.querySelector(".figures").textContent;
  document.body.innerHTML = "<output></output>";
  document.querySelector("output").textContent = JSON.stringify([found, written]);
});
</script></body>"""
    page = tmp_path / "page.html"
    page.write_text(saved(figures, tmp_path).replace("</body>", script), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (first, same, block, surprise, modulator), written = json.loads(
        html.unescape(re.search(r"<output>(.*?)</output>", shown, re.DOTALL)[1])
    )
    assert first == same
    of_block = figures.blocks[1].shares
    for (name, _), shares in zip(block, of_block, strict=True):
        assert name == f"l{int(shares.argmax())}" or np.sort(shares)[-2] > shares.max() - 0.002
    assert {name for name, _ in surprise + modulator} == {"scale"}
    strengths = [float(strength) for _, strength in surprise]
    assert strengths[0] == 0.06
    assert strengths[int(np.nanargmax(figures.surprise))] == 0.5
    assert written.startswith("character 4:  \n".replace("  ", " ␣"))
    assert f"modulator {figures.blocks[1].modulator[3]:.3g}, block 1" in written
