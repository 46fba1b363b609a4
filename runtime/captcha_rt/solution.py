"""The answer to a picture: the text and its confidence, rejection, and the JSON form."""

from dataclasses import asdict, dataclass
from typing import Any

from captcha_rt.errors import CaptchaRTError, LowConfidenceError

__all__ = ["Alternative", "Character", "Solution"]


@dataclass(frozen=True, slots=True)
class Character:
    """One character of an answer.

    Attributes:
        text: The character.
        confidence: How sure the model is of the character, in 0..1; the decoder defines it.
    """

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the likeliest texts.

    Attributes:
        text: The text.
        probability: How probable the text is, in 0..1.
    """

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Solution:
    """What a model read in a picture.

    Attributes:
        text: The text; may be empty.
        confidence: How sure the model is of the whole text, in 0..1; the decoder defines it. 0 for
            what is no answer: no character, or from the embedded models a stray one or two.
        characters: The characters of the text, in order.
        model: The name of the model that read it.
        min_confidence: The lowest confidence that this model's answers should have, in 0..1:
            `Manifest.min_confidence`.
        alternatives: The likeliest texts, the likeliest first; None if they were not asked for.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    model: str
    min_confidence: float = 0.0
    alternatives: tuple[Alternative, ...] | None = None

    @property
    def accepted(self) -> bool:
        """Whether the confidence reaches the model's limit."""
        return self.confidence >= self.min_confidence


def reject_unsure(
    answer: Solution | CaptchaRTError, min_confidence: float | None
) -> Solution | CaptchaRTError:
    """Replaces an answer by an error if its confidence is too low.

    Args:
        answer: An answer, or an error in place of one, as `Solver.solve_many` yields them.
        min_confidence: The lowest confidence to accept, in 0..1; None is the limit of the model
            that read the picture.

    Returns:
        `answer` itself, or a LowConfidenceError whose message holds the text.
    """
    if isinstance(answer, CaptchaRTError):
        return answer
    limit = answer.min_confidence if min_confidence is None else min_confidence
    if answer.confidence >= limit:
        return answer
    return LowConfidenceError(
        f"read {answer.text!r} with confidence {answer.confidence:.4f}, below {limit}"
    )


def answer_to_json(answer: Solution | CaptchaRTError) -> dict[str, Any]:
    """Returns an answer as JSON values, as `captcha-rt solve --json` prints them.

    Args:
        answer: An answer, or an error in place of one.

    Returns:
        `{"text", "confidence", "characters": [{"text", "confidence"}, ...], "model"}`,
        with `"alternatives": [{"text", "probability"}, ...]` if they were asked for; or
        `{"error": {"type", "message"}}`.
    """
    if isinstance(answer, CaptchaRTError):
        return {"error": {"type": type(answer).__name__, "message": str(answer)}}
    values = asdict(answer)
    del values["min_confidence"]
    if answer.alternatives is None:
        del values["alternatives"]
    return values
