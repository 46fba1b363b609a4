"""Decoders: from a network's scores to class ids, with positions and confidences.

A new decoder is a function and a row in `DECODERS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ScoresError

__all__ = ["Decoded", "ctc_greedy_decode"]

Scores = Literal["logits", "probabilities"]
_KINDS: Final = get_args(Scores)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder read from one picture's scores. The decoder defines the confidences.

    Attributes:
        ids: The class ids of the characters, in order, without blanks.
        positions: For each character the time step with its highest probability, or the position
            (head, glyph) that it was read from, counted from 0.
        confidences: For each character its confidence, in 0..1.
        confidence: The confidence of the whole text, in 0..1.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    confidences: tuple[float, ...]
    confidence: float


def ctc_greedy_decode(
    scores: NDArray[np.float32], *, blank: int, kind: Scores, temperature: float = 1.0
) -> list[Decoded]:
    """CTC greedy (best path) decoding.

    Takes the best class of each time step, merges repeats and drops blanks. If scores are equal,
    the lowest class wins. The ids equal those of `tf.nn.ctc_greedy_decoder(merge_repeated=True)`
    and `keras.ops.ctc_decode(strategy="greedy")`. Source: A. Graves et al., "Connectionist
    Temporal Classification" (ICML 2006), section 3.2.

    A character is merged from a run of time steps. Its confidence is the highest probability of
    its class in this run.

    The confidence of the text is a product over all time steps. Each factor is the probability of
    the classes that leave the text unchanged: at the peak of a character only this character,
    between two peaks the blank or either neighbour. So the confidence is low both if a character
    was nearly missed and if it was nearly another one. It is 0 if no character was read.

    This separates right from wrong answers as well as CTC's own probability of the text, the sum
    over all paths, at a fraction of the cost: the areas under the ROC curve are 0.927 and 0.930
    over clean, degraded and foreign pictures. The least certain character gives 0.879, the mean
    over the time steps 0.432.

    Args:
        scores: `(N, T, C)` float32, T time steps of C classes; N and T may be 0.
        blank: The blank's class, in `0..C - 1`.
        kind: What the scores are: `"logits"` (softmax is applied here) or `"probabilities"`.
        temperature: Logits are divided by it before the softmax, above 0.

    Returns:
        N results, one a picture.

    Raises:
        ScoresError: If a score is NaN or infinite.
        ValueError: If `scores` doesn't have three axes, the blank is no class, or the kind is
            unknown.
    """
    if scores.ndim != 3 or not 0 <= blank < scores.shape[2]:
        raise ValueError(f"no CTC scores with blank {blank}: shape {scores.shape}")
    probabilities = to_probabilities(scores, kind, temperature)
    if not scores.size:
        return [Decoded((), (), (), 0.0)] * len(scores)
    best: list[list[int]] = scores.argmax(axis=2).tolist()
    return [_read(*picture, blank) for picture in zip(probabilities, best, strict=True)]


def position_decode(
    scores: NDArray[np.float32],
    *,
    blank: int | None,
    kind: Scores,
    temperature: float = 1.0,
) -> list[Decoded]:
    """Reads one character at each position: the best class of each softmax.

    A position is a head (documents 000, 001), a time step of a network that has one time step a
    character (003), or a glyph (002). A position whose best class is the blank has no character,
    so that networks with a blank also read shorter texts. If scores are equal, the lowest class
    wins.

    A character's confidence is the probability of its class. The confidence of the text is the
    product over all positions, including those with the blank. It is 0 if no character was read.

    Args:
        scores: `(N, L, C)` float32, L positions of C classes; N and L may be 0.
        blank: The blank's class, in `0..C - 1`; None if there is no blank.
        kind: What the scores are: `"logits"` (softmax is applied here) or `"probabilities"`.
        temperature: Logits are divided by it before the softmax, above 0.

    Returns:
        N results, one a picture.

    Raises:
        ScoresError: If a score is NaN or infinite.
        ValueError: If `scores` doesn't have three axes, the blank is no class, or the kind is
            unknown.
    """
    if scores.ndim != 3 or not (blank is None or 0 <= blank < scores.shape[2]):
        raise ValueError(f"no scores by position with blank {blank}: shape {scores.shape}")
    probabilities = to_probabilities(scores, kind, temperature)
    if not scores.size:
        return [Decoded((), (), (), 0.0)] * len(scores)
    best, certainty = scores.argmax(axis=2).tolist(), probabilities.max(axis=2)
    whole = certainty.prod(axis=1).tolist()
    answers = []
    for classes, confidences, product in zip(best, certainty.tolist(), whole, strict=True):
        positions = [position for position, c in enumerate(classes) if c != blank]
        answers.append(
            Decoded(
                ids=tuple([classes[position] for position in positions]),
                positions=tuple(positions),
                confidences=tuple([confidences[position] for position in positions]),
                confidence=min(product, 1.0) if positions else 0.0,
            )
        )
    return answers


@dataclass(frozen=True, slots=True)
class Decoder:
    """A way to read scores.

    Attributes:
        decode: The function. It takes `scores` and the keywords `blank`, `kind` and `temperature`,
            and returns one `Decoded` a picture.
        axes: The number of axes of the graph's output, including the batch.
        needs_blank: Whether the charset must have a blank.
        reads_glyphs: Whether the recipe cuts a picture into glyphs, each a row of the batch. Then
            `decode` gets the rows of one picture together, `(N, glyphs, C)`.
    """

    decode: Callable[..., list[Decoded]]
    axes: int = 3
    needs_blank: bool = False
    reads_glyphs: bool = False


DECODERS: Final[Mapping[str, Decoder]] = {
    "ctc": Decoder(ctc_greedy_decode, needs_blank=True),
    "position": Decoder(position_decode),
    "glyph": Decoder(position_decode, axes=2, reads_glyphs=True),
}
"""The decoders by their names in the manifest."""


def to_probabilities(
    scores: NDArray[np.float32], kind: Scores, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Checks scores and makes probabilities of them.

    Args:
        scores: `(N, T, C)` float32.
        kind: What the scores are; probabilities are returned as they are.
        temperature: Logits are divided by it before the softmax, above 0.

    Returns:
        `(N, T, C)`, in 0..1.

    Raises:
        ScoresError: If a score is NaN or infinite.
        ValueError: If the kind is unknown.
    """
    scores = _check(scores, kind)
    if kind == "probabilities" or not scores.size:
        return scores
    return softmax(scores * np.float32(1 / temperature))


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """The softmax over the last axis.

    Args:
        logits: `(..., C)`, floats.

    Returns:
        The same shape and dtype, in 0..1.
    """
    with np.errstate(over="ignore"):  # a logit 3e38 below the best has probability 0 anyway
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _check(scores: NDArray[np.float32], kind: Scores) -> NDArray[np.float32]:
    """Checks that the scores are finite; shifts logits beyond 1e18 so that nothing overflows."""
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; it is one of {_KINDS}")
    if isfinite(np.vdot(scores, scores)):  # the fastest test of all scores
        return scores
    if not np.isfinite(scores).all():
        raise ScoresError("the model answered with NaN or infinite scores")
    if kind == "probabilities":
        return scores
    below = scores.astype(np.float64) - scores.max(axis=2, keepdims=True)
    return np.asarray(np.maximum(below, -1e18), np.float32)


