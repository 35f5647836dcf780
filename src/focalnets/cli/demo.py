"""``focalnets demo``: the whole chain on generated pictures or a text, in about three minutes, with a report."""

from __future__ import annotations

from typing import Any

from focalnets.cli.destinations import require_folder
from focalnets.cli.options import add_flag, add_json, add_output
from focalnets.cli.output import deliver, is_quiet, progress, progress_line, result_line

EXAMPLES = """\
  focalnets demo
  focalnets demo --task detect
  focalnets demo --task semantic --output /tmp/first-look
  focalnets demo --task language
  focalnets demo --quick

  Nothing is downloaded. --task chooses what is learned: classify (naming one small thing), detect (finding everything),
  semantic (naming every pixel) or language (continuing two plays of Shakespeare, beside a network with attention);
  detect and semantic also look at one large picture by tiles and as a whole. Afterwards PATH/report.html shows what
  happened, PATH/run holds the network and PATH/pictures pictures to try `focalnets predict` and `focalnets explain`
  on; of language PATH/passage.txt is there to explain, and a demonstration that was stopped goes on."""


def add_arguments(parser: Any) -> None:
    """Add what is shown, where results go, and how much is done."""
    parser.add_argument(
        "--task",
        type=str,
        default="classify",
        metavar="TASK",
        help="what is learned: classify, detect, semantic or language (default: classify)",
    )
    add_output(parser, "folder for everything", default="focalnets-demo")
    add_flag(parser, "quick", "seconds instead of minutes: shows the way, learns little")
    add_json(parser, "what was measured")


def run(arguments: Any) -> int:
    """Run the demonstration and say where the report is."""
    output = require_folder(arguments.output)
    from focalnets.demo.story import find_story

    story = find_story(arguments.task)
    require_folder(output, story.files)
    result = story.perform(output, quick=arguments.quick, say=progress_line, progress=progress, quiet=is_quiet())
    report = output / "report.html"

    def write() -> list[str]:
        story.write(result, report)
        return []

    deliver(
        arguments,
        lambda: print(f"\n{story.summary(result)}"),
        json=lambda: {"task": arguments.task, "report": str(report), **story.content(result)},
        files=write,
        output=arguments.output,
    )
    first, *others = story.next_steps(result, output)
    further = "".join(f"\n        focalnets {step}" for step in others)
    result_line(f"\nreport: {report}\ntry it: focalnets {first}{further}")
    return 0
