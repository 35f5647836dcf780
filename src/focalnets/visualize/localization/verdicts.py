"""What a measurement of maps says in sentences: what the main map beats, and what it does not. Imports no torch."""

from __future__ import annotations

from focalnets.visualize.localization.results import Difference, Localization

__all__ = ["JUDGED", "describe_verdicts", "judged_differences", "summarise"]

JUDGED = {"auc": "pixel AUC", "deletion": "deletion", "insertion": "insertion"}
"""The figures by which a map is judged, and what they are called in sentences."""

_BLIND = {"centre": "the centre", "noise": "smooth noise", "anywhere": "a constant map"}
"""Maps that know nothing of the image, inside sentences."""


def judged_differences(result: Localization) -> list[Difference]:
    """List what the main map has to beat: all but itself, peers and other maps of the same network's evidence."""
    kinds = {score.key: score.kind for score in result.methods}
    rivals = [each for each in result.differences if each.other != result.main]
    return [each for each in rivals if kinds[each.other] in ("gradcam", "blind")]


def summarise(result: Localization) -> str:
    """Say in one sentence whether the main map beats all that it is compared with, or else what it does not beat."""
    figures = [name for name in JUDGED if name in result.figures]
    others = judged_differences(result)
    if not others:
        return "There is nothing that the map is compared with."
    missed = []
    for difference in others:
        words = [JUDGED[name] for name in figures if result.verdict(difference, name) != "ahead"]
        if words:
            missed.append(f"{_in_words(result, difference.other)} (in {_listed(words)})")
    judged = _listed([JUDGED[name] for name in figures])
    if not missed:
        return f"It beats everything that it is compared with in {judged}."
    return f"These images do not show that it beats {_listed(missed, 'or')}."


def describe_verdicts(result: Localization) -> list[str]:
    """Say for each figure what the main map is ahead of, behind, and not told apart from."""
    sentences = []
    for name, words in JUDGED.items():
        if name not in result.figures:
            continue
        groups: dict[str, list[str]] = {"ahead": [], "behind": [], "open": []}
        for difference in judged_differences(result):
            estimate = getattr(difference, name)
            verdict = result.verdict(difference, name)
            if verdict is not None:
                interval = f"{100 * estimate.value:+.1f}, {100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"
                groups[verdict].append(f"{_in_words(result, difference.other)} ({interval})")
        said = {"ahead": "ahead of", "behind": "behind", "open": "not told apart from"}
        parts = [f"{said[group]} {', '.join(members)}" for group, members in groups.items() if members]
        smaller = "; smaller is better" if name == "deletion" else ""
        sentences.append(f"{words[:1].upper()}{words[1:]} (points, 95 % interval{smaller}): {'; '.join(parts)}.")
    return sentences


def _in_words(result: Localization, key: str) -> str:
    """Name what the main map is compared with inside a sentence."""
    if key.startswith("untrained"):
        same = key == f"untrained_{result.main}" or (key == "untrained" and result.main.startswith("modulator_"))
        return f"{'the same map' if same else 'the modulator'} with random weights"
    return _BLIND.get(key) or result.method(key).label


def _listed(words: list[str], joint: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"
