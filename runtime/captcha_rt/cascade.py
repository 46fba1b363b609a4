"""Which model reads a picture, and which answer counts where it is read more than once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.constrained import Constraints
from captcha_rt.errors import CaptchaRTError
from captcha_rt.solution import Solution
from captcha_rt.steps import Rgb

if TYPE_CHECKING:
    from captcha_rt.reader import Reader

_ITS_KIND: Final = 0.5
"""The small model is mostly so sure of a picture of the kinds that it was made for, even of one
that it rejects; of 2,920 pictures of fifteen other kinds it was of one."""

UNSURE: Final = 0.7
"""Below this confidence the general model reads a picture again. Of 3,120 pictures of such kinds,
three in eight lie below, and six sevenths of those that a second reading mends."""

_MARGIN: Final = 0.1
"""The paper around a text that is cut out anew, as a share of the text's shorter side."""

_PAPER: Final = 24
"""Levels by which a pixel may differ from the paper's colour and still be paper."""

_SPECK: Final = 2
"""A row or column of pixels with less ink than so many pixels is empty."""

_LEAST: Final = 8
"""Pixels: what is less wide or high is no text."""


def read_in_turn(
    readers: "Sequence[Reader]",
    pictures: Sequence[NDArray[np.uint8]],
    constraints: Constraints | None,
    read: list[Solution | CaptchaRTError] | None = None,
) -> list[Solution | CaptchaRTError]:
    """Reads pictures with the only model, or with the small one and then the general one.

    What the general model is unsure of, it reads a second time, cut out anew, since it misreads
    other characters then, and the answer counts that it is surer of.

    The small model is not told what is known before it has answered: to know that a letter of
    another kind of picture is a digit would make it sure of a wrong one.

    Args:
        readers: The models: one, or the small one and the general one.
        pictures: The pictures.
        constraints: What is known.
        read: What the first model has read without constraints, if it has read already.

    Raises:
        ModelError: If the general model is needed, and can't be loaded.
    """
    small, *others = readers
    if not others:
        return read or small.read_batch(pictures, constraints)
    [general] = others
    answers = small.read_batch(pictures) if read is None else read
    left = [
        i
        for i, answer in enumerate(answers)
        if isinstance(answer, CaptchaRTError)
        or not answer.accepted
        or not (constraints is None or constraints.fit(answer.text))
    ]
    if left:
        general.load()  # what is wrong with it is no picture's error
        asked = _read_twice(general, [pictures[i] for i in left], constraints)
        for i, answer in zip(left, asked, strict=True):
            answers[i] = better(answers[i], answer, constraints)
    if constraints is not None:
        kept = [i for i in range(len(answers)) if is_by(answers[i], small.manifest.name)]
        again = small.read_batch([pictures[i] for i in kept], constraints) if kept else ()
        for i, answer in zip(kept, again, strict=True):
            answers[i] = rejected_as(answers[i], answer)
    return answers


def readings(
    readers: "Sequence[Reader]", picture: NDArray[np.uint8]
) -> "Iterator[tuple[Reader, NDArray[np.uint8]]]":
    """The models that read a picture in turn, each with the picture as it reads it."""
    for reader in readers:
        yield reader, picture
    if len(readers) > 1:
        yield readers[-1], recut(picture)


def recut(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cuts a picture out anew: what is on it, with a narrow margin.

    Empty paper beyond the margin is cut off, and paper that is missing is added. So a text in much
    paper becomes larger, and one that fills its picture smaller.

    Args:
        picture: `(H, W, C)`.

    Returns:
        `(H', W', C)`, or `(H', W', 3)` of a picture with transparency: its hidden colours are no
        ink. The margin is at least a pixel; a large picture grows by less than half.
    """
    if picture.shape[2] == 4:
        picture = Rgb()(picture)
    height, width, channels = picture.shape
    corners = np.sort(picture[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    paper = corners[1].tolist()  # one of the four may be a speck
    low, high = ([level + change for level in paper] for change in (-_PAPER, _PAPER))
    empty = np.asarray(cv2.inRange(picture, np.array(low), np.array(high)), bool)
    rows, columns = (
        np.flatnonzero(np.count_nonzero(~empty, axis=axis) >= _SPECK) for axis in (1, 0)
    )
    if min(len(rows), len(columns)) < _LEAST:
        rows, columns = np.arange(height), np.arange(width)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    side = max(1, round(_MARGIN * min(bottom - top, right - left)))
    top, bottom, left, right = top - side, bottom + side, left - side, right + side
    inside = picture[max(top, 0) : bottom, max(left, 0) : right]
    missing = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    wider = cv2.copyMakeBorder(inside, *missing, cv2.BORDER_REPLICATE)
    return np.asarray(wider, np.uint8).reshape(*wider.shape[:2], channels)


def _read_twice(
    general: "Reader", pictures: Sequence[NDArray[np.uint8]], constraints: Constraints | None
) -> list[Solution | CaptchaRTError]:
    """Reads pictures with the general model, and those that it is unsure of once more."""
    answers = general.read_batch(pictures, constraints)
    unsure = [i for i, a in enumerate(answers) if isinstance(a, Solution) and a.confidence < UNSURE]
    if unsure:
        again = general.read_batch((_try_recut(pictures[i]) for i in unsure), constraints)
        for i, answer in zip(unsure, again, strict=True):
            first = answers[i]
            if isinstance(first, Solution) and isinstance(answer, Solution):
                counts = second_counts(first.confidence, answer.confidence)
                answers[i] = answer if counts else first
    return answers


def _try_recut(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture cut out anew, or as it is where the memory is too small for that."""
    try:
        return recut(picture)
    except (MemoryError, cv2.error):
        return picture


def second_counts(first: float, second: float) -> bool:
    """Whether the second of two readings of a picture counts, by their confidences."""
    return first < UNSURE and first < second


def is_by(answer: Solution | CaptchaRTError, model: str) -> bool:
    """Whether the model with a name gave an answer."""
    return isinstance(answer, Solution) and answer.model == model


def rejected_as(
    before: Solution | CaptchaRTError, answer: Solution | CaptchaRTError
) -> Solution | CaptchaRTError:
    """What the small model reads knowing what is known; it stays as sure of what was rejected."""
    if isinstance(before, Solution) and isinstance(answer, Solution) and not before.accepted:
        return replace(answer, confidence=min(before.confidence, answer.confidence))
    return before if isinstance(answer, CaptchaRTError) else answer


def better(
    small: Solution | CaptchaRTError,
    general: Solution | CaptchaRTError,
    constraints: Constraints | None,
) -> Solution | CaptchaRTError:
    """The general model's answer; the small one's where it knows the kind, or is surer."""
    if isinstance(general, CaptchaRTError):
        return small
    if isinstance(small, CaptchaRTError):
        return general
    if constraints is not None and not constraints.fit(small.text):
        return general
    if small.confidence >= _ITS_KIND and general.text != small.text:
        return small
    return general if general.accepted or general.confidence >= small.confidence else small
