"""Trains both networks, and looks at the one of ours; what comes out is a result that the report shows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from focalnets.data.labelled import TrainingData
from focalnets.demo.language.settings import LanguageDemoSettings
from focalnets.demo.language.text import passage_of, read_plays
from focalnets.demo.words import ends_early
from focalnets.errors import TrainingError
from focalnets.files import write_text
from focalnets.models.sequence import FocalLanguageModel
from focalnets.tasks.language.generation import continue_texts, language_model
from focalnets.tasks.loading import load_trained
from focalnets.tasks.report import evaluate_in_passes
from focalnets.training.config import TrainingConfig
from focalnets.training.language_recipes import language
from focalnets.training.run_folder import RunFolder
from focalnets.training.runs import RunSummary, read_run
from focalnets.training.trainer import open_data, resume, train
from focalnets.visualize.text.explain import explain_text
from focalnets.visualize.text.explanation import TextExplanation

__all__ = ["AGAIN", "DEMO_FILES", "LanguageDemoResult", "Sample", "run_demo"]

DEMO_FILES = (
    "run/config.yaml", "attention/config.yaml", "text/plays.txt", "passage.txt", "explained.html", "tokens.csv",
    "report.html",
)  # fmt: skip
"""What is written: files and, by a name in them, folders."""

AGAIN = "`focalnets demo --task language` with the same output goes on from there."


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a network wrote at a stage of its training.

    Attributes:
        step: Steps done; 0 for random weights.
        nats: Mean surprise by a character of what is held out, then.
        text: The sample, with what it begins with.
    """

    step: int
    nats: float
    text: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LanguageDemoResult:
    """What the demonstration did and measured.

    Attributes:
        settings: What it was asked to do.
        characters, held_out: Characters to learn from, and held out.
        network: The trained network of ours.
        ours, attention: Figures of both trainings.
        samples: What ours wrote before the first step and after each epoch.
        explanation: What ours listens to in a passage that was held out.
        tokens_per_s: Characters a second that ours writes.
        state_bytes: What it carries from one character to the next.
        seconds: Duration of each part; of a training all that it took, also before an interruption.
        output: Folder of everything.
    """

    settings: LanguageDemoSettings
    characters: int
    held_out: int
    network: FocalLanguageModel
    ours: RunSummary
    attention: RunSummary
    samples: tuple[Sample, ...]
    explanation: TextExplanation
    tokens_per_s: float
    state_bytes: int
    seconds: Mapping[str, float]
    output: Path

    @property
    def run(self) -> Path:
        """Folder of our network."""
        return self.output / "run"

    @property
    def passage(self) -> Path:
        """File of the passage that was looked at."""
        return self.output / "passage.txt"


def run_demo(
    settings: LanguageDemoSettings, output: Path, *, say: Callable[[str], None], quiet: bool = False
) -> LanguageDemoResult:
    """Do everything once, or what is left of it where an earlier demonstration was stopped.

    Args:
        settings: What to learn from, and how long.
        output: Folder of everything; where it holds a report, all is done anew.
        say: Takes lines for people.
        quiet: Keep the trainings from printing their own lines.
    """
    goes_on = not (output / "report.html").exists()
    (output / "report.html").unlink(missing_ok=True)
    text = read_plays()[: settings.characters]
    place = output / "text" / "plays.txt"
    write_text(place, text)
    configs = dict(
        zip(("run", "attention"), (training_config(settings, name) for name in settings.networks), strict=True)
    )
    runs = {}
    for name, (folder, config) in zip(("focal modulation", "attention"), configs.items(), strict=True):
        say(f"learning {len(text):,} characters by {name}: {settings.epochs} epochs")
        _take_up(config, place, output / folder, goes_on=goes_on, say=say, quiet=quiet)
        runs[folder] = read_run(output / folder)

    started = time.monotonic()
    data = open_data(place, configs["run"])
    _, module = load_trained(output / "run")
    network = language_model(module, "the demonstration").eval()
    held_out = len(data.val.tokens)  # type: ignore[attr-defined]
    passage = passage_of(text[-held_out:], settings.looked_at)
    write_text(output / "passage.txt", passage)
    explanation = explain_text(passage, network, name="passage.txt", model_name="the demonstration's network")
    tokens_per_s, state_bytes = _measure_writing(network, settings)
    return LanguageDemoResult(
        settings=settings,
        characters=len(text) - held_out,
        held_out=held_out,
        network=network,
        ours=runs["run"],
        attention=runs["attention"],
        samples=(_untrained(configs["run"], data), *_samples(runs["run"], output / "run")),
        explanation=explanation,
        tokens_per_s=tokens_per_s,
        state_bytes=state_bytes,
        seconds={
            "focal modulation": runs["run"].wall_time_s,
            "attention": runs["attention"].wall_time_s,
            "looking inside": time.monotonic() - started,
        },
        output=output,
    )


