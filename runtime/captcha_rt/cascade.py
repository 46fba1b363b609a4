"""Which answer counts where the small model and the general one have read a picture."""

from dataclasses import replace

from captcha_rt.constrained import Constraints
from captcha_rt.errors import CaptchaRTError
from captcha_rt.solution import Solution


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
    """The general model's answer; the small one's where that is surer of what both reject."""
    if isinstance(general, CaptchaRTError):
        return small
    if isinstance(small, CaptchaRTError):
        return general
    if constraints is not None and not constraints.fit(small.text):
        return general
    return general if general.accepted or general.confidence >= small.confidence else small
