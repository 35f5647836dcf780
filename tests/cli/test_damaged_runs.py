"""Commands that read a run's folder, on runs that are damaged: an answer or one sentence, never a traceback."""

from __future__ import annotations

import pytest
from tests.cli import damaged_runs
from tests.cli.damaged_runs import METRICS, POINT, WEIGHTS, copy_of, damages

from focalnets.cli.main import main
from focalnets.errors import InterruptedRunError
from focalnets.training.callbacks import Guard, Stopped
from focalnets.training.recipes import miniature
from focalnets.training.trainer import open_data, train


@pytest.fixture(scope="module")
def stopped_run(coloured_images, tmp_path_factory):
    """A run that was stopped after its first epoch of two."""
    config = miniature().replace(limit_train_batches=1, limit_val_batches=1, workers=0, device="cpu", image_size=16)
    run = tmp_path_factory.mktemp("runs") / "stopped"
    save_at_the_end = Guard.on_train_epoch_end

    def stop(guard, trainer, module):
        save_at_the_end(guard, trainer, module)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "on_train_epoch_end", stop)
        with pytest.raises(InterruptedRunError):
            train(config, open_data(coloured_images, config), output=run, quiet=True)
    (run / "README.md").write_text("---\nlibrary_name: focalnets\n---\n")
    return run


@pytest.fixture
def calls(coloured_images, tmp_path):
    """Commands by name, for the run in a folder."""
    photo, images = str(coloured_images / "red" / "0.png"), str(coloured_images)
    short = ["--epochs", "1", "--limit_train_batches", "1", "--limit_val_batches", "1", "--workers", "0"]
    output = ["--output", str(tmp_path / "new"), "--overwrite", "--device", "cpu"]
    return {
        "runs": lambda run: ["runs", run, "--json", str(tmp_path / "runs.json")],
        "runs --plot": lambda run: ["runs", run, "--plot", str(tmp_path / "p.png"), "--csv", str(tmp_path / "t.csv")],
        "resume": lambda run: ["train", "--resume", run],
        "resume to the end": lambda run: ["train", "--resume", run],
        "pretrained": lambda run: ["train", images, "--pretrained", run, *short, *output],
        "evaluate": lambda run: ["evaluate", run, images],
        "predict": lambda run: ["predict", photo, "--model", run],
        "explain": lambda run: ["explain", photo, "--model", run, "--output", str(tmp_path / "pages")],
        "localize": lambda run: ["localize", run, "scenes:2", "--resamples", "5"],
        "convert": lambda run: ["convert", run, str(tmp_path / "converted.safetensors"), "--to", "focalnets"],
    }


READERS = {
    "config.yaml": ("runs", "resume", "evaluate"),
    "environment.json": ("runs", "resume"),
    "split.json": ("evaluate", "resume"),
    METRICS: ("runs", "runs --plot", "resume"),
    WEIGHTS[0]: ("predict", "evaluate", "explain", "localize", "convert", "pretrained"),
    WEIGHTS[1]: ("runs", "resume"),
    POINT: ("resume to the end",),
}
"""The commands that read each file; all others are read by nothing, and written by what goes on."""


@pytest.fixture
def answer(stopped_run, calls, tmp_path, monkeypatch, capsys):
    """Call a command on a damaged copy; it must answer, or end with one sentence, and execute nothing."""

    def call(damage, command):
        run = copy_of(stopped_run, tmp_path / "run")
        damage.apply(run)
        with monkeypatch.context() as patch:
            if command == "resume":  # only up to the training
                patch.setattr("focalnets.training.trainer._fit", reach_training)
            try:
                status = main([*calls[command](str(run)), "--quiet"])
            except SystemExit as stopped:
                status = stopped.code
        shown = capsys.readouterr().err
        assert status in (0, 2, 130), f"{damage}, {command}"
        if status == 2:
            assert shown.startswith("error: "), f"{damage}, {command}: {shown}"
            assert shown.count("\n") == 1, f"{damage}, {command}: {shown}"
            assert len(shown) < 3100, f"{damage}, {command}: {shown}"
        assert not (run / "executed").exists()
        return status

    def reach_training(*given, **options):
        raise InterruptedRunError("The training was reached.")

    return call


def test_the_undamaged_run_is_read(stopped_run, answer):
    nothing = damaged_runs.Damage("", "none", lambda run: None)
    assert {answer(nothing, command) for command in ("runs", "evaluate", "predict", "resume to the end")} == {0}
    assert answer(nothing, "resume") == 130


def test_damages_are_many(stopped_run):
    assert len(list(damages(stopped_run))) > 800


@pytest.mark.parametrize("file", READERS)
def test_damaged_runs_are_one_sentence(file, stopped_run, answer):
    """Every kind of damage by the first command, each twelfth by the others too; resume points take longest."""
    refused = 0
    chosen = [damage for damage in damages(stopped_run) if damage.file == file]
    for number, damage in enumerate(chosen[:: 6 if file == POINT else 3]):
        for command in READERS[file][: None if number % 12 == 5 else 1]:
            refused += answer(damage, command) == 2
    assert refused > len(chosen) / 40 or file == WEIGHTS[1]  # which tells only whether the run came to its end


@pytest.mark.slow
@pytest.mark.parametrize("file", damaged_runs.FILES)
def test_all_damages_by_all_commands(file, stopped_run, answer):
    for damage in damages(stopped_run):
        if damage.file == file:
            for command in READERS.get(file, ("runs", "resume to the end")):
                answer(damage, command)


def test_a_file_is_no_run(stopped_run, capsys):
    for command in (["train", "--resume"], ["runs"]):
        assert main([*command, str(stopped_run / "best.safetensors")]) == 2
        error = capsys.readouterr().err
        assert "There is no " in error
        assert error.count("\n") == 1


def test_a_damaged_split_is_not_taken_for_none(stopped_run, coloured_images, tmp_path, capsys):
    run = copy_of(stopped_run, tmp_path / "run")
    (run / "split.json").write_text("{")
    assert main(["evaluate", str(run), str(coloured_images)]) == 2
    assert "which images the run held out" in capsys.readouterr().err
