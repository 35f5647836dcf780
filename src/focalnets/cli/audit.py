"""``focalnets audit``: what the data taught a network besides its task."""

from __future__ import annotations

from typing import Any

from focalnets.cli.destinations import require_file, require_folder
from focalnets.cli.model_argument import add_model_and_data, require_model
from focalnets.cli.options import (
    add_csv,
    add_device,
    add_flag,
    add_json,
    add_output,
    add_precision,
    add_size,
    require_whole,
)
from focalnets.cli.output import deliver, note, progress
from focalnets.errors import ConfigError

_MOST = 1_000_000_000

EXAMPLES = """\
  focalnets audit runs/photos photos --output audit
  focalnets audit runs/photos photos/val --groups groups.csv --train_data photos --fail_on groups
  focalnets audit runs/photos photos --masks photos/annotations_val.json --against runs/before --card
  focalnets audit imagenette2-160 --json audit.json

  groups.csv names on each line an image, relative to itself, and any number of attributes:
      path,camera,place
      photos/val/cat/1.jpg,phone,garden

  What is found is proven: alpha is the chance of a false alarm in each family of tests, and smaller gaps than --gap do
  not count. docs/audit.md tells how the figures are measured and what they mean.

  Exit status: 0 nothing of --fail_on was found, 1 something was, 2 a mistake in what was given."""


def add_arguments(parser: Any) -> None:
    """Add the network, the images, what counts as found and where results go."""
    add_model_and_data(parser, "folder of labelled images, CSV file or shards")
    parser.add_argument("--groups", type=str, metavar="FILE", help="CSV file with attributes of images")
    parser.add_argument("--masks", type=str, metavar="PLACE", help="masks or boxes of the objects: COCO file or folder")
    parser.add_argument("--against", type=str, metavar="RUN", help="an earlier network of the same classes")
    parser.add_argument("--train_data", type=str, metavar="DATA", help="what the network learnt from, to compare with")
    parser.add_argument("--split", type=str, metavar="FILE", help="use the images that this split.json holds out")
    parser.add_argument(
        "--gap", type=float, default=0.05, metavar="SHARE", help="least difference that counts (default: 0.05)"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="P", help="chance of a false alarm (default: 0.05)"
    )
    parser.add_argument(
        "--least", type=int, default=30, metavar="N", help="groups of fewer images are not compared (default: 30)"
    )
    parser.add_argument(
        "--most_changed",
        type=int,
        default=1000,
        metavar="N",
        help="images that are changed to see what the network needs, at most; 0 leaves that out (default: 1000)",
    )
    parser.add_argument(
        "--fail_on",
        type=str,
        nargs="+",
        default=[],
        metavar="SECTION",
        help="end with status 1 if something is found in one of: groups, backgrounds, slices, against, data, parts, "
        "amplification, or in any",
    )
    parser.add_argument("--seed", type=int, default=0, help="of permutations and bootstrap (default: 0)")
    add_size(parser, "side of the square crop", shown_default="the network's own")
    parser.add_argument("--batch_size", type=int, help="images at once (default: 32)")
    add_flag(parser, "skip_unreadable", "leave out images that cannot be read")
    add_device(parser)
    add_precision(parser)
    add_flag(parser, "card", "put the verdicts into the model card of the run that MODEL is")
    add_json(parser, "the whole audit")
    add_csv(parser, "one line for each difference that was tested")
    add_output(parser, "folder for everything: report.html, figures as JSON and CSV")


def run(arguments: Any) -> int:
    """Audit and report."""
    require_whole(arguments, least=(2, _MOST), most_changed=(0, _MOST), seed=0, size=(1, 65_536), batch_size=1)
    sections = _sections(arguments.fail_on)
    if arguments.output is not None:
        require_folder(arguments.output)
    from focalnets import api
    from focalnets.auditing.report import AUDIT_FILES

    if arguments.output is not None:
        require_folder(arguments.output, AUDIT_FILES)
    source = require_model(arguments.model)
    card = None
    if arguments.card:
        from focalnets.auditing.card import card_of

        card = require_file("--card", card_of(source))
    with progress("auditing", None) as show:

        def show_progress(done: int, total: int, words: str) -> None:
            show(done, words, total=total)

        audited = api.audit(
            arguments.data,
            source,
            groups=arguments.groups,
            masks=arguments.masks,
            against=arguments.against,
            train_data=arguments.train_data,
            split=arguments.split,
            gap=arguments.gap,
            alpha=arguments.alpha,
            least=arguments.least,
            most_changed=arguments.most_changed,
            seed=arguments.seed,
            size_px=arguments.size,
            batch_size=arguments.batch_size,
            skip_unreadable=arguments.skip_unreadable,
            precision=arguments.precision,
            device=arguments.device,
            on_progress=show_progress,
        )
    for text in audited.notes:
        note(text)
    deliver(
        arguments,
        lambda: _show(audited),
        json=audited.to_dict,
        csv=audited.to_csv,
        files=lambda: audited.save(arguments.output),
        output=arguments.output,
    )
    if card is not None:  # after the results, so that a full disk does not take them
        from focalnets.auditing.card import write_verdicts

        write_verdicts(card, audited)
    return int(bool(audited.found(sections)))


def _sections(given: list[str]) -> set[Any]:
    from focalnets.auditing.verdicts import SECTIONS

    unknown = [name for name in given if name not in (*SECTIONS, "any")]
    if unknown:
        raise ConfigError(f"--fail_on knows {', '.join(SECTIONS)} and any, got {unknown[0]!r}.")
    return set(SECTIONS) if "any" in given else set(given)


def _show(audited: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    accuracy = audited.accuracy
    print(
        f"{audited.images:,} images of {audited.data}: {accuracy.value:.1%} recognised (95 % interval "
        f"{accuracy.low:.1%} to {accuracy.high:.1%}); {len(audited.found())} found"
    )
    if audited.split is not None:
        print(f"only what {audited.split} holds out")
    for failure in audited.left_out:
        print(f"left out: {failure.reason}")
    styles = {"found": "red", "note": "yellow", "too few": "dim", "nothing": "green"}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("")
    table.add_column("", overflow="fold")
    for verdict in audited.verdicts:
        table.add_row(Text(verdict.kind, style=styles[verdict.kind]), Text(verdict.sentence))
    Console(highlight=False).print(table)
