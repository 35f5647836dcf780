"""Data, a finished run and weights to work with, and every command that writes files, with where it writes."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.odd_images import encoded, picture
from tests.campaigns.running import Case, Servers
from tests.visualize.clips import write_clip

SMALL = (
    "--recipe", "miniature", "--image_size", "24", "--batch_size", "4", "--workers", "0", "--device", "cpu",
    "--model_overrides.embed_dim", "8", "--model_overrides.depths", "[1,1,1,1]", "--model_overrides.stem", "patch",
    "--checkpoint_minutes", "0.0005",
)  # fmt: skip
"""A training of a second that saves all the time."""


@dataclasses.dataclass(frozen=True)
class Writing:
    """A command that writes.

    Attributes:
        name: In words.
        arguments: ``{out}`` stands for the folder to write to, ``{here}`` for the workplace.
        earlier: Commands whose results are there before, so that something could be lost.
        goes_on: What goes on after a stop; None repeats the command.
        slow: Whether it takes many seconds.
    """

    name: str
    arguments: Sequence[str]
    earlier: Sequence[Sequence[str]] = ()
    goes_on: Sequence[str] | None = None
    slow: bool = False


def _table() -> list[Writing]:
    train = ["train", "{here}/data", "--output", "{out}/run", *SMALL]
    resume = ["train", "--resume", "{out}/run"]
    begun = [*train, "--epochs", "4"]
    evaluate = [
        "evaluate", "{here}/run", "{here}/data", "--output", "{out}/report", "--json", "{out}/e.json", "--csv",
        "{out}/e.csv",
    ]  # fmt: skip
    predict = ["predict", "{here}/data/cats", "--model", "{here}/run", "--json", "{out}/p.json", "--csv", "{out}/p.csv"]
    check = ["check", "{here}/data", "--json", "{out}/c.json", "--csv", "{out}/c.csv"]
    shard = ["shard", "{here}/data", "{out}/shards", "--samples_per_shard", "5"]
    photo = "{here}/data/cats/0.png"
    explain = ["explain", photo, photo.replace("0.png", "1.png"), "--model", "{here}/run", "--size", "32", "--output"]
    localize = ["localize", "{here}/run", "scenes:3", "--size", "32", "--resamples", "10", "--limit", "2"]
    tables = ["--json", "{out}/l.json", "--csv", "{out}/l.csv"]
    compare = ["compare", "--output", "{out}/compared", "--device", "cpu"]
    writings = [
        Writing("a training", begun, goes_on=resume),
        Writing("a training that replaces", [*train, "--epochs", "2", "--overwrite"], [[*train, "--epochs", "1"]],
        resume),
        Writing("an evaluation", evaluate, [evaluate]),
        Writing("predictions", predict, [predict]),
        Writing("a check", check, [check]),
        Writing("shards", shard),
        Writing("shards that replace", [*shard, "--overwrite", "--seed", "1"], [shard]),
        *(
            Writing(f"weights for {layout}", line := ["convert", "{here}/run", f"{{out}}/{place}", "--to", layout],
            [line])
            for layout, place in (("focalnets", "w.safetensors"), ("official", "w.pth"), ("timm", "timm.safetensors"),
            ("transformers", "hub"))
        ),
        Writing("explanations", line := [*explain, "{out}/explained", "--json", "{out}/x.json"], [line]),
        Writing("explanations as pages", line := [*explain, "{out}/explained", "--html", "--format", "svg"], [line]),
        Writing("kernels", line := ["explain", "--kernels", "--model", "{here}/run", "--output", "{out}/kernels"],
        [line]),
        Writing("receptive fields", line := [*explain, "{out}/fields", "--receptive_field", "--format", "pdf"], [line]),
        Writing("a video", line := ["explain", "{here}/clip.mp4", "--model", "{here}/run", "--size", "32", "--output",
        "{out}/seen.mp4"], [line]),
        Writing("figures of objects", line := [*localize, *tables, "--output", "{out}/localized"], [line], slow=True),
        Writing("a table of runs", line := ["runs", "{here}", "--plot", "{out}/runs.png", "--json", "{out}/r.json",
        "--csv", "{out}/r.csv"], [line]),
        Writing("a list of networks", line := ["models", "--json", "{out}/m.json", "--csv", "{out}/m.csv"], [line]),
        Writing("what is installed", line := ["doctor", "--json", "{out}/d.json"], [line]),
        Writing("speed of data", line := ["benchmark_data", "{here}/data", "--size", "24", "--batch_size", "4",
        "--batches", "1", "--warmup", "1", "--workers", "0", "--device", "cpu", "--json", "{out}/b.json"], [line]),
        Writing("a comparison of cost", [*compare, "--models", "focalnet_pico", "--size", "32", "--batch", "1",
        "--minutes", "0.05", "--tasks", "inference"], slow=True),
        Writing("a comparison of trainings", [*compare, "--variations", "pooling", "--skeleton.embed_dim", "8",
        "--train", "{here}/data", "--epochs", "1", "--size", "24"], slow=True),
        Writing("the demonstration", ["demo", "--quick", "--output", "{out}/demo", "--json", "{out}/demo.json"],
        slow=True),
    ]  # fmt: skip
    return writings


WRITINGS = _table()


def make_workplace(servers: Servers, folder: Path) -> Path:
    """Make what the commands work with."""
    for name in ("cats", "dogs", "birds"):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(6):
            content = encoded(picture(size=(30, 30), seed=number + len(name)), "PNG")
            (folder / "data" / name / f"{number}.png").write_bytes(content)
    write_clip(folder / "clip.mp4", range(0, 480, 40), size=(32, 32), sound=False)
    run(servers, folder, ["train", "data", "--output", "run", "--epochs", "2", *SMALL])
    return folder


def run(servers: Servers, folder: Path, arguments: Sequence[str]) -> float:
    """Run a command that must work; returns the seconds it took."""
    outcome = servers.run(Case(number=0, name="", folder=folder, arguments=list(arguments)))
    assert outcome.status == 0, f"{arguments}: {outcome.status}: {outcome.err}"
    return outcome.seconds


def filled(arguments: Sequence[str], here: Path, out: Path) -> list[str]:
    return [each.replace("{here}", str(here)).replace("{out}", str(out)) for each in arguments]


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder that has its final name."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }


def fresh_copy(earlier: Path, out: Path) -> None:
    """Put earlier results into a folder, in place of what is there."""
    for entry in out.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.copytree(earlier, out, dirs_exist_ok=True)
