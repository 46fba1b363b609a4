"""Hints: what looks wrong about labels, though nobody can be sure without the pictures."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

_SAME_SHAPES: Final = frozenset("ckopsuvwxz")  # a capital looks like a large small letter
_MISSING: Final = ("nan", "NaN", "None", "null", "NULL", "<NA>", "N/A")  # as programs write them
_FEWEST: Final = 5  # with fewer labels, all have something in common by chance


def find_hints(labels: Sequence[str]) -> list[str]:
    """Looks for what spreadsheets and people do to labels.

    Args:
        labels: The labels of a folder.

    Returns:
        One line for each hint: what was seen, and what to do.
    """
    distinct = sorted(set(labels))
    in_all = (_missing(labels), _lost_zeros(labels))
    in_some = (_rounded(distinct), _both_cases(distinct), _affix(distinct), _invisible(distinct))
    return [hint for hint in (*in_all, *in_some) if hint]


def _missing(labels: Sequence[str]) -> str:
    """What programs write where there is no value; a single one may be a text."""
    counts = Counter(labels)
    text = next((text for text in _MISSING if counts[text] > 1), "")
    return text and (
        f"{counts[text]} labels are {text!r}: if no picture shows it, leave their cells empty"
    )


def _lost_zeros(labels: Sequence[str]) -> str:
    """Numbers of which most have one length, some are shorter, and none begins with 0."""
    if not all(re.fullmatch("[0-9]+", label) for label in labels):
        return ""
    lengths = Counter(map(len, labels))
    usual, count = lengths.most_common(1)[0]
    shorter = [label for label in labels if len(label) < usual]
    # Of numbers of equal length, one in ten begins with 0.
    if not shorter or usual < 3 or usual != max(lengths) or count < 0.7 * len(labels):
        return ""
    if any(label.startswith("0") and len(label) > 1 for label in labels):
        return ""
    return (
        f"{len(shorter)} labels have fewer than {usual} digits, as {shorter[0]}, and none begins "
        f"with 0: if leading zeros were lost in a spreadsheet, write {shorter[0].zfill(usual)}"
    )


def _rounded(labels: Iterable[str]) -> str:
    """Long numbers that a spreadsheet shows rounded."""
    for label in labels:
        if re.fullmatch(r"[0-9](?:[.,][0-9]+)?E\+[0-9]{2}", label):
            return f"{label} looks like a number that a spreadsheet rounded: format it as text"
    return ""


def _both_cases(labels: Sequence[str]) -> str:
    """Letters in both cases that look alike, or labels of capitals beside labels of small ones."""
    characters = set("".join(labels))
    both = sorted(c for c in characters if c.islower() and c.upper() in characters)
    mixed = any(label != label.lower() and label != label.upper() for label in labels)
    alike = [c for c in both if c in _SAME_SHAPES or not mixed]
    if not alike:
        return ""
    shown = ", ".join(f"{c} and {c.upper()}" for c in alike[:5])
    return (
        f"the labels have {shown}{', ...' if len(alike) > 5 else ''}: if the pictures don't show "
        "the case, train with --fold-case and evaluate with --ignore-case"
    )


def _affix(labels: Sequence[str]) -> str:
    """A text that all labels begin or end with; the = and ? of sums are no such text."""
    if len(labels) < _FEWEST:
        return ""
    start = _common_start(labels)
    end = _common_start([label[::-1] for label in labels])[::-1]
    for where, text in (("begin", start), ("end", end)):
        if text.strip("=? "):
            return f"all labels {where} with {text!r}: if the pictures don't show it, remove it"
    return ""


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # all others are between them
    same = (n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, min(len(first), len(last)))]


def _invisible(labels: Iterable[str]) -> str:
    """Characters that nobody sees, such as a zero-width space; a plain space is none."""
    characters = sorted(set("".join(labels)) - {" "})
    wrong = [c for c in characters if unicodedata.category(c) in ("Cc", "Cf", "Zs", "Zl", "Zp")]
    shown = ", ".join(f"U+{ord(c):04X}" for c in wrong[:5])
    return f"the labels have characters that nobody sees: {shown}" if wrong else ""
