"""Trains a model in the background as labels grow, and lets it make the suggestions."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from captcha_rt.errors import CaptchaRTError
from captcha_rt_export.run import Run
from captcha_rt_train.labelling.opening import form_for_others
from captcha_rt_train.labelling.reading import Reading

STEPS: Final = (30, 60, 120, 250, 500, 1000)
"""The numbers of labels at which a model is trained."""

PROGRAM: Final = (sys.executable, "-m", "captcha_rt", "train")
"""The program that trains; it takes the folder and options."""

OPTIONS: Final = ("--minutes", "2", "--quiet")

_TETHER: Final = (sys.executable, "-m", "captcha_rt_train.labelling.tether")
_FEWEST: Final = 10  # fewer suggestions say little about a model
_CLEARLY: Final = 0.05  # by less a model may read worse by chance
_PART: Final = "validation"


@dataclass(frozen=True, slots=True)
class Learned:
    """What the trainings came to.

    Attributes:
        labels: The number of labels that the model in use was trained on; 0 if there is none.
        accuracy: The fraction of held-back pictures that it reads, in 0..1; None if not known.
        tried: The number of labels of the last training, which may still run.
        running: Whether it still runs.
        problem: Why its model is not in use; empty if it is.
    """

    labels: int = 0
    accuracy: float | None = None
    tried: int = 0
    running: bool = False
    problem: str = ""


def find_model(work: Path) -> tuple[Path | None, Learned]:
    """Finds the newest model of an earlier time, and deletes other runs.

    Args:
        work: The page's hidden folder.

    Returns:
        The model's file, None if there is none; and what is known of it.
    """
    runs = {_labels_of(folder): folder for folder in work.glob("run-*")}
    trained = [n for n, folder in runs.items() if (folder / "model.onnx").is_file()]
    newest = max(trained, default=0)
    for labels, folder in runs.items():
        if labels != newest:
            shutil.rmtree(folder, ignore_errors=True)
    if not newest:
        return None, Learned()
    return runs[newest] / "model.onnx", Learned(newest, _accuracy(runs[newest]), newest)


class Learning:
    """A thread that trains when there are enough labels.

    Attributes:
        learned: What the trainings came to.
    """

    def __init__(
        self,
        reading: Reading,
        work: Path,
        learned: Learned,
        *,
        program: Sequence[str] = PROGRAM,
        steps: Sequence[int] = STEPS,
    ) -> None:
        """Starts the thread.

        Args:
            reading: What reads the pictures; a trained model takes over there.
            work: The page's hidden folder, for the runs.
            learned: What an earlier time left.
            program: The program that trains; it gets the folder and options as arguments.
            steps: The numbers of labels at which to train.
        """
        self.learned = learned
        self._reading = reading
        self._labelling = reading.labelling
        self._work = work
        self._program = tuple(program)
        self._steps = tuple(steps)
        self._wake = Event()
        self._lock = Lock()
        self._ended = False
        self._child: subprocess.Popen[bytes] | None = None
        # What a model was trained on says nothing about how well it reads.
        pictures = self._labelling.pictures if learned.labels else []
        self._known = {picture.name for picture in pictures if picture.label is not None}
        self._thread = Thread(target=self._run, name="learning", daemon=True)
        self._thread.start()

    def notice(self) -> None:
        """Looks whether there are enough labels for the next training."""
        self._wake.set()

    def stop(self) -> None:
        """Ends the training that runs, and the thread."""
        with self._lock:
            self._ended = True
            if self._child is not None and self._child.stdin is not None:
                self._child.stdin.close()
        self._wake.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            labels = len(self._labelling.items())
            step = max((s for s in self._steps if s <= labels), default=0)
            unlabelled = any(picture.label is None for picture in self._labelling.pictures)
            if step > self.learned.tried and unlabelled:
                self._train(labels)
            else:
                self._wake.wait()

    def _train(self, labels: int) -> None:
        """Trains a model, and uses it unless the one in use reads better."""
        run = self._work / f"run-{labels}"
        self.learned = replace(self.learned, tried=labels, running=True, problem="")
        try:
            problem = self._run_program(run)
            if not problem:
                problem = self._use(run, labels)
        except (OSError, CaptchaRTError) as error:
            problem = str(error)
        if problem:
            shutil.rmtree(run, ignore_errors=True)
        self.learned = replace(self.learned, running=False, problem=problem)

    def _run_program(self, run: Path) -> str:
        """Runs the training; returns why it failed, or nothing."""
        opened = self._labelling.opened
        form = form_for_others(opened, self._labelling.items())
        options = (*OPTIONS, *(("--labels", form) if form else ()))
        shutil.rmtree(run, ignore_errors=True)
        line = [*_TETHER, *self._program, str(opened.folder), "-o", str(run), *options]
        with tempfile.TemporaryFile() as errors:
            with self._lock:
                if self._ended:
                    return "ended"
                self._child = subprocess.Popen(
                    line,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is for the server, which ends it in order
                )
            code = self._child.wait()
            if self._child.stdin is not None:
                with suppress(OSError):
                    self._child.stdin.close()
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()
        if code == 0 and (run / "model.onnx").is_file():
            return ""
        return said[-1].removeprefix("captcha-rt: ")[:300] if said else f"it ended with {code}"

    def _use(self, run: Path, labels: int) -> str:
        """Uses a trained model; returns why it is not used, or nothing."""
        accuracy, before = _accuracy(run), self._accuracy_so_far()
        if accuracy is not None and before is not None and accuracy < before - _CLEARLY:
            return (
                f"it reads {round(100 * accuracy)} % of the pictures held back; the suggestions so "
                f"far are right in {round(100 * before)} %, and stay"
            )
        self._reading.use(run / "model.onnx", name_of(labels), all_pictures=False)
        self.learned = Learned(labels, accuracy, labels)
        for other in self._work.glob("run-*"):
            if other != run:
                shutil.rmtree(other, ignore_errors=True)
        return ""

    def _accuracy_so_far(self) -> float | None:
        """How many suggestions of the model in use were right; None if there are few."""
        model = self._reading.model
        right = [
            picture.suggestion.text == picture.label
            for picture in self._labelling.pictures
            if picture.label and picture.suggestion and picture.suggestion.model == model
            if picture.name not in self._known
        ]
        return sum(right) / len(right) if len(right) >= _FEWEST else None


def name_of(labels: int) -> str:
    """What a model is called that was trained on so many labels."""
    return f"the model trained on {labels} labels"


def _labels_of(run: Path) -> int:
    """The number of labels of a run, from its folder's name; 0 if it has none."""
    digits = run.name.removeprefix("run-")
    return int(digits) if digits.isdecimal() and len(digits) < 10 else 0


def _accuracy(run: Path) -> float | None:
    """The fraction of held-back pictures that a run's model reads; None if not known."""
    try:
        accuracy = Run(run).manifest.accuracy
        return float(accuracy[_PART]["exact_match"])
    except (CaptchaRTError, OSError, KeyError, TypeError, ValueError):
        return None
