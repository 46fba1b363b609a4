"""Which model reads a picture, and which answer counts where two have read it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.constrained import Constraints
from captcha_rt.errors import CaptchaRTError
from captcha_rt.solution import Solution

if TYPE_CHECKING:
    from captcha_rt.reader import Reader

_ITS_KIND: Final = 0.5
"""The small model is mostly so sure of a picture of the kinds that it was made for, even of one
that it rejects; of 2,520 pictures of nine other kinds it was of one."""


def read_in_turn(
    readers: "Sequence[Reader]",
    pictures: Sequence[NDArray[np.uint8]],
    constraints: Constraints | None,
    read: list[Solution | CaptchaRTError] | None = None,
) -> list[Solution | CaptchaRTError]:
    """Reads pictures with the only model, or with the small one and then the general one.

    The small model is not told what is known before it has answered: to know that a letter of
    another kind of picture is a digit would make it sure of a wrong one.

    Args:
        readers: The models: one, or the small one and the general one.
        pictures: The pictures.
        constraints: What is known.
        read: What the first model has read without constraints, if it has read already.
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
        asked = general.read_batch([pictures[i] for i in left], constraints)
        for i, answer in zip(left, asked, strict=True):
            answers[i] = better(answers[i], answer, constraints)
    if constraints is not None:
        kept = [i for i in range(len(answers)) if is_by(answers[i], small.manifest.name)]
        again = small.read_batch([pictures[i] for i in kept], constraints) if kept else ()
        for i, answer in zip(kept, again, strict=True):
            answers[i] = rejected_as(answers[i], answer)
    return answers


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
