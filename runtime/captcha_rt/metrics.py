"""How well pictures were read: the figures that training, export and `evaluate` share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """One picture's truth and what was read.

    Attributes:
        path: The picture.
        truth: Its label.
        text: What was read.
        confidence: How sure the model was, in 0..1.
    """

    path: str
    truth: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """A character that was read as another.

    Attributes:
        truth: What stood there; empty where a character was made up.
        read: What was read; empty where a character was missed.
        count: How often.
    """

    truth: str
    read: str
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures over some readings.

    Attributes:
        total: The number of pictures.
        errors: How many were not read exactly.
        exact_match: The share that was, in 0..1.
        interval: Its 95 % Wilson interval.
        calibration_error: How far the confidences lie from the share that is right, in 0..1.
        character_error_rate: Edits needed over characters there, in 0..; 0 is perfect.
        character_accuracy: The share of the truth's characters that were read right in their
            place, in 0..1.
        position_accuracy: For each position of the truth, the share read right there.
        confusions: The characters confused, most often first.
        misread: The readings that were not exact, in order.
    """

    total: int
    errors: int
    exact_match: float
    interval: tuple[float, float]
    calibration_error: float
    character_error_rate: float
    character_accuracy: float
    position_accuracy: tuple[float, ...]
    confusions: tuple[Confusion, ...]
    misread: tuple[Reading, ...]


def evaluate(readings: Sequence[Reading]) -> Evaluation:
    """Works out all figures.

    Args:
        readings: At least one.

    Raises:
        ValueError: If there are none.
    """
    if not readings:
        raise ValueError("no readings to evaluate")
    misread = tuple(r for r in readings if r.text != r.truth)
    edits = [edit for r in misread for edit in align(r.truth, r.text)]
    right = len(readings) - len(misread)
    longest = max(len(r.truth) for r in readings)
    by_position = [
        [r.text[i : i + 1] == r.truth[i] for r in readings if i < len(r.truth)]
        for i in range(longest)
    ]
    characters = max(1, sum(len(r.truth) for r in readings))
    return Evaluation(
        total=len(readings),
        errors=len(misread),
        exact_match=right / len(readings),
        interval=wilson_interval(right, len(readings)),
        calibration_error=calibration_error(readings),
        character_error_rate=len(edits) / characters,
        character_accuracy=sum(map(sum, by_position)) / characters,
        position_accuracy=tuple(sum(hits) / len(hits) for hits in by_position),
        confusions=tuple(Confusion(*pair, n) for pair, n in Counter(edits).most_common()),
        misread=misread,
    )


def figures(readings: Sequence[Reading]) -> dict[str, Any]:
    """The figures that a manifest gives of some readings, at least one."""
    found = evaluate(readings)
    return {
        "pictures": found.total,
        "exact_match": found.exact_match,
        "interval": found.interval,
        "character_error_rate": found.character_error_rate,
        "character_accuracy": found.character_accuracy,
    }


def calibration_error(readings: Sequence[Reading], bins: int = 10) -> float:
    """The expected calibration error: how far confidences lie from the share that is right.

    Source: M. P. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning"
    (AAAI 2015).

    Args:
        readings: At least one.
        bins: Into so many of equal width the confidences are put.

    Returns:
        The mean over the bins, by their readings, of the distance of mean confidence and share
        right, in 0..1.
    """
    members: dict[int, list[Reading]] = {}
    for reading in readings:
        members.setdefault(min(int(reading.confidence * bins), bins - 1), []).append(reading)
    gaps = (sum((r.text == r.truth) - r.confidence for r in its) for its in members.values())
    return sum(map(abs, gaps)) / len(readings)


def wilson_interval(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share.

    Unlike the normal approximation it stays in 0..1 and says something at 0 and 100 %. Source:
    E. B. Wilson, JASA 22 (1927).

    Args:
        right: The successes.
        total: The trials, at least 1.
        z: The normal quantile; the default gives 95 %.

    Returns:
        The lower and the upper bound, in 0..1.
    """
    share = right / total
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def align(truth: str, text: str) -> list[tuple[str, str]]:
    """The fewest edits from truth to text (Levenshtein).

    Returns:
        A pair an edit, in order: `("m", "n")` replaced, `("m", "")` missed, `("", "n")` made up.
    """
    rows, columns = len(truth) + 1, len(text) + 1
    cost = [[i + j if i * j == 0 else 0 for j in range(columns)] for i in range(rows)]
    for i in range(1, rows):
        for j in range(1, columns):
            cost[i][j] = min(
                cost[i - 1][j - 1] + (truth[i - 1] != text[j - 1]),
                cost[i - 1][j] + 1,
                cost[i][j - 1] + 1,
            )
    edits = []
    i, j = rows - 1, columns - 1
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (truth[i - 1] != text[j - 1]):
            i, j = i - 1, j - 1
            if truth[i] != text[j]:
                edits.append((truth[i], text[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            edits.append((truth[i], ""))
        else:
            j -= 1
            edits.append(("", text[j]))
    return edits[::-1]
