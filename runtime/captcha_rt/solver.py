"""Reads the text in pictures: decode the file, let one model after the other try."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.constrained import Constraints
from captcha_rt.errors import CaptchaRTError, CharsetError
from captcha_rt.image import MAX_PIXELS, ImageSource, decode_image
from captcha_rt.manifest import Manifest
from captcha_rt.model import EMBEDDED, GENERAL, load_model
from captcha_rt.reader import Reader
from captcha_rt.session import Device, Provider, Session
from captcha_rt.solution import Solution

__all__ = ["Solver"]

_SHORTEST: Final = 3  # characters of a text, for the embedded models: fewer are stray ones


class Solver:
    """Reads text captchas. Safe to share between threads.

    Without a model of the user's, it has two: a small one reads a picture first, in a fraction of
    the time. Where that one is not sure, a general one reads the picture too.

    Attributes:
        readers: The models in the order in which they read, at least one.
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
        """Loads a model, or both embedded ones.

        Args:
            model: A `.onnx` file that `captcha-rt export` wrote; None takes the embedded models.
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
        files = (EMBEDDED, GENERAL) if model is None else (model,)
        self.readers = tuple(
            Reader(load_model(file), device=device, providers=providers, threads=threads)
            for file in files
        )
        self.max_pixels = max_pixels

    @property
    def manifest(self) -> Manifest:
        """The description of the model that reads first."""
        return self.readers[0].manifest

    @property
    def session(self) -> Session:
        """The loaded model that reads first."""
        return self.readers[0].session

    @property
    def providers(self) -> tuple[str, ...]:
        """The active providers of onnxruntime in order of priority."""
        return self.session.providers

    @property
    def name(self) -> str:
        """The names of the models in the order in which they read, such as `compact, general`."""
        return ", ".join(reader.manifest.name for reader in self.readers)

    def solve(
        self,
        image: ImageSource,
        *,
        allowed: str | None = None,
        length: int | None = None,
        alternatives: int = 0,
    ) -> Solution:
        """Reads one picture.

        Args:
            image: A path, the bytes of an image file, or an array, as `decode_image` takes it.
            allowed: The characters that the text may hold, if known, such as `"0123456789"`.
            length: The number of characters of the text, if known.
            alternatives: The number of the likeliest texts to name in the answer.

        Returns:
            The text, with confidences.

        Raises:
            ImageDecodeError: If the image can't be decoded.
            RecipeError: If the model's preprocessing can't use the picture.
            ScoresError: If the model returns NaN or infinite scores.
            ModelError: If the model fails.
            CharsetError: If the model has none of the allowed characters.
            ValueError: If nothing is allowed, or a number is out of range.
        """
        constraints, readers = self._choose(allowed, length, alternatives)
        picture = decode_image(image, max_pixels=self.max_pixels)
        [answer] = _read_batch([picture], constraints, readers)
        if isinstance(answer, CaptchaRTError):
            raise answer
        return answer

    def solve_batch(
        self,
        images: Iterable[ImageSource | CaptchaRTError],
        *,
        batch_size: int = 8,
        allowed: str | None = None,
        length: int | None = None,
        alternatives: int = 0,
    ) -> list[Solution | CaptchaRTError]:
        """Reads several pictures. A picture that can't be read does not affect the others.

        Args:
            images: The pictures, as `solve_many` takes them.
            batch_size: The number of pictures in one run of the network, at least 1. More than 8
                gain nothing on a CPU.
            allowed: As in `solve`, for all pictures.
            length: As in `solve`, for all pictures.
            alternatives: As in `solve`.

        Returns:
            For each picture, in order, the answer, or the error that `solve` would raise.

        Raises:
            CharsetError: If the model has none of the allowed characters.
            ValueError: If the batch size is below 1, or another argument is out of range.
        """
        return list(
            self.solve_many(
                images,
                batch_size=batch_size,
                allowed=allowed,
                length=length,
                alternatives=alternatives,
            )
        )

    def solve_many(
        self,
        images: Iterable[ImageSource | CaptchaRTError],
        *,
        batch_size: int = 8,
        allowed: str | None = None,
        length: int | None = None,
        alternatives: int = 0,
    ) -> Iterator[Solution | CaptchaRTError]:
        """Reads a stream of pictures, and yields each answer as soon as its batch is read.

        At most `batch_size` pictures are taken from `images` before their answers are yielded. So
        the stream may be endless.

        Args:
            images: The pictures, each as `solve` takes it. An error in place of a picture, for
                example from a download that failed, is yielded as the answer in that place.
            batch_size: The number of pictures in one run of the network, at least 1. More than 8
                gain nothing on a CPU.
            allowed: As in `solve`, for all pictures.
            length: As in `solve`, for all pictures.
            alternatives: As in `solve`.

        Returns:
            An iterator: for each picture, in order, the answer, or the error that `solve` would
            raise.

        Raises:
            CharsetError: If the model has none of the allowed characters.
            ValueError: If the batch size is below 1, or another argument is out of range. The call
                itself raises these errors, before any picture is taken.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        constraints, readers = self._choose(allowed, length, alternatives)
        return self._solve_stream(images, batch_size, constraints, readers)

    def _choose(
        self, allowed: str | None, length: int | None, alternatives: int
    ) -> tuple[Constraints | None, Sequence[Reader]]:
        """What is known, None if it is nothing, and the readers that know an allowed character."""
        if allowed is None and length is None and not alternatives:
            return None, self.readers
        constraints = Constraints(allowed, length, alternatives)
        readers = [r for r in self.readers if constraints.allows_some(r.manifest.charset)]
        if not readers:
            charsets = " or ".join(repr(r.manifest.charset.characters) for r in self.readers)
            raise CharsetError(f"none of the allowed characters {allowed!r} is in {charsets}")
        return constraints, readers

    def _solve_stream(
        self,
        images: Iterable[ImageSource | CaptchaRTError],
        batch_size: int,
        constraints: Constraints | None,
        readers: Sequence[Reader],
    ) -> Iterator[Solution | CaptchaRTError]:
        """The generator behind `solve_many`, whose arguments are checked."""
        waiting: list[NDArray[np.uint8] | CaptchaRTError] = []
        for image in images:
            waiting.append(self._decode(image))
            if len(waiting) == batch_size:
                yield from _read_batch(waiting, constraints, readers)
                waiting.clear()
        yield from _read_batch(waiting, constraints, readers)

    def _decode(self, image: ImageSource | CaptchaRTError) -> NDArray[np.uint8] | CaptchaRTError:
        """Decodes one picture; returns the error if that fails."""
        if isinstance(image, CaptchaRTError):
            return image
        try:
            return decode_image(image, max_pixels=self.max_pixels)
        except CaptchaRTError as error:
            return error


