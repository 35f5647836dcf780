"""The demonstration of continuing texts: its parts put together."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from focalnets.demo.language import settings
from focalnets.demo.language.report import write_report
from focalnets.demo.language.run import DEMO_FILES, LanguageDemoResult, run_demo
from focalnets.demo.story import ShowProgress, Story

__all__ = ["LanguageStory"]


class LanguageStory(Story):
    """Two plays, learnt by focal modulation and by attention, see :class:`focalnets.demo.story.Story`."""

    files = DEMO_FILES

    def perform(
        self, output: Path, *, quick: bool, say: Callable[[str], None], progress: ShowProgress, quiet: bool
    ) -> LanguageDemoResult:
        """Train both networks, and look inside ours."""
        return run_demo(settings.quick() if quick else settings.full(), output, say=say, quiet=quiet)

    def write(self, result: LanguageDemoResult, report: Path) -> None:
        """Write the page and the table about a passage, and the report."""
        result.explanation.save(result.output / "explained.html")
        result.explanation.save(result.output / "tokens.csv")
        write_report(result, report)

    def content(self, result: LanguageDemoResult) -> dict[str, Any]:
        """Return what both reached, and the samples."""
        return {
            "run": str(result.run),
            "characters": result.characters,
            "held_out": result.held_out,
            "networks": {
                name: {"parameters": run.parameters, "nats": run.best, "seconds": run.wall_time_s,
                       "curve": [{"step": int(row["step"]), "nats": row["val_nats"]} for row in run.history]}
                for name, run in (("focal_modulation", result.ours), ("attention", result.attention))
            },
            "samples": [{"step": sample.step, "nats": sample.nats, "text": sample.text} for sample in result.samples],
            "tokens_per_s": result.tokens_per_s,
            "state_bytes": result.state_bytes,
            "seconds": dict(result.seconds),
        }  # fmt: skip

    def summary(self, result: LanguageDemoResult) -> str:
        """Tell what both reached."""
        ours, attention = result.ours, result.attention
        return (
            f"nats a character of {result.held_out:,} held out: {ours.best:.3f} by focal modulation "
            f"({ours.parameters:,} parameters), {attention.best:.3f} by attention ({attention.parameters:,}), after as "
            f"many steps\nit writes {result.tokens_per_s:,.0f} characters/s, carrying {result.state_bytes / 1024:.0f} "
            "KiB from one to the next"
        )

    def next_steps(self, result: LanguageDemoResult, output: Path) -> list[str]:
        """Let it write, and look at a text of one's own."""
        run = shlex.quote(str(result.run))
        return [
            f'generate {run} --prompt "RICHMOND:" --length 1000',
            f'explain "Now is the winter of our discontent" --model {run} --output '
            f"{shlex.quote(str(output / 'explained'))}",
            f"train {shlex.quote(str(output / 'text' / 'plays.txt'))} --output {shlex.quote(str(output / 'larger'))}",
        ]
