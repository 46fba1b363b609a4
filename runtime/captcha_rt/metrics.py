"""Metrics of how well pictures were read; training, export and `evaluate` share them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model read in one picture, and the label.

    Attributes:
        path: The picture's path or name.
        truth: The label.
        text: The text that the model read.
        confidence: The confidence of the text, in 0..1.
    """

    path: str
    truth: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """A character that was read as another one, missed or added.

    Attributes:
        truth: The character in the label; empty if a character was added.
        read: The character that was read; empty if it was missed.
        count: The number of times that this happened.
    """

    truth: str
    read: str
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of some predictions.

    Attributes:
        total: The number of pictures.
        errors: The number of pictures that were not read exactly.
        exact_match: The fraction of pictures that were read exactly, in 0..1.
        interval: The 95 % Wilson interval of `exact_match`.
        calibration_error: The expected calibration error of the confidences, in 0..1.
        character_error_rate: The number of edits from the labels to the texts, divided by the
            number of characters in the labels, at least 0; 0 is perfect.
        character_accuracy: The fraction of the labels' characters that were read correctly at
            their position, in 0..1.
        position_accuracy: For each position from the first character on, the fraction of the
            labels' characters there that were read correctly, in 0..1.
        confusions: The confused characters, the most frequent first.
        misread: The predictions that were not exact, in order.
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
    misread: tuple[Prediction, ...]


def evaluate(predictions: Sequence[Prediction]) -> Evaluation:
    """Computes all metrics.

    Args:
        predictions: At least one prediction.

    Returns:
        The metrics.

    Raises:
        ValueError: If there are no predictions.
    """
    if not predictions:
        raise ValueError("no predictions to evaluate")
    misread = tuple(p for p in predictions if p.text != p.truth)
    edits = [edit for p in misread for edit in align(p.truth, p.text)]
    right = len(predictions) - len(misread)
    longest = max(len(p.truth) for p in predictions)
    by_position = [
        [p.text[i : i + 1] == p.truth[i] for p in predictions if i < len(p.truth)]
        for i in range(longest)
    ]
    characters = max(1, sum(len(p.truth) for p in predictions))
    return Evaluation(
        total=len(predictions),
        errors=len(misread),
        exact_match=right / len(predictions),
        interval=wilson_interval(right, len(predictions)),
        calibration_error=calibration_error(predictions),
        character_error_rate=len(edits) / characters,
        character_accuracy=sum(map(sum, by_position)) / characters,
        position_accuracy=tuple(sum(hits) / len(hits) for hits in by_position),
        confusions=tuple(Confusion(*pair, n) for pair, n in Counter(edits).most_common()),
        misread=misread,
    )


def summarize(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Computes the metrics that a manifest holds.

    Args:
        predictions: At least one prediction.

    Returns:
        The metrics by name, as JSON values; see `Evaluation`.

    Raises:
        ValueError: If there are no predictions.
    """
    found = evaluate(predictions)
    return {
        "pictures": found.total,
        "exact_match": found.exact_match,
        "interval": found.interval,
        "character_error_rate": found.character_error_rate,
        "character_accuracy": found.character_accuracy,
    }


def only_answer(texts: Sequence[str]) -> str | None:
    """Finds out whether a model answers every picture with the same text, or with none.

    Such a model has learned nothing, unless all pictures show this text.

    Args:
        texts: The answers to different pictures.

    Returns:
        The text, which may be empty; None if the texts differ, or two or fewer are equal by chance.
    """
    if len(set(texts)) == 1 and (not texts[0] or len(texts) > 2):
        return texts[0]
    return None


def calibration_error(predictions: Sequence[Prediction], bins: int = 10) -> float:
    """Computes the expected calibration error.

    The predictions are put into bins by their confidence. In a perfectly calibrated bin the mean
    confidence equals the fraction of right predictions. Source: M. P. Naeini et al.,
    "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015).

    Args:
        predictions: At least one prediction.
        bins: The number of bins of equal width.

    Returns:
        The mean difference, over all bins, between the mean confidence and the fraction of right
        predictions, in 0..1. A bin's weight is the number of predictions in it.
    """
    members: dict[int, list[Prediction]] = {}
    for prediction in predictions:
        members.setdefault(min(int(prediction.confidence * bins), bins - 1), []).append(prediction)
    gaps = (sum((p.text == p.truth) - p.confidence for p in ps) for ps in members.values())
    return sum(map(abs, gaps)) / len(predictions)


def wilson_interval(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Computes the Wilson score interval of a fraction.

    Unlike an interval by the normal approximation, the Wilson interval stays within 0..1, and has a
    width above 0 even at 0 and 100 %. Source: E. B. Wilson, JASA 22 (1927).

    Args:
        right: The number of successes.
        total: The number of trials, at least 1.
        z: The quantile of the normal distribution; the default gives 95 %.

    Returns:
        The lower and the upper bound, in 0..1.
    """
    fraction = right / total
    centre = fraction + z * z / (2 * total)
    half = z * sqrt(fraction * (1 - fraction) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def align(truth: str, text: str) -> list[tuple[str, str]]:
    """Finds the fewest edits that turn the label into the text (Levenshtein).

    Args:
        truth: The label.
        text: The text that was read.

    Returns:
        One pair per edit, in order: `("m", "n")` replaced, `("m", "")` missed, `("", "n")` added.
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


def align_characters(truth: str, text: str) -> list[tuple[str, str]]:
    """Pairs the characters of the label with those of the text.

    The pairs are the edits of `align`, and between them the characters that were read correctly.

    Args:
        truth: The label.
        text: The text that was read.

    Returns:
        One pair per character, in order: `("m", "m")` correct, `("m", "n")` replaced,
        `("m", "")` missed, `("", "n")` added.
    """
    # `align` goes from the end to the start, and makes no edit where two characters are equal. This
    # loop goes the same way, and takes the next edit wherever they differ.
    edits = align(truth, text)
    pairs = []
    while truth or text:
        pair = (truth[-1:], text[-1:])
        if pair[0] != pair[1]:
            pair = edits.pop()
        pairs.append(pair)
        truth, text = truth.removesuffix(pair[0]), text.removesuffix(pair[1])
    return pairs[::-1]
