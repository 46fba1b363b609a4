"""Reads the pictures in the background, so that each has a suggestion."""

from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Thread
from unicodedata import normalize

from captcha_rt.errors import CaptchaRTError
from captcha_rt.image import decode_image
from captcha_rt.solver import Solver
from captcha_rt_train.labelling.picture import Suggestion
from captcha_rt_train.labelling.state import Labelling


class Reading:
    """A thread that reads pictures with one model after the other.

    Attributes:
        labelling: Where the suggestions go.
    """

    def __init__(self, labelling: Labelling) -> None:
        """Takes the pictures; `use` starts to read them."""
        self.labelling = labelling
        self._changed = Condition()
        self._wanted: tuple[Solver, str] | None = None
        self._solver_name = ""
        self._left: list[int] = []
        self._taken: list[int] = []  # taken by the model, but not answered yet
        self._ended = False
        self._thread = Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    @property
    def model(self) -> str:
        """The name of the model that makes the suggestions."""
        return self._solver_name

    @property
    def left(self) -> int:
        """The number of pictures that are still to be read."""
        return len(self._left) + len(self._taken)

    def use(self, model: Path | None, name: str = "", *, all_pictures: bool = True) -> None:
        """Loads a model, and reads with it from now on.

        Args:
            model: A `.onnx` file; None takes the embedded models.
            name: What to call the model; empty for its own name.
            all_pictures: Whether to read the labelled pictures, too, after the others.

        Raises:
            ModelError: If the model can't be loaded.
        """
        solver = Solver(model)
        solver.load()  # what is wrong with a model is raised here, not in the thread
        with self._changed:
            pictures = self.labelling.pictures
            first = [i for i, picture in enumerate(pictures) if picture.label is None]
            then = [i for i, picture in enumerate(pictures) if picture.label is not None]
            self._left = [*first, *(then if all_pictures else ())]
            self._wanted = solver, name or solver.name
            self._solver_name = self._wanted[1]
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends the thread after the picture that it reads."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._ended:
                    self._changed.wait()
                if self._ended or self._wanted is None:
                    return
                solver, name = self._wanted
                self._wanted = None
            self._read(solver, name)

    def _read(self, solver: Solver, name: str) -> None:
        """Reads what is left, until there is another model or the end."""

        def take() -> Iterator[Path]:
            while True:
                with self._changed:
                    if not self._left or self._wanted is not None or self._ended:
                        return
                    self._taken.append(self._left.pop(0))
                yield self.labelling[self._taken[-1]].path

        for answer in solver.solve_many(take()):
            place = self._taken[0]
            if isinstance(answer, CaptchaRTError):
                self.labelling.suggest(place, None, problem=_problem(self.labelling[place].path))
            else:
                text = normalize("NFC", answer.text)
                self.labelling.suggest(place, Suggestion(text, answer.confidence, name))
            del self._taken[0]


def _problem(path: Path) -> str:
    """Why a picture can't be shown; empty if it is only the model that can't use it."""
    try:
        decode_image(path)
    except CaptchaRTError as error:
        return str(error)
    return ""
