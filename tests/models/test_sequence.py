"""Networks of one-dimensional data: sizes, chunks, padding, the future, generation, mistakes."""

from __future__ import annotations

import itertools

import pytest
import torch

from focalnets.errors import ConfigError, ShapeError, UnknownNameError
from focalnets.models.sequence import FocalLanguageModel, FocalTextClassifier, create_language_model
from focalnets.models.sequence_config import LANGUAGE_VARIANTS, LanguageConfig, TextClassifierConfig

SMALL = {"vocabulary_size": 17, "dim": 32, "depth": 3}
KINDS = {
    "mean": {},
    "scales": {"running": "ema", "scales": 3, "gate_heads": 4},
    "one scale": {"running": "ema"},
    "gated": {"running": "gated"},
    "hybrid": {"attention_every": 2},
    "memory": {"memory_keys": 4, "gate_heads": 2},
    "memory and scales": {"memory_keys": 8, "running": "ema", "scales": 2, "attention_every": 3},
    "dilated": {"kernel_sizes": (4, 4, 4), "dilations": (1, 4, 16)},
    "attention": {"mixer": "attention"},
    "attention behind a convolution": {"mixer": "attention", "short_convolution": 4},
    "recurrence": {"mixer": "recurrence", "short_convolution": 4},
    "recurrence alone": {"mixer": "recurrence"},
    "long convolution": {"mixer": "long_convolution", "short_convolution": 3},
    "hybrid of others": {"mixer": "recurrence", "short_convolution": 4, "attention_every": 3},
}


def build(kind="mean", **fields):
    torch.manual_seed(0)
    return FocalLanguageModel(LanguageConfig(**SMALL | KINDS[kind] | fields)).eval()


@pytest.mark.parametrize(("name", "millions"), [("focal_language_small", 0.81), ("focal_language_base", 10.72)])
def test_size_of_variants(name, millions):
    with torch.device("meta"):
        network = create_language_model(name)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("name", [name for name in LANGUAGE_VARIANTS if not name.startswith("focal_")])