def _read_batch(
    waiting: Sequence[NDArray[np.uint8] | CaptchaRTError],
    constraints: Constraints | None,
    readers: Sequence[Reader],
) -> list[Solution | CaptchaRTError]:
    """Reads the pictures of one batch with one reader or two; errors stay in their places."""
    pictures = [picture for picture in waiting if isinstance(picture, np.ndarray)]
    if len(readers) == 1:
        read = readers[0].read_batch(pictures, constraints)
    else:
        read = _read_with_both(pictures, constraints, *readers)
    answers = iter(read)
    return [next(answers) if isinstance(item, np.ndarray) else item for item in waiting]


def _read_with_both(
    pictures: Sequence[NDArray[np.uint8]],
    constraints: Constraints | None,
    small: Reader,
    general: Reader,
) -> list[Solution | CaptchaRTError]:
    """Reads pictures with the small model, and what that one is not sure of with the general one.

    The small model is not told what is known: to know that a letter of another kind of picture is a
    digit would make it sure of a wrong one. Its answer counts if it fits what is known.
    """
    answers = [_weigh(answer, constraints) for answer in small.read_batch(pictures)]
    left = []
    for i, answer in enumerate(answers):
        if isinstance(answer, CaptchaRTError) or not answer.accepted:
            left.append(i)
        elif constraints is not None and constraints.alternatives:
            answers[i] = small.read(pictures[i], constraints)
    if left:
        read = general.read_batch([pictures[i] for i in left], constraints)
        for i, answer in zip(left, read, strict=True):
            answers[i] = _better(answers[i], _weigh(answer, constraints))
    return answers


def _weigh(
    answer: Solution | CaptchaRTError, constraints: Constraints | None
) -> Solution | CaptchaRTError:
    """Takes the confidence from what is not as it is known to be, and from stray characters."""
    if isinstance(answer, CaptchaRTError):
        return answer
    if constraints is not None:
        if not constraints.fit(answer.text):
            return replace(answer, confidence=0.0)
        if constraints.length is not None:
            return answer
    return answer if len(answer.text) >= _SHORTEST else replace(answer, confidence=0.0)


def _better(
    small: Solution | CaptchaRTError, general: Solution | CaptchaRTError
) -> Solution | CaptchaRTError:
    """The general model's answer, unless the small one is surer of an answer that is rejected."""
    if isinstance(small, CaptchaRTError):
        return general
    if isinstance(general, CaptchaRTError):
        return small
    return general if general.accepted or general.confidence >= small.confidence else small