def _read(probabilities: NDArray[np.float32], best: Sequence[int], blank: int) -> Decoded:
    """Reads one picture, as `ctc_greedy_decode` says.

    This is plain Python on the few columns that matter. On fifty time steps a dozen calls of NumPy
    would take three times as long.

    Args:
        probabilities: `(T, C)`.
        best: The best class of each time step.
        blank: The blank's class.
    """
    ids: list[int] = []
    runs: list[tuple[int, int]] = []  # each character's first time step, and the one after its last
    last, start = blank, 0
    for step, character in enumerate([*best, blank]):
        if character != last:
            if last != blank:
                ids.append(last)
                runs.append((start, step))
            last, start = character, step
    if not ids:
        return Decoded((), (), (), 0.0)
    shares: list[list[float]] = probabilities.take([blank, *ids], axis=1).tolist()
    positions: list[int] = []
    confidences: list[float] = []
    whole, after = 1.0, 0  # `after`: the time step after the last peak
    for number, (first, end) in enumerate(runs, 1):  # `number` is also the character's column
        column = [share[number] for share in shares[first:end]]
        confidence = max(column)
        peak = first + column.index(confidence)
        if number == 1 or ids[number - 1] == ids[number - 2]:
            for share in shares[after:peak]:
                whole *= share[0] + share[number]
        else:
            for share in shares[after:peak]:
                whole *= share[0] + share[number - 1] + share[number]
        whole *= confidence
        after = peak + 1
        positions.append(peak)
        confidences.append(confidence)
    for share in shares[after:]:
        whole *= share[0] + share[-1]
    return Decoded(tuple(ids), tuple(positions), tuple(confidences), min(whole, 1.0))
