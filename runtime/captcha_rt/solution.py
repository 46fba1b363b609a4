"""The answer to a picture: the text and its confidence, rejection, and the JSON form."""

from dataclasses import dataclass, replace
from typing import Any

from captcha_rt.errors import CaptchaRTError, LowConfidenceError, SumError
from captcha_rt.sums import value_of

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
            what is no answer: no character, or fewer than any text that the model was trained on.
        characters: The characters of the text, in order.
        model: The name of the model that read it.
        min_confidence: The lowest confidence that this model's answers should have, in 0..1:
            `Manifest.min_confidence`. It is higher if the picture looks damaged.
        alternatives: The likeliest texts, the likeliest first; None if they were not asked for.
        value: The value of the sum that the text is, as `value_of` works it out; None if the text
            is no sum, or the model reads no sums.
        frames: The number of frames of the picture's file. If it is above 1, the text is that of
            the first frame, unless the model's recipe begins with the step `frames`.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    model: str
    min_confidence: float = 0.0
    alternatives: tuple[Alternative, ...] | None = None
    value: int | None = None
    frames: int = 1

    @property
    def accepted(self) -> bool:
        """Whether the confidence is above 0, and reaches the model's limit."""
        return 0 < self.confidence >= self.min_confidence


def reject_unsure(
    answer: Solution | CaptchaRTError, min_confidence: float | None
) -> Solution | CaptchaRTError:
    """Replaces an answer by an error if its confidence is too low.

    Args:
        answer: An answer, or an error in place of one, as `Solver.solve_many` yields them.
        min_confidence: The lowest confidence to accept, in 0..1; None is the limit of the model
            that read the picture. What is no answer has the confidence 0, and is only accepted if
            that is given as the limit.

    Returns:
        `answer` itself, or a LowConfidenceError whose message holds the text.
    """
    if isinstance(answer, CaptchaRTError):
        return answer
    if answer.accepted if min_confidence is None else answer.confidence >= min_confidence:
        return answer
    if not answer.text:
        return LowConfidenceError("read no character")
    if not answer.confidence:
        return LowConfidenceError(
            f"read {answer.text!r}, shorter than any text that the model was trained on"
        )
    limit = answer.min_confidence if min_confidence is None else min_confidence
    return LowConfidenceError(
        f"read {answer.text!r} with confidence {answer.confidence:.4f}, below {limit}"
    )


def evaluate_sum(answer: Solution | CaptchaRTError) -> Solution | CaptchaRTError:
    """Adds the value of the sum that an answer is, also if its model wasn't trained on sums.

    Args:
        answer: An answer, or an error in place of one.

    Returns:
        The answer with a value, a SumError if its text is no sum, or the error itself.
    """
    if isinstance(answer, CaptchaRTError):
        return answer
    value = value_of(answer.text)
    if value is None:
        return SumError(f"read {answer.text!r}, which is no sum with a whole value, such as 3+5=?")
    return replace(answer, value=value)


def answer_to_json(answer: Solution | CaptchaRTError) -> dict[str, Any]:
    """Returns an answer as JSON values, as `captcha-rt solve --json` prints them.

    Args:
        answer: An answer, or an error in place of one.

    Returns:
        `{"text", "confidence", "characters": [{"text", "confidence"}, ...], "model"}`,
        with `"alternatives": [{"text", "probability"}, ...]` if they were asked for, the integer
        `"value"` if the text is a sum, and `"frames"` if there are several; or
        `{"error": {"type", "message"}}`.
    """
    if isinstance(answer, CaptchaRTError):
        return {"error": {"type": type(answer).__name__, "message": str(answer)}}
    # `dataclasses.asdict` copies every text and number: 0.1 ms, a quarter of what `solve` takes.
    values: dict[str, Any] = {
        "text": answer.text,
        "confidence": answer.confidence,
        "characters": tuple(
            {"text": character.text, "confidence": character.confidence}
            for character in answer.characters
        ),
        "model": answer.model,
    }
    if answer.alternatives is not None:
        values["alternatives"] = tuple(
            {"text": likely.text, "probability": likely.probability}
            for likely in answer.alternatives
        )
    if answer.value is not None:
        values["value"] = answer.value
    if answer.frames != 1:
        values["frames"] = answer.frames
    return values
