"""Continuing texts: a probability for every token that may come next.

Axes: B passages, T tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

import torch
from torch import Tensor, nn

from focalnets.data.labelled import LabelledData, TrainingData
from focalnets.data.text.corpus import open_corpus, open_tokens
from focalnets.data.text.finding import find_texts
from focalnets.data.text.passages import Passage, Passages
from focalnets.data.text.tokenizers import Tokenizer
from focalnets.errors import ConfigError, DataError
from focalnets.models.input_specs import TextInput
from focalnets.models.sequence import FocalLanguageModel
from focalnets.models.sequence_config import LanguageConfig, language_variant
from focalnets.report.parts import Fact, Section
from focalnets.tasks.batch import Batch
from focalnets.tasks.evaluation import EvaluationReport, Measured
from focalnets.tasks.language.data import field_of_run, read_split, training_data
from focalnets.tasks.language.generation import (
    continue_texts,
    language_model,
    tokenizer_for,
    with_sample_prompt,
)
from focalnets.tasks.language.metrics import NOT_COUNTED, TextSurprise, surprise
from focalnets.tasks.language.report import evaluation_sections, write_evaluation_files
from focalnets.tasks.language.results import Evaluation, make_evaluation
from focalnets.tasks.language.settings import LanguageSettings
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.task import Task
from focalnets.weights.loading import open_trained

if TYPE_CHECKING:
    from PIL import Image
    from torchmetrics import MetricCollection

__all__ = ["Language"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Language(Task):
    """The task of continuing texts.

    Attributes:
        settings: The section ``language`` of a training config.
        pretrained: Weights that a training starts from, whose tokenizer the text is read with; empty for none.
        spec: How a text is read, once data or a network says so.
        run: What a network was loaded from; where that is a run, the field of its texts is known.
        worst: Passages that an evaluation keeps of those that surprise most, and of those that do least.
    """

    name: ClassVar[str] = "language"
    watch: ClassVar[Watch] = Watch("nats", "min")
    metric_labels: ClassVar[dict[str, Metric]] = {
        "nats": Metric("nats a token", is_fraction=False, hub_type="cross_entropy", hub_name="Nats a token"),
        "perplexity": Metric("perplexity", is_fraction=False, hub_type="perplexity", hub_name="Perplexity"),
        "bits_per_byte": Metric("bits a byte", is_fraction=False, hub_type="bits_per_byte", hub_name="Bits a byte"),
        "bits_per_character": Metric("bits a character", is_fraction=False),
    }
    pipeline_tag: ClassVar[str | None] = "text-generation"
    limits: ClassVar[str] = (
        "It continues a text with what was likely in its training text: what it writes may be wrong, and it knows no "
        "facts. Text of another kind or language surprises it much more."
    )
    files: ClassVar[tuple[str, ...]] = ("positions.csv", "passages.csv", "positions.png")
    usual_batch: ClassVar[int] = 8
    inputs: ClassVar[str] = "passages"
    config_type: ClassVar[type] = LanguageConfig
    input_type: ClassVar[type] = TextInput
    next_commands: ClassVar[tuple[str, ...]] = ('generate {model} --prompt "..."', "explain TEXT.txt --model {model}")

    settings: LanguageSettings = dataclasses.field(default_factory=LanguageSettings)
    pretrained: str = ""
    spec: TextInput | None = None
    run: Path | None = None
    worst: int = 12

    def recipe_in_words(self) -> str:
        """Say how the text was read."""
        spec = self._spec()
        return f"{spec.context_length:,} {spec.unit} at once, vocabulary {spec.vocabulary}, "

    # Data

    def open(self, place: str | Path, *, val_fraction: float, seed: int, skip_unreadable: bool = False) -> TrainingData:
        """Read texts; the end is held out where the place does not say what is."""
        tokenizer: str | Tokenizer = self.settings.tokenizer
        if self.pretrained:
            tokenizer = self._tokenizer_of_pretrained()
        corpus = open_corpus(place, tokenizer=tokenizer, val_fraction=val_fraction, text_field=self.settings.text_field)
        return training_data(corpus, str(place), self.settings, val_fraction)

    def reopen(self, split: Path, *, root: str | Path | None = None, skip_unreadable: bool = False) -> TrainingData:
        """Read the texts of a run again, with its tokenizer."""
        content = read_split(split)
        place = str(root or content["root"])
        corpus = open_corpus(
            place, tokenizer=tokenizer_for(TextInput.from_dict(content["input"])),
            val_fraction=content["val_fraction"], text_field=content["text_field"],
        )  # fmt: skip
        return training_data(corpus, place, self.settings, content["val_fraction"])

    def open_evaluation(
        self, place: str | Path, *, labels: Sequence[str] | None = None, split: Path | None = None
    ) -> tuple[tuple[str, ...], LabelledData]:
        """Read the texts that a network is measured on: those held out, or all where none are."""
        spec = self._spec()
        tokenizer = tokenizer_for(spec)
        if split is not None:
            content = read_split(split)
            corpus = open_corpus(
                place, tokenizer=tokenizer, val_fraction=content["val_fraction"], text_field=content["text_field"]
            )
            tokens = corpus.val
        else:
            files = find_texts(place)
            field = self.settings.text_field
            if field == LanguageSettings().text_field:
                field = field_of_run(self.run)
            tokens = open_tokens(files.val or files.train, tokenizer, text_field=field)
        if len(tokens) < 2:
            raise DataError(f"'{place}' holds {len(tokens)} tokens to measure on; at least 2 are needed.")
        return (), Passages(tokens, tokenizer, spec.context_length)

    def open_evaluation_of(self, model: nn.Module, place: str | Path, *, split: Path | None = None) -> LabelledData:
        """Read the texts that a network is measured on, with its tokenizer."""
        return self.for_model(model).open_evaluation(place, split=split)[1]

    def for_evaluation(self, data: LabelledData, spec: TextInput) -> LabelledData:
        """Cut the text into passages of the length at which it is measured."""
        return data.at_length(spec.context_length) if isinstance(data, Passages) else data

    def transform(
        self, spec: TextInput, *, train: bool, alter: Any = None
    ) -> Callable[[tuple[Any, Any], int], tuple[Any, Any]]:
        """Make what cuts a passage out: inputs and targets (T,), int64; in training it begins anywhere in its part."""
        if alter is not None:
            raise ConfigError("Corruptions are for pictures; leave them out for texts.")

        def cut(item: tuple[Passage, Any], _index: int) -> tuple[Tensor, Tensor]:
            passage = item[0]
            shift = int(torch.randint(passage.spread, ())) if train else 0
            tokens = torch.from_numpy(passage.cut(spec.context_length, shift))
            return tokens[:-1], tokens[1:]

        return cut

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        """Put passages into a batch; shorter ones are filled up on the right, where nothing that counts sees it."""
        inputs, targets = zip(*items, strict=True)
        fill = torch.nn.utils.rnn.pad_sequence
        return Batch(fill(list(inputs), batch_first=True), fill(list(targets), True, NOT_COUNTED))

    def sample_batch(self, spec: TextInput, batch: int, labels: Sequence[str]) -> Batch:
        """Make passages of random tokens, the same at every call."""
        shape = (batch, spec.context_length + 1)
        tokens = torch.randint(spec.vocabulary_size, shape, generator=torch.Generator().manual_seed(1))
        return Batch(tokens[:, :-1], tokens[:, 1:])

    # The network

    def with_data(self, data: TrainingData) -> Language:
        """Remember how the text is read, e.g. which characters there are.

        Raises:
            ConfigError: If the data is no text, or has not all characters that samples shall begin with.
        """
        if not isinstance(data.train, Passages):
            raise ConfigError(f"the task language trains on texts, got {type(data.train).__name__}.")
        tokenizer, settings = data.train.tokenizer, self.settings
        if settings.sample_length:
            settings = with_sample_prompt(settings, tokenizer, data.train.tokens)
        return dataclasses.replace(self, settings=settings, spec=tokenizer.spec(settings.context_length))

    def create(self, name: str, overrides: Mapping[str, Any], labels: Sequence[str]) -> FocalLanguageModel:
        """Draw a language model at random, with the vocabulary of the data."""
        if "vocabulary_size" in overrides:
            raise ConfigError("model_overrides cannot hold vocabulary_size; the data and its tokenizer decide it.")
        spec = self._spec()
        config = language_variant(name).config.replace(**{**overrides, "vocabulary_size": spec.vocabulary_size})
        return self._with_spec(FocalLanguageModel(config), spec)

    def build(self, network: nn.Module, labels: Sequence[str], *, pretrained: bool) -> nn.Module:
        """Refuse other networks: a language model has no backbone that another task knows."""
        raise ConfigError(
            f"a {type(network).__name__} cannot start a training of the task language; name weights of this task."
        )

    def adopt(self, module: nn.Module, labels: Sequence[str]) -> FocalLanguageModel:
        """Take a language model that was trained before, which reads with the same tokenizer."""
        model, spec = language_model(module, "pretrained"), self._spec()
        if model.preprocessing.with_size(spec.size) != spec:
            raise ConfigError(
                f"the weights read {model.preprocessing.vocabulary} and the data is in {spec.vocabulary}; open the "
                "data with the tokenizer of the weights."
            )
        return self._with_spec(model, spec)

    def rebuild(self, config: LanguageConfig, spec: TextInput, labels: Sequence[str], head: Mapping[str, Any]) -> Any:
        """Build the network that a file describes, on the device meta."""
        if head.get("kind") != "language":
            raise ConfigError(f"a language model has a head of kind language, got {head.get('kind')!r:.60}.")
        if spec.vocabulary_size != config.vocabulary_size:
            raise ConfigError(
                f"its vocabulary has {spec.vocabulary_size:,} entries and its embedding {config.vocabulary_size:,}."
            )
        with torch.device("meta"):
            return self._with_spec(FocalLanguageModel(config), spec)

    def suited_to(self, model: nn.Module) -> Language:
        """Remember how the network reads."""
        return self.for_model(model)

    def can_answer(self, network: nn.Module, labels: Sequence[str]) -> bool:
        """Say yes: the vocabulary is the network's own."""
        return True

    def head(self, model: nn.Module) -> dict[str, Any]:
        """Describe the head: the embedding once more."""
        return {"kind": "language"}

    def labels(self, model: nn.Module) -> tuple[str, ...]:
        """Return none: what answers are called stands in the tokenizer."""
        return ()

    def for_model(self, model: nn.Module) -> Language:
        """Return the task with how the network reads."""
        return dataclasses.replace(self, spec=language_model(model, "the task language").preprocessing)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the logits of what follows each token (B, T, V)."""
        return model(batch.inputs)[0]

    def sample(self, model: nn.Module) -> str | None:
        """Continue the prompt of the settings, with the same random numbers each time."""
        if not self.settings.sample_length:
            return None
        prompt = self.settings.sample_prompt
        # Other lengths than those of training would be compiled anew.
        with torch.compiler.set_stance("force_eager"):
            pieces = continue_texts(
                language_model(model, "a sample"), [prompt], length=self.settings.sample_length, seed=0
            )
            return (prompt + "".join(piece for (piece,) in pieces)).strip("\n")

    # Learning and measuring

    def losses(
        self, output: Tensor, batch: Batch, *, train: bool, reduction: Literal["mean", "none"] = "mean"
    ) -> dict[str, Tensor]:
        """Compute the cross-entropy of the next token [nats], the mean of each passage or of all."""
        nats, counts = surprise(output, batch.targets), (batch.targets != NOT_COUNTED).sum(1)
        each = nats.sum(1) / counts.clamp(min=1)
        return {"cross_entropy": each if reduction == "none" else each.mean()}

    def guessing_loss(self, labels: Sequence[str]) -> float | None:
        """Return the loss of taking every token for equally likely."""
        return None if self.spec is None else math.log(self.spec.vocabulary_size)

    def metrics(self, labels: Sequence[str]) -> MetricCollection:
        """Sum up the surprise over the whole text."""
        from torchmetrics import MetricCollection

        spec = self._spec()
        return MetricCollection({"surprise": TextSurprise(tokenizer_for(spec), spec.context_length)})

    def measure(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Take the surprise at every token into the sums."""
        metrics.update(surprise(output, batch.targets), batch.targets)

    def answers(self, output: Tensor, batch: Batch) -> list[float]:
        """Keep the mean surprise of each passage."""
        return self.losses(output, batch, train=False, reduction="none")["cross_entropy"].tolist()

    def evaluation(self, measured: Measured) -> Evaluation:
        """Put together figures of the whole, of positions, and the passages at both ends."""
        return make_evaluation(measured, worst=self.worst)

    # Showing

    def results(self, output: Any, *, paths: Any, sizes: Any, labels: Any) -> NoReturn:
        """Refuse to answer to pictures."""
        raise ConfigError("Networks of the task language continue texts; use `focalnets generate`.")

    def draw(self, picture: Image.Image, result: Any) -> NoReturn:
        """Refuse to draw: there is no picture."""
        raise ConfigError("Networks of the task language draw nothing; use `focalnets generate`.")

    def summary(self, evaluation: Evaluation) -> list[str]:
        """Sum up an evaluation in a line."""
        shown = ", ".join(
            f"{metric.label} {metric.format(evaluation.metrics[name], 2)}"
            for name, metric in self.metric_labels.items()
        )
        return [f"{shown} on {evaluation.tokens:,} tokens in {evaluation.inputs:,} passages"]

    def evaluation_table(self, evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
        """Return the figures as a table of one row."""
        row = {"tokens": evaluation.tokens, "bytes": evaluation.bytes, **evaluation.figures().to_row()}
        return list(row), [list(row.values())]

    def heading(self, evaluation: Evaluation) -> str:
        """Return the title of an evaluation's page."""
        return f"How well it predicts {evaluation.tokens:,} tokens of text"

    def facts(self, evaluation: Evaluation) -> list[Fact]:
        """Choose the four figures."""
        texts = {
            "nats": "nats a token: how much the next one surprises, on average",
            "perplexity": "perplexity: as unsure as between so many tokens that are equally likely",
            "bits_per_byte": "bits a byte: what the text would be compressed to, whatever the tokens",
            "bits_per_character": "bits a character",
        }
        return [Fact(self.metric_labels[name].format(evaluation.metrics[name]), text) for name, text in texts.items()]

    def write_files(self, report: EvaluationReport, folder: Path) -> list[str]:
        """Write tables of positions and passages."""
        return write_evaluation_files(report.evaluation, folder)

    def sections(self, report: EvaluationReport) -> list[Section]:
        """Show what context helps, and the passages at both ends."""
        return evaluation_sections(report.evaluation)

    def _spec(self) -> TextInput:
        assert self.spec is not None, "how a text is read follows from data or a network"
        return self.spec

    def _with_spec(self, model: FocalLanguageModel, spec: TextInput) -> FocalLanguageModel:
        model.preprocessing, described = spec, model
        setattr(described, "class_names", ())  # noqa: B010 - checkpoints ask for it
        return model

    def _tokenizer_of_pretrained(self) -> Tokenizer:
        if self.settings.tokenizer != "auto":
            raise ConfigError("pretrained weights have a tokenizer of their own; leave tokenizer out.")
        spec = open_trained(self.pretrained).recognition.input
        if not isinstance(spec, TextInput):
            raise ConfigError(f"'{self.pretrained}' holds no network of the task language; name weights of this task.")
        return tokenizer_for(spec)
