"""What `solve` prints of each answer. Processes make it, so that one process can print for many."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from captcha_rt.cli.output import LOW_CONFIDENCE, OK, SOME_FAILED, about, one_line, to_json
from captcha_rt.errors import CaptchaRTError, LowConfidenceError
from captcha_rt.image import shortened
from captcha_rt.solution import (
    Alternative,
    Solution,
    answer_to_json,
    evaluate_sum,
    reject_unsure,
)
from captcha_rt.solver import Solver

Form: TypeAlias = Literal["text", "json", "jsonl"]
"""Lines of text, one JSON value, or a line of JSON for each picture."""

Source: TypeAlias = tuple[str, bytes | str | CaptchaRTError | None]
"""The name of a picture, and the picture: bytes, what was typed, an error; None for the file."""


class Printed(NamedTuple):
    """What is printed of an answer.

    Attributes:
        text: What goes to stdout: no, one or several lines.
        notes: Messages on stderr.
        code: The exit code that the answer asks for.
    """

    text: str
    notes: tuple[str, ...]
    code: int


@dataclass(frozen=True, slots=True)
class Printer:
    """Makes what is printed of an answer.

    Attributes:
        form: Lines of text, one JSON value, or a line of JSON for each answer.
        min_confidence: As for `reject_unsure`.
        sums: Whether the values of sums are asked for.
        alternatives: Whether likely texts are asked for.
        alone: Whether there is a single picture, whose name isn't printed.
        merges: Whether the model reads all frames of an animation.
    """

    form: Form
    min_confidence: float | None
    sums: bool
    alternatives: bool
    alone: bool = False
    merges: bool = False

    def __call__(self, name: str, answer: Solution | CaptchaRTError) -> Printed:
        """What is printed of the answer to the picture of a name."""
        if "://" not in name and not os.path.lexists(name):
            name = shortened(name)
        kept = reject_unsure(answer, self.min_confidence)
        kept = evaluate_sum(kept) if self.sums else kept
        notes = []
        if isinstance(answer, Solution) and answer.frames > 1 and not self.merges:
            notes.append(frames_note(name, answer))
        likely = (answer.alternatives or ()) if isinstance(answer, Solution) else ()
        if self.form != "text":
            values = {"path": name, **answer_to_json(kept)}
            if self.alternatives:  # what was rejected has them too
                values["alternatives"] = [asdict(alternative) for alternative in likely]
            text = to_json(values, indent=2 if self.form == "json" else None) + "\n"
            return Printed(text, tuple(notes), _exit_code(kept))
        if isinstance(kept, CaptchaRTError):
            notes.append(about(name, kept))
        lines = self._lines(kept, likely)
        shown = "" if self.alone else f"{one_line(name)}\t"
        text = "".join(f"{shown}{line}\n" for line in lines)
        return Printed(text, tuple(notes), _exit_code(kept))

    def _lines(self, answer: Solution | CaptchaRTError, likely: Sequence[Alternative]) -> list[str]:
        """The lines for a picture, without its name: the likely texts, or the answer."""
        if likely:
            return [f"{alternative.text}\t{alternative.probability:.4f}" for alternative in likely]
        if isinstance(answer, Solution):
            return [str(answer.value) if self.sums else answer.text]
        return [] if self.alone else [""]


@dataclass(frozen=True, slots=True)
class Read:
    """Reads pictures, and makes what is printed of them.

    Attributes:
        solver: The solver; a process that gets a copy loads the models itself.
        options: The arguments of `solve_many`.
        printer: What makes the lines.
    """

    solver: Solver
    options: Mapping[str, Any]
    printer: Printer

    def __call__(self, sources: Sequence[Source]) -> list[Printed]:
        """What is printed of each picture."""
        merges = self.solver.manifest.recipe.merge is not None
        printer = replace(self.printer, merges=merges)
        images = (Path(name) if image is None else image for name, image in sources)
        answers = self.solver.solve_many(images, **self.options)
        return [printer(name, answer) for (name, _), answer in zip(sources, answers, strict=True)]

    def lost(self, source: Source, error: CaptchaRTError) -> Printed:
        """What is printed of a picture that ends the processes that read it."""
        return self.printer(source[0], error)


def frames_note(name: str, answer: Solution) -> str:
    """What is said of a picture of several frames, whose model reads one."""
    return f"{name}: read the first of {answer.frames} frames"


def _exit_code(answer: Solution | CaptchaRTError) -> int:
    """The exit code that one answer asks for."""
    if isinstance(answer, LowConfidenceError):
        return LOW_CONFIDENCE
    return SOME_FAILED if isinstance(answer, CaptchaRTError) else OK