def training_config(settings: LanguageDemoSettings, model: str) -> TrainingConfig:
    """Choose how a network is trained; both alike."""
    return language().replace(
        model=model, model_overrides=dict(settings.overrides), epochs=settings.epochs, batch_size=settings.batch_size,
        learning_rate=settings.learning_rate, warmup_epochs=0.05 * settings.epochs, device="cpu", seed=settings.seed,
        context_length=settings.context_length, passages=settings.passages, sample_prompt=settings.sample_prompt,
        sample_length=settings.sample_length,
    )  # fmt: skip


def _take_up(
    config: TrainingConfig, place: Path, folder: Path, *, goes_on: bool, say: Callable[[str], None], quiet: bool
) -> None:
    """Train, or do what is left of the same training."""
    run = RunFolder(folder)
    with ends_early(AGAIN):
        if goes_on and _holds(run, config):
            if run.is_complete():
                say(f"{folder.name} is trained already")
                return
            if run.resume_point.exists():
                resume(folder, root=place, quiet=quiet)
                return
        train(config, open_data(place, config), output=folder, overwrite=True, quiet=quiet)


def _holds(run: RunFolder, config: TrainingConfig) -> bool:
    """Tell whether a folder holds a training with these settings."""
    try:
        return run.read_config() == config
    except TrainingError:
        return False


def _samples(run: RunSummary, folder: Path) -> list[Sample]:
    """Put the samples of a run beside what it had reached by then."""
    texts = {}
    for entry in f"\n{RunFolder(folder).samples.read_text(encoding='utf-8')}".split("\n== ")[1:]:
        title, _, text = entry.partition("\n")
        texts[title] = text.strip("\n")  # of an epoch that was done twice the later one
    rows = [(row, texts.get(f"epoch {int(row['epoch'])}")) for row in run.history]
    return [Sample(int(row["step"]), row["val_nats"], text) for row, text in rows if text is not None]


def _untrained(config: TrainingConfig, data: TrainingData) -> Sample:
    """Let a network of the same kind write before it has learnt anything."""
    task = config.build_task().with_data(data)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = task.create(config.model, config.model_overrides, data.labels).eval()
    measured = evaluate_in_passes(task, network, data.val, place=data.description).evaluation
    return Sample(0, measured.metrics["nats"], task.sample(network) or "")


def _measure_writing(network: FocalLanguageModel, settings: LanguageDemoSettings) -> tuple[float, int]:
    """Measure characters a second, and the size of what is carried from one to the next [bytes]."""
    pieces = continue_texts(network, [settings.sample_prompt], length=4 * settings.sample_length, seed=settings.seed)
    next(pieces)  # The first one reads the prompt too.
    started, count = time.perf_counter(), 0
    for _ in pieces:
        count += 1
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        _, state = network(torch.zeros(1, 1, dtype=torch.long))
    return count / max(seconds, 1e-9), sum(_bytes_of(part) for part in state)


def _bytes_of(part: object) -> int:
    if isinstance(part, torch.Tensor):
        return part.numel() * part.element_size()
    return sum(map(_bytes_of, part)) if isinstance(part, tuple) else 0
