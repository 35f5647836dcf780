"""``focalnets demo``: the whole chain on generated pictures, in two to three minutes, with a report to look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from focalnets.cli.output import progress
from focalnets.errors import ConfigError

EXAMPLES = """\
  focalnets demo
  focalnets demo --output /tmp/first-look
  focalnets demo --quick

  Nothing is downloaded. Afterwards DIR/report.html shows what happened, DIR/run holds the network and DIR/pictures
  pictures to try `focalnets predict` and `focalnets explain` on."""


def add_arguments(parser: Any) -> None:
    """Add where results go, and how much is done."""
    parser.add_argument(
        "--output", metavar="DIR", default="focalnets-demo", help="folder for everything (default: focalnets-demo)"
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows the way, learns little")


def run(arguments: Any) -> int:
    """Run the demonstration and say where the report is."""
    output = Path(arguments.output).expanduser()
    if output.exists() and not output.is_dir():
        raise ConfigError(f"The output '{output}' is a file; name a folder.")
    from focalnets.demo import settings
    from focalnets.demo.report import write_report
    from focalnets.demo.run import picture_path, run_demo

    result = run_demo(
        settings.quick() if arguments.quick else settings.full(),
        output,
        say=lambda line: print(line, flush=True),
        progress=progress,
    )
    report = write_report(result, output / "report.html")
    low, high = result.evaluation.top1_interval
    drawn, blind = result.scores[0], result.scores[-1]
    name = shlex.quote(str(result.run))
    picture = shlex.quote(str(picture_path(result.scenes[0], result.classes, result.pictures)))
    print(
        f"\nheld-out accuracy {result.evaluation.top1:.1%} ({low:.1%} to {high:.1%}) on {result.evaluation.images} new "
        f"scenes; guessing gets {1 / len(result.classes):.1%}\n"
        f"brightest point of the map on the object, or at most half a token beside it: {drawn.near:.1%} "
        f"({drawn.hits:.1%} on it); anywhere at random: {blind.near:.1%} ({blind.hits:.1%})\n"
        f"\nreport: {report}\n"
        f"try it: focalnets predict {shlex.quote(str(result.pictures))} --model {name}\n"
        f"        focalnets explain {picture} --model {name} --output {shlex.quote(str(output / 'explained'))}"
    )
    return 0
