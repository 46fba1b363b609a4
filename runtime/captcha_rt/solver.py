"""Reads the text in pictures: decode, prepare, run the network, read its scores."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import CaptchaRTError, ModelError, ScoresError
from captcha_rt.image import MAX_PIXELS, ImageSource, decode_image
from captcha_rt.model import load_model
from captcha_rt.session import Device, Provider, Session
from captcha_rt.solution import Character, Solution

__all__ = ["Solver"]


class Solver:
    """Reads text captchas with one model. Safe to share between threads.

    Attributes:
        manifest: The description of the model.
        session: The loaded model.
        providers: onnxruntime's active providers in order of priority.
        max_pixels: The largest number of pixels of a picture. Larger pictures are refused before
            they are decoded.
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
            model: A `.onnx` file that `captcha-rt export` wrote; None is the embedded model.
            device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works, otherwise the CPU.
            providers: onnxruntime's providers in order of priority, each with options if needed. If
                given, `device` is ignored.
            threads: The number of threads within one run of the network, in 1..1024. One thread is
                best for pictures of this size. To use more cores, call one solver from several
                threads.
            max_pixels: The largest number of pixels of a picture.

        Raises:
            ModelError: If the model can't be loaded: as ModelNotFoundError if there is no such
                file, as ManifestError if its description is missing, damaged or unknown.
            ProviderError: If the device or provider that was asked for is not active.
            InstallationError: If onnxruntime is missing, or installed twice.
            ValueError: If the device is unknown, or `threads` is out of range.
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

    def solve(self, image: ImageSource) -> Solution:
        """Reads one picture.

        Args:
            image: A path, the bytes of an image file, or an array, as `decode_image` takes it.

        Returns:
            The text, with confidences.

        Raises:
            ImageDecodeError: If the image can't be decoded.
            RecipeError: If the model's preprocessing can't use the picture.
            ScoresError: If the model returns NaN or infinite scores.
            ModelError: If the model fails.
        """
        picture = decode_image(image, max_pixels=self.max_pixels)
        tensor = self.manifest.prepare(picture)
        scores = self.session.run(self.manifest.batch(tensor[None]))
        [solution] = self._read(scores)
        return solution

    def solve_batch(
        self, images: Iterable[ImageSource | CaptchaRTError], *, batch_size: int = 8
    ) -> list[Solution | CaptchaRTError]:
        """Reads several pictures. A picture that can't be read does not affect the others.

        Args:
            images: The pictures, as `solve_many` takes them.
            batch_size: The number of pictures in one run of the network, at least 1. More than 8
                gain nothing on a CPU.

        Returns:
            For each picture, in order, the answer, or the error that `solve` would raise.

        Raises:
            ValueError: If the batch size is below 1.
        """
        return list(self.solve_many(images, batch_size=batch_size))

    def solve_many(
        self, images: Iterable[ImageSource | CaptchaRTError], *, batch_size: int = 8
    ) -> Iterator[Solution | CaptchaRTError]:
        """Reads a stream of pictures, and yields each answer as soon as its batch is read.

        At most `batch_size` pictures are taken from `images` before their answers are yielded. So
        the stream may be endless.

        Args:
            images: The pictures, each as `solve` takes it. An error in place of a picture, for
                example from a download that failed, is yielded as the answer in that place.
            batch_size: The number of pictures in one run of the network, at least 1. More than 8
                gain nothing on a CPU.

        Returns:
            An iterator: for each picture, in order, the answer, or the error that `solve` would
            raise.

        Raises:
            ValueError: If the batch size is below 1. The call itself raises this error, before any
                picture is taken.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        return self._solve_stream(images, batch_size)

    def _solve_stream(
        self, images: Iterable[ImageSource | CaptchaRTError], batch_size: int
    ) -> Iterator[Solution | CaptchaRTError]:
        """The generator behind `solve_many`, whose arguments are checked."""
        waiting: list[NDArray[np.float32] | CaptchaRTError] = []
        for image in images:
            waiting.append(self._prepare(image))
            if len(waiting) == batch_size:
                yield from self._solve_waiting(waiting)
                waiting.clear()
        yield from self._solve_waiting(waiting)

    def _prepare(self, image: ImageSource | CaptchaRTError) -> NDArray[np.float32] | CaptchaRTError:
        """Decodes and preprocesses one picture; returns the error if that fails."""
        if isinstance(image, CaptchaRTError):
            return image
        try:
            return self.manifest.prepare(decode_image(image, max_pixels=self.max_pixels))
        except CaptchaRTError as error:
            return error

    def _solve_waiting(
        self, waiting: Sequence[NDArray[np.float32] | CaptchaRTError]
    ) -> list[Solution | CaptchaRTError]:
        """Reads the tensors of one batch; errors stay in their places."""
        tensors = [tensor for tensor in waiting if isinstance(tensor, np.ndarray)]
        answers = iter(self._solve_tensors(tensors) if tensors else ())
        return [next(answers) if isinstance(tensor, np.ndarray) else tensor for tensor in waiting]

    def _solve_tensors(self, tensors: list[NDArray[np.float32]]) -> list[Solution | CaptchaRTError]:
        """Reads one batch. If the batch fails, its pictures are tried one by one."""
        try:
            scores = self.session.run(self.manifest.batch(np.stack(tensors)))
            return [*self._read(scores)]
        except (ModelError, ScoresError) as error:
            if len(tensors) == 1:
                return [error]
            return [answer for tensor in tensors for answer in self._solve_tensors([tensor])]

    def _read(self, scores: NDArray[np.float32]) -> list[Solution]:
        """Reads the scores of one batch."""
        return [
            Solution(
                text,
                decoded.confidence,
                tuple(map(Character, text, decoded.confidences)),
                self.manifest.name,
            )
            for text, decoded in self.manifest.decode(scores)
        ]
