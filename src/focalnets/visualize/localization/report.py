"""All files of a measurement of maps against masks in one folder, with one HTML page that loads nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from focalnets.files import write_json, write_text
from focalnets.intervals import Estimate
from focalnets.report.page import jpeg_address, page, png_address
from focalnets.version import __version__
from focalnets.visualize.localization.figures import Example, draw_blocks, draw_examples, draw_methods
from focalnets.visualize.localization.results import FIGURES, Localization, MethodScore

__all__ = ["write_localization"]

_OPTIONAL_FILES = ("best.png", "worst.png")


def write_localization(
    result: Localization, best: Sequence[Example], worst: Sequence[Example], folder: str | Path
) -> list[str]:
    """Write figures as JSON and CSV, pictures as PNG and ``report.html`` with all of it; returns the files' names.

    Pictures of examples that an earlier measurement left there are removed where this one has none.
    """
    folder = Path(folder)
    write_json(folder / "localization.json", result.to_dict())
    write_text(folder / "methods.csv", result.methods_csv())
    write_text(folder / "images.csv", result.images_csv())
    draw_blocks(result, folder / "blocks.png")
    draw_methods(result, folder / "methods.png")
    names = ["localization.json", "methods.csv", "images.csv", "blocks.png", "methods.png"]
    for name, examples in zip(_OPTIONAL_FILES, (best, worst), strict=True):
        if examples:
            draw_examples(examples, folder / name)
            names.append(name)
        else:
            (folder / name).unlink(missing_ok=True)
    sections = [_opening(result), _methods(result, folder), _blocks(result, folder)]
    sections += [_gallery("Where it does best", best), _gallery("Where it does worst", worst), _footer(result)]
    write_text(folder / "report.html", page("Do the maps lie on the object?", sections))
    return [*names, "report.html"]


def _opening(result: Localization) -> str:
    main, centre = result.method(result.main), _method(result, "centre")
    facts = []
    for name, words in FIGURES.items():
        beside = f"; the centre gets {getattr(centre, name).value:.1%}" if centre is not None else ""
        facts.append((f"{getattr(main, name).value:.1%}", f"{words}{beside}"))
    cards = "".join(f'<div class="fact"><b>{value}</b><span>{text}</span></div>' for value, text in facts)
    return f"""
<header><h1>Do the maps lie on the object?</h1>
<p class="lead">{html.escape(result.model)} on {result.images:,} images: {html.escape(result.data)}. The object is
{html.escape(result.objects)}; it covers {result.mean_area:.1%} of a picture on average. Figures below are of the
{html.escape(_lowered(main.label))}, which was chosen before measuring.</p></header>
<div class="facts">{cards}</div>"""


def _methods(result: Localization, folder: Path) -> str:
    scores = [score for score in result.methods if score.kind != "modulator" or score.key == result.main]
    rows = "".join(
        f"<tr><td>{html.escape(_label(result, one.other))}</td>"
        + "".join(f"<td class='number'>{_signed(getattr(one, name))}</td>" for name in FIGURES)
        + "</tr>"
        for one in result.differences
    )
    return f"""
<section><h2>Beside others on the same images</h2>
{_table(result, scores)}
{_picture(folder / "methods.png", "The figures of all methods as bars")}
<h2>By how much the modulator is ahead</h2>
<p>The {html.escape(_lowered(result.method(result.main).label))} minus each other method, image by image. Where the
interval holds zero, these images leave open which is better.</p>
<div class="panel"><table><thead><tr><th>compared with</th>{_heads()}</tr></thead><tbody>{rows}</tbody></table></div>
</section>"""


def _blocks(result: Localization, folder: Path) -> str:
    return f"""
<section><h2>Block by block</h2>
<p>Which block does best here was not known beforehand: the best of many is a little too good by chance.</p>
{_picture(folder / "blocks.png", "The figures of every block with intervals")}
{_table(result, [score for score in result.methods if score.kind == "modulator"])}</section>"""


def _table(result: Localization, scores: Sequence[MethodScore]) -> str:
    rows = []
    for score in scores:
        kind = "drawn" if score.key == result.main else "blind" if score.kind == "blind" else ""
        cells = "".join(
            f'<td class="number" title="95 % interval {interval(getattr(score, name))}">'
            f"{getattr(score, name).value:.1%}</td>"
            for name in FIGURES
        )
        rows.append(
            f'<tr class="{kind}"><td>{html.escape(score.label)}</td>'
            f'<td><span class="bar"><i style="width: {100 * score.auc.value:.1f}%"></i></span></td>{cells}</tr>'
        )
    return (
        f'<div class="panel"><table><thead><tr><th>map</th><th>pixel AUC</th>{_heads()}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _gallery(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    cards = "".join(
        f'<figure class="scene"><div class="pair"><img loading="lazy" alt="The picture" src="{_jpeg(one.picture)}">'
        f'<img loading="lazy" alt="The map over it" src="{_jpeg(one.heat)}"></div>'
        f'<figcaption><span title="{html.escape(one.score.name)}">{html.escape(Path(one.score.name).name[-28:])}</span>'
        f"<span>AUC {one.score.auc:.1%}</span></figcaption></figure>"
        for one in examples
    )
    return f"""
<section><h2>{title}</h2>
<p>By pixel AUC. White is the outline of the object, the cross the highest point of the map.</p>
<div class="gallery">{cards}</div></section>"""


def _footer(result: Localization) -> str:
    left_out = [
        (result.without_object, "show no object"),
        (result.filled, "show nothing beside the object"),
        (len(result.unreadable), "cannot be read"),
    ]
    counted = ", ".join(f"{count} {reason}" for count, reason in left_out if count)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in (*result.notes, *result.unreadable))
    main = result.method(result.main)
    return f"""
<footer><p>Everything is measured at the size at which the network sees a picture, shorter side {result.size_px} px.
Just beside the object: at most {result.near_px:g} px. The threshold of the overlap is one for all images, chosen for
each method as best on these images; for the {html.escape(_lowered(main.label))} the highest
{main.iou_area_share:.1%} of each picture. Intervals: 95 %, {result.resamples:,} bootstrap samples of the images, seed
{result.seed}. {f"Left out: {counted}." if counted else ""} focalnets {__version__}, {result.seconds:.0f} s.</p>
{f"<ul>{notes}</ul>" if notes else ""}</footer>"""


def interval(estimate: Estimate) -> str:
    """The ends of an interval in words."""
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def _signed(estimate: Estimate) -> str:
    value, low, high = (f"{100 * number:+.1f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} <span class='soft'>({low} to {high})</span>"


def _heads() -> str:
    return "".join(f'<th class="number">{words}</th>' for words in FIGURES.values())


def _method(result: Localization, key: str) -> MethodScore | None:
    return next((score for score in result.methods if score.key == key), None)


def _label(result: Localization, key: str) -> str:
    return result.method(key).label


def _lowered(label: str) -> str:
    return label[:1].lower() + label[1:]


def _picture(path: Path, words: str) -> str:
    with Image.open(path) as picture:
        width = picture.width
    return f'<img class="wide" loading="lazy" style="max-width: {width}px" alt="{words}" src="{png_address(path)}">'


def _jpeg(pixels: object) -> str:
    return jpeg_address(Image.fromarray(pixels), 85)  # type: ignore[arg-type]
