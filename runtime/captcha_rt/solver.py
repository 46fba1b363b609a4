"""From pictures to texts: one step a line."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import CaptchaRTError, ModelError, RecipeError, ScoresError
from captcha_rt.image import MAX_PIXELS, ImageSource, decode_image
from captcha_rt.model import load_model
from captcha_rt.session import Device, Provider, Session


@dataclass(frozen=True, slots=True)
class Character:
    """One character of an answer.

    Attributes:
        text: The character.
        confidence: How sure the model is of it, in 0..1; its decoder defines it.
    """

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Solution:
    """What a picture says.

    Attributes:
        text: Its text; may be empty.
        confidence: How sure the model is of the whole text, in 0..1; its decoder defines it.
        characters: Its characters, in order.
        model: The name of the model that read it.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    model: str


class Solver:
    """Reads text captchas with one model. Safe to share between threads.

    Attributes:
        manifest: What the model is.
        session: The model, loaded.
        providers: onnxruntime's active providers, the first first.
        max_pixels: Pictures with more pixels are refused before they are decoded.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: Device = "auto",
        providers: Sequence[Provider] | None = None,
        threads: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Loads a model.

        Args:
            model: A `.onnx` file that `captcha-rt export` wrote; None takes the embedded one.
            device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works, else the CPU.
            providers: onnxruntime's providers, with options if need be, instead of a device.
            threads: Threads within one picture or batch. One is best for pictures of this
                size; to use more cores, call one solver from more threads.
            max_pixels: Pictures with more pixels are refused before they are decoded.

        Raises:
            ModelError: If the model can't be loaded; its subclasses say why.
            ProviderError: If the device or provider asked for is not active.
            InstallationError: If there is no onnxruntime, or two of them.
            ValueError: If there is no such device, or a number is out of range.
        """
        loaded = load_model(model)
        self.manifest = loaded.manifest
        try:
            self.session = Session(
                loaded.data, loaded.manifest, device=device, providers=providers, threads=threads
            )
        except ModelError as error:
            raise type(error)(f"{loaded.path}: {error}") from error
        self.providers = self.session.providers
        self.max_pixels = max_pixels
        self._tensor_shape = self.manifest.tensor_shape

    def solve(self, image: ImageSource) -> Solution:
        """Reads one picture.

        Args:
            image: A path, the bytes of an image file, or an array as `decode_image` takes it.

        Returns:
            Its text, with confidences.

        Raises:
            ImageDecodeError: If it is no picture that can be decoded.
            RecipeError: If the model's preprocessing can't use it.
            ScoresError: If the model answers with NaN or infinite scores.
            ModelError: If the model fails.
        """
        tensor = self._prepare(image)
        scores = self.session.run(self.manifest.batch(tensor[None]))
        [solution] = self._read(scores)
        return solution

    def solve_batch(
        self, images: Iterable[ImageSource], *, batch_size: int = 8
    ) -> list[Solution | CaptchaRTError]:
        """Reads several pictures; a bad one costs the others nothing.

        Args:
            images: The pictures, each as `solve` takes it.
            batch_size: So many go through the network at once; above 8 gains nothing on a CPU.

        Returns:
            For each picture, in order, its answer, or the error that `solve` would raise.

        Raises:
            ValueError: If the batch size is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        answers: list[Solution | CaptchaRTError | None] = []
        waiting: dict[int, NDArray[np.float32]] = {}

        def read_waiting() -> None:
            for index, answer in zip(
                waiting, self._solve_tensors([*waiting.values()]), strict=True
            ):
                answers[index] = answer
            waiting.clear()

        for index, image in enumerate(images):
            answers.append(None)
            try:
                waiting[index] = self._prepare(image)
            except CaptchaRTError as error:
                answers[index] = error
            if len(waiting) == batch_size:
                read_waiting()
        if waiting:
            read_waiting()
        return [answer for answer in answers if answer is not None]

    def _prepare(self, image: ImageSource) -> NDArray[np.float32]:
        """Decodes and preprocesses one picture."""
        picture = decode_image(image, max_pixels=self.max_pixels)
        tensor = self.manifest.recipe.apply(picture)
        if tensor.shape != self._tensor_shape:
            raise RecipeError(
                f"a picture of shape {picture.shape} becomes {tensor.shape}, "
                f"the model takes {self._tensor_shape}"
            )
        return tensor

    def _solve_tensors(self, tensors: list[NDArray[np.float32]]) -> list[Solution | CaptchaRTError]:
        """Reads one batch; what fails as a batch is tried one by one."""
        try:
            scores = self.session.run(self.manifest.batch(np.stack(tensors)))
            return [*self._read(scores)]
        except (ModelError, ScoresError) as error:
            if len(tensors) == 1:
                return [error]
            return [answer for tensor in tensors for answer in self._solve_tensors([tensor])]

    def _read(self, scores: NDArray[np.float32]) -> list[Solution]:
        """What the scores of one batch say."""
        return [
            Solution(
                text,
                decoded.confidence,
                tuple(map(Character, text, decoded.confidences)),
                self.manifest.name,
            )
            for text, decoded in self.manifest.decode(scores)
        ]
