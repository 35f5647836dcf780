"""``focalnets demo``: the whole chain on generated pictures, in two to three minutes, with a report to look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.options import add_flag, add_json, add_output
from focalnets.cli.output import deliver, is_quiet, progress, progress_line, result_line

EXAMPLES = """\
  focalnets demo
  focalnets demo --output /tmp/first-look
  focalnets demo --quick

  Nothing is downloaded. Afterwards PATH/report.html shows what happened, PATH/run holds the network and PATH/pictures
  pictures to try `focalnets predict` and `focalnets explain` on."""


def add_arguments(parser: Any) -> None:
    """Add where results go, and how much is done."""
    add_output(parser, "folder for everything", default="focalnets-demo")
    add_flag(parser, "quick", "seconds instead of minutes: shows the way, learns little")
    add_json(parser, "what was measured")


def run(arguments: Any) -> int:
    """Run the demonstration and say where the report is."""
    output = require_folder(arguments.output)
    from focalnets.demo import settings
    from focalnets.demo.report import write_report
    from focalnets.demo.run import DEMO_FILES, run_demo, write_pictures

    require_folder(output, DEMO_FILES)

    chosen = settings.quick() if arguments.quick else settings.full()
    result = run_demo(chosen, output, say=progress_line, progress=progress, quiet=is_quiet())
    report = output / "report.html"

    def write() -> list[str]:
        write_pictures(result)
        write_report(result, report)
        return []

    deliver(
        arguments, lambda: _show(result), json=lambda: _content(result, report), files=write, output=arguments.output
    )
    result_line(_next_steps(result, report, output))
    return 0


def _content(result: Any, report: Any) -> dict[str, Any]:
    return {
        "report": str(report),
        "run": str(result.run),
        "pictures": str(result.pictures),
        "classes": list(result.classes),
        "images": result.evaluation.images,
        "top1": result.evaluation.top1,
        "top1_interval": list(result.evaluation.top1_interval),
        "maps": [{"name": score.name, "hits": score.hits, "near": score.near} for score in result.scores],
        "near_px": result.near_px,
        "seconds": dict(result.seconds),
    }


def _show(result: Any) -> None:
    low, high = result.evaluation.top1_interval
    drawn, blind = result.scores[0], result.scores[-1]
    print(
        f"\nheld-out accuracy {result.evaluation.top1:.1%} ({low:.1%} to {high:.1%}) on {result.evaluation.images} new "
        f"scenes; guessing gets {1 / len(result.classes):.1%}\n"
        f"brightest point of the map on the object, or at most half a token beside it: {drawn.near:.1%} "
        f"({drawn.hits:.1%} on it); anywhere at random: {blind.near:.1%} ({blind.hits:.1%})"
    )


def _next_steps(result: Any, report: Path, output: Path) -> str:
    from focalnets.demo.run import picture_path

    name = shlex.quote(str(result.run))
    picture = shlex.quote(str(picture_path(result.scenes[0], result.classes, result.pictures)))
    return (
        f"\nreport: {report}\n"
        f"try it: focalnets predict {shlex.quote(str(result.pictures))} --model {name}\n"
        f"        focalnets explain {picture} --model {name} --output {shlex.quote(str(output / 'explained'))}"
    )
