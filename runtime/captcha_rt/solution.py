"""The answer to a picture: the text and its confidence, rejection, and the JSON form."""

from dataclasses import asdict, dataclass
from typing import Any

from captcha_rt.errors import CaptchaRTError, LowConfidenceError

__all__ = ["Character", "Solution"]


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
class Solution:
    """What a model read in a picture.

    Attributes:
        text: The text; may be empty.
        confidence: How sure the model is of the whole text, in 0..1; the decoder defines it.
        characters: The characters of the text, in order.
        model: The name of the model.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    model: str


def reject_unsure(
    answer: Solution | CaptchaRTError, min_confidence: float
) -> Solution | CaptchaRTError:
    """Replaces an answer by an error if its confidence is too low.

    Args:
        answer: An answer, or an error in place of one, as `Solver.solve_many` yields them.
        min_confidence: The lowest confidence to accept, in 0..1, for example the limit that the
            model brings along, `Manifest.min_confidence`.

    Returns:
        `answer` itself, or a LowConfidenceError whose message holds the text.
    """
    if isinstance(answer, CaptchaRTError) or answer.confidence >= min_confidence:
        return answer
    return LowConfidenceError(
        f"read {answer.text!r} with confidence {answer.confidence:.4f}, below {min_confidence}"
    )


def answer_to_json(answer: Solution | CaptchaRTError) -> dict[str, Any]:
    """Returns an answer as JSON values, as `captcha-rt solve --json` prints them.

    Args:
        answer: An answer, or an error in place of one.

    Returns:
        `{"text", "confidence", "characters": [{"text", "confidence"}, ...], "model"}`, or
        `{"error": {"type", "message"}}`.
    """
    if isinstance(answer, CaptchaRTError):
        return {"error": {"type": type(answer).__name__, "message": str(answer)}}
    return asdict(answer)
