"""One model at work: prepare a picture, run the network, read its scores."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.constrained import Constraints
from captcha_rt.device import Device
from captcha_rt.errors import CaptchaRTError, ModelError, RecipeError, ScoresError
from captcha_rt.image import Fits
from captcha_rt.model import Model
from captcha_rt.session import Provider, Session
from captcha_rt.solution import Alternative, Character, Solution
from captcha_rt.sums import value_of

_MEASURED: Final = 64
"""The most pictures in a run with which CPU and CUDA are compared: of more, CUDA gains more."""


class Reader:
    """Reads decoded pictures with one model. Safe to share between threads.

    Attributes:
        manifest: The description of the model.
        session: The loaded model.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: Device,
        providers: Sequence[Provider] | None,
        threads: int,
        batch_size: int,
        pictures: int | None,
        may_wait: bool = False,
    ) -> None:
        """Loads a model; arguments and errors are those of `Solver`, `may_wait` of `Session`."""
        self.manifest = model.manifest
        total = math.inf if pictures is None else pictures
        measured = int(max(1, min(batch_size, _MEASURED, total)))
        # Without a step that resizes, a tensor's shape depends on the picture's size.
        self._needs_a_size = None in (model.manifest.recipe.fixed_shape() or ())
        try:
            self.session = Session(
                model.data,
                model.manifest,
                device=device,
                providers=providers,
                threads=threads,
                rows=measured * (model.manifest.glyphs or 1),
                runs=total / measured,
                may_wait=may_wait,
            )
        except ModelError as error:
            raise type(error)(f"{model.path}: {error}") from error
        self._path = model.path

    def load(self) -> None:
        """Loads the model, if it has waited.

        Raises:
            ModelError: If onnxruntime can't load it.
        """
        try:
            self.session.load()
        except ModelError as error:
            raise type(error)(f"{self._path}: {error}") from error

    @property
    def fits(self) -> Fits | None:
        """Refuses a picture whose size is of no use; None if the recipe resizes all pictures."""
        return self._check_size if self._needs_a_size else None

    def _check_size(self, height: int, width: int) -> None:
        made = self.manifest.recipe.fixed_shape((height, width, None))
        taken = self.manifest.tensor_shape
        if made is not None and any(a not in (None, b) for a, b in zip(made, taken, strict=True)):
            raise RecipeError(
                f"a picture of {width} x {height} pixels becomes {made}, the model takes {taken}"
            )

    def read(self, picture: NDArray[np.uint8]) -> Solution:
        """Reads one picture of which nothing is known.

        Args:
            picture: A decoded picture, `(H, W, C)` uint8.

        Raises:
            RecipeError: If the recipe can't use the picture.
            ScoresError: If the model returns NaN or infinite scores.
            ModelError: If the model fails.
        """
        tensor = self.manifest.prepare(picture)
        scores = self.session.run(self.manifest.batch(tensor[None]))
        [solution] = self.decode(scores)
        return solution

    def read_batch(
        self, pictures: Iterable[NDArray[np.uint8]], constraints: Constraints | None = None
    ) -> list[Solution | CaptchaRTError]:
        """Reads pictures in one run of the network; errors stand in their places."""
        tensors: list[NDArray[np.float32] | CaptchaRTError] = []
        for picture in pictures:
            try:
                tensors.append(self.manifest.prepare(picture))
            except CaptchaRTError as error:
                tensors.append(error)
        usable = [tensor for tensor in tensors if isinstance(tensor, np.ndarray)]
        answers = iter(self._read_tensors(usable, constraints) if usable else ())
        return [next(answers) if isinstance(tensor, np.ndarray) else tensor for tensor in tensors]

    def _read_tensors(
        self, tensors: list[NDArray[np.float32]], constraints: Constraints | None
    ) -> list[Solution | CaptchaRTError]:
        """Reads one batch. If the batch fails, its pictures are tried one by one."""
        try:
            scores = self.session.run(self.manifest.batch(np.stack(tensors)))
            return [*self.decode(scores, constraints)]
        except (ModelError, ScoresError, MemoryError) as error:
            if len(tensors) == 1:
                short = ModelError("not enough memory to read the picture")
                return [short if isinstance(error, MemoryError) else error]
            each = (self._read_tensors([tensor], constraints) for tensor in tensors)
            return [answer for answers in each for answer in answers]

    def decode(
        self, scores: NDArray[np.float32], constraints: Constraints | None = None
    ) -> list[Solution]:
        """Makes answers of the network's scores for several pictures.

        Args:
            scores: The graph's output.
            constraints: What is known of the texts.

        Raises:
            ScoresError: If a score is NaN or infinite.
        """
        manifest = self.manifest
        named = constraints is not None and constraints.alternatives
        return [
            Solution(
                text,
                decoded.confidence,
                tuple(map(Character, text, decoded.confidences)),
                manifest.name,
                manifest.min_confidence,
                self._name(decoded.alternatives) if named else None,
                value_of(text) if manifest.arithmetic else None,
            )
            for text, decoded in manifest.decode(scores, constraints)
        ]

    def _name(
        self, alternatives: Sequence[tuple[tuple[int, ...], float]]
    ) -> tuple[Alternative, ...]:
        """The likeliest texts, from their class ids."""
        decode = self.manifest.charset.decode
        return tuple(Alternative(decode(ids), probability) for ids, probability in alternatives)
