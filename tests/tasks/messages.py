"""Short messages of two kinds that have words of their own, the same at every call."""

from __future__ import annotations

import csv
import random

KINDS = {
    "ham": ("home", "dinner", "mother", "late", "bus", "lecture"),
    "spam": ("prize", "win", "cash", "call", "urgent", "08712"),
}
SHARED = ("you", "the", "now", "please", "and", "today", "I", "will", "have", "a")


def messages(count=200, seed=0):
    """Return texts with their kind; a third is spam."""
    choose = random.Random(seed)
    rows = []
    for number in range(count):
        kind = "spam" if number % 3 == 0 else "ham"
        words = [choose.choice(SHARED) for _ in range(choose.randint(2, 12))]
        for _ in range(2):
            words.insert(choose.randrange(len(words)), choose.choice(KINDS[kind]))
        rows.append((f"{' '.join(words)}.", kind))
    return rows


def write_messages(file, count=200, seed=0, heading=("text", "label")):
    """Write such a table; returns the file."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if file.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerows([heading, *messages(count, seed)])
    return file