def test_others_are_of_the_same_size(name):
    with torch.device("meta"):
        sizes = [
            sum(parameter.numel() for parameter in create_language_model(each).parameters())
            for each in (name, f"focal_language_{name.rpartition('_')[2]}")
        ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_configs_survive_json():
    for row in LANGUAGE_VARIANTS.values():
        assert LanguageConfig.from_dict(row.config.to_dict()) == row.config
    config = TextClassifierConfig(num_classes=5)
    assert TextClassifierConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_chunks_give_the_whole(kind):
    network = build(kind)
    tokens = torch.randint(17, (2, 60))
    whole, _ = network(tokens)
    state, parts = None, []
    for part in tokens.split([1, 1, 20, 3, 35], 1):
        logits, state = network(part, state)
        parts.append(logits)
    assert (torch.cat(parts, 1) - whole).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_nothing_comes_from_the_future(kind):
    network = build(kind)
    tokens = torch.randint(17, (1, 30))
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 17
    before, after = network(tokens)[0], network(changed)[0]
    assert (before[:, :12] - after[:, :12]).abs().max() <= 1e-6
    assert (before[:, 12:] - after[:, 12:]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_on_the_left_changes_nothing(kind):
    network = build(kind)
    tokens = torch.randint(17, (2, 20))
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1, :7] = False
    logits, state = network(tokens, None, mask)
    alone, own = network(tokens[1:, 7:])
    assert (logits[1:, 7:] - alone).abs().max() <= 1e-5
    further = torch.randint(17, (2, 1))
    assert (network(further, state)[0][1:] - network(further[1:], own)[0]).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    network = build(kind).train()
    logits, _ = network(torch.randint(17, (2, 40)))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(17, (80,))).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def tokens_of(network, *arguments, **options):
    return torch.stack(list(network.generate(*arguments, **options)), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_generation_is_what_the_network_says(kind):
    network = build(kind)
    prompt = torch.randint(17, (5,))
    drawn = tokens_of(network, prompt, 30, temperature=0)
    whole = torch.cat([prompt[None], drawn], 1)
    with torch.no_grad():
        logits = network(whole)[0][:, 4:-1]
    chosen = logits.gather(-1, drawn[..., None]).squeeze(-1)
    assert (logits.amax(-1) - chosen).max() <= 1e-5


def test_seeds():
    network = build()
    one, same, other = (tokens_of(network, [3, 1], 40, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_prompts_of_any_lengths():
    network = build()
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    together = tokens_of(network, prompts, 12, temperature=0)
    for row, prompt in zip(together, prompts, strict=True):
        assert torch.equal(row[None], tokens_of(network, prompt, 12, temperature=0))


def test_only_probable_tokens_are_drawn():
    network = build()
    most_probable = tokens_of(network, [2], 20, temperature=0)
    for cold in (1e-12, 1e-40, 5e-324):
        assert torch.equal(tokens_of(network, [2], 20, temperature=cold), most_probable)
    assert torch.equal(tokens_of(network, [2], 20, top_p=1e-6, seed=1), most_probable)


def test_generation_leaves_the_network_as_it_was():
    network = build(dropout=0.5).train()
    network.head.eval()
    endless = network.generate([1])
    drawn = torch.stack(list(itertools.islice(endless, 5)))
    assert drawn.shape == (5, 1)
    assert network.training
    assert not network.head.training
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (([],), ShapeError, "at least one token"),
    (([[1], []],), ShapeError, "at least one token"),
    (([17],), ShapeError, "below 17"),
    (([1], -1), ConfigError, "length"),
    (([1], 1, -0.5), ConfigError, "temperature"),
    (([1], 1, "warm"), ConfigError, "temperature"),
    (([1], 1, 1.0, None), ConfigError, "top_p"),
    (([1], 1, 1.0, 1.0, 2**63), ConfigError, "seed"),
    (([1], 1, 1.0, 1.0, 1.5), ConfigError, "seed"),
    ((None,), ShapeError, "got NoneType"),
    ((b"the",), ShapeError, "got bytes"),
    (([1], 1, 1.0, 0.0), ConfigError, "top_p"),
])  # fmt: skip
def test_mistakes_in_generation(arguments, error, words):
    with pytest.raises(error, match=words):
        build().generate(*arguments)


@pytest.mark.parametrize(("fields", "words"), [
    ({"dim": 0}, "dim"),
    ({"kernel_sizes": (3, 0)}, "kernel_sizes"),
    ({"dilations": (1, 2)}, "dilations needs one entry"),
    ({"running": "median"}, "running must be one of mean, ema, gated"),
    ({"scales": 2}, "scales are for running ema"),
    ({"gate_heads": 3}, "gate_heads must divide"),
    ({"memory_keys": -1}, "memory_keys must be a whole number from 0"),
    ({"mixer": "attention", "memory_keys": 4}, "memory_keys are for the mixer focal"),
    ({"attention_every": 1, "attention_heads": 3}, "attention_heads must divide"),
    ({"mixer": "attention", "attention_heads": 3}, "attention_heads must divide"),
    ({"mixer": "pooling"}, "mixer must be one of focal, attention, recurrence, long_convolution"),
    ({"short_convolution": 4}, "short_convolution is for other mixers"),
    ({"mixer": "recurrence", "short_convolution": -1}, "short_convolution must be a whole number from 0"),
    ({"dropout": 1.0}, "dropout"),
    ({"depth": 2.0}, "wrong type"),
])  # fmt: skip
def test_mistakes_in_configs(fields, words):
    with pytest.raises(ConfigError, match=words):
        LanguageConfig(**fields)


def test_unknown_variants_are_named():
    with pytest.raises(UnknownNameError, match="focal_language_small"):
        create_language_model("focal_language_smal")


def test_tokens_have_two_axes():
    with pytest.raises(ShapeError, match=r"\(B, T\)"):
        build()(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("mixer", ["focal", "attention"])
@pytest.mark.parametrize(("patch", "window"), [(0, 0), (1, 0), (4, 0), (1, 5), (4, 4), (4, 9)])
@torch.no_grad()
def test_a_classified_sequence_gets_what_it_gets_alone(patch, window, mixer):
    torch.manual_seed(0)
    series = patch > 0
    kind = {"vocabulary_size": 50}
    if series:
        kind = {"vocabulary_size": 0, "channels": 3, "patch": patch, "patch_window": window}
    config = TextClassifierConfig(**kind, num_classes=4, dim=32, depth=2, mixer=mixer)
    network = FocalTextClassifier(config).eval()
    inputs = torch.randn(2, 30, 3) if series else torch.randint(50, (2, 30))
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 21:] = False
    logits = network(inputs, mask)
    assert logits.shape == (2, 4)
    torch.testing.assert_close(logits[1:], network(inputs[1:, :21]), rtol=1e-5, atol=1e-5)
    if series:
        inputs[1, 21:] = torch.nan
        torch.testing.assert_close(network(inputs, mask), logits)


@torch.no_grad()
def test_a_token_of_a_series_sees_its_window_and_no_more():
    config = TextClassifierConfig(vocabulary_size=0, channels=2, patch=4, patch_window=9, dim=8, depth=1)
    network = FocalTextClassifier(config)
    seen = []
    network.embedding.register_forward_hook(lambda _layer, given, _result: seen.append(given[0]))
    series = torch.arange(1, 23.0).view(1, 11, 2)
    network(series)
    assert seen[0].shape == (1, 3, 18)
    # Patches of positions 0 to 3, 4 to 7 and 8 to 11, of which the last is missing; two before and three behind.
    filled = torch.nn.functional.pad(series[0], (0, 0, 2, 4))
    for number, window in enumerate(seen[0][0]):
        assert torch.equal(window, filled[4 * number : 4 * number + 9].flatten())


def test_attention_is_as_large_as_focal_modulation():
    sizes = {
        mixer: sum(each.numel() for each in FocalTextClassifier(TextClassifierConfig(mixer=mixer)).parameters())
        for mixer in ("focal", "attention")
    }
    assert sizes["attention"] == pytest.approx(sizes["focal"], rel=0.02)
    for changes, message in (
        ({"mixer": "magic"}, "mixer must be one of focal, attention"), ({"patch": 2}, "patch is for series"),
        ({"patch_window": 3}, "patch_window is for series"),
        ({"vocabulary_size": 0, "channels": 1, "patch": 4, "patch_window": 3}, "at least as long as patch 4, got 3"),
        ({"mixer": "attention", "attention_heads": 3}, "heads of even size"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            TextClassifierConfig(**changes)


def test_a_classifier_is_for_tokens_or_series():
    with pytest.raises(ConfigError, match="one of vocabulary_size"):
        TextClassifierConfig(vocabulary_size=10, channels=2)
    network = FocalTextClassifier(TextClassifierConfig(vocabulary_size=0, channels=2, dim=8, depth=1))
    with pytest.raises(ShapeError, match=r"\(B, T, 2\)"):
        network(torch.zeros(1, 5, 3))
