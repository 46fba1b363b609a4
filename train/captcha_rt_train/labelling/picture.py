"""A picture to label: its label, what a model reads in it, and what a label may be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unicodedata import category

from captcha_rt.labels.texts import clean
from captcha_rt_train.errors import TrainingError

MIN_CONFIDENCE: Final = 0.5
"""The lowest confidence with which a suggestion contradicts a label, in 0..1."""

MAX_LENGTH: Final = 200
"""The largest number of characters of a label."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a model reads in a picture.

    Attributes:
        text: The text in NFC; may be empty.
        confidence: The model's confidence, in 0..1.
        model: The name of the model, or of a list of suspects.
    """

    text: str
    confidence: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its label.

    Attributes:
        name: The path below the folder.
        path: The file.
        label: The label; empty if nobody can read the picture; None if it has none yet.
        version: The number of changes of the label.
        stamp: The number of the state's last change that concerned the picture.
        suggestion: What a model reads; None if none has read it yet.
        problem: Why the picture can't be read or shown; empty if it can.
        checked: Whether somebody looked at the label again and kept it.
        listed: Whether a list of suspects names it, with the label that it has.
    """

    name: str
    path: Path
    label: str | None = None
    version: int = 0
    stamp: int = 0
    suggestion: Suggestion | None = None
    problem: str = ""
    checked: bool = False
    listed: bool = False

    @property
    def suspect(self) -> bool:
        """Whether the label is probably wrong."""
        suggestion = self.suggestion
        if not self.label or self.checked or suggestion is None or suggestion.text == self.label:
            return False
        return self.listed or (suggestion.confidence >= MIN_CONFIDENCE and suggestion.text != "")


def clean_label(text: str) -> str:
    """Returns a label as a label file gives it back: in NFC, without spaces around it.

    Raises:
        TrainingError: If a label can't be so.
    """
    label = text
    while (again := clean(label)) != label:
        label = again
    if len(label) > MAX_LENGTH:
        raise TrainingError(f"a label has at most {MAX_LENGTH} characters")
    if any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise TrainingError("a label is one line of text")
    return label
