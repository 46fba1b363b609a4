"""Reads the text in pictures: decode the file, let one model after the other try."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from captcha_rt.cascade import read_in_turn
from captcha_rt.constrained import Constraints
from captcha_rt.device import Device
from captcha_rt.errors import CaptchaRTError, CharsetError, LengthError
from captcha_rt.image import MAX_PIXELS, ImageSource, Opened, open_image
from captcha_rt.manifest import Manifest
from captcha_rt.model import GENERAL, load_model
from captcha_rt.reader import Reader
from captcha_rt.session import Provider, Session
from captcha_rt.solution import Solution

if TYPE_CHECKING:
    from captcha_rt.parallel import Workers

__all__ = ["Solver"]

_CHANNELS: Final = 4  # at most: a picture's last axis
_IN_DOUBT: Final = 0.998
"""The smallest confidence of an answer to a picture that looks damaged: a WebP. One in ten good
pictures has less. But of 6,643 good WebPs whose answer is accepted only 41 look damaged, and none
of these has less."""

_Answer = TypeVar("_Answer", bound=Solution | CaptchaRTError)


class Solver:
    """Reads text captchas. Safe to share between threads, and on the CPU with forked processes.

    Without a model of the user's, it has two: a small one reads a picture first, in a fraction of
    the time. Where that one is not sure, a general one reads the picture too. A copy, and what is
    read from a pickle, loads the model's file anew.

    Attributes:
        readers: The models in the order in which they read: the user's, or the small and the
            general one.
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
        batch_size: int = 1,
        pictures: int | None = None,
    ) -> None:
        """Loads a model; of the embedded ones, on the CPU, the general one when it is needed.

        Args:
            model: A `.onnx` file that `captcha-rt export` wrote; None takes the embedded models.
            device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it is faster, otherwise the CPU.
            providers: onnxruntime's providers in order of priority, each with options if needed. If
                given, `device` is ignored.
            threads: The number of threads within one run of the network, in 1..1024. One thread is
                best for pictures of this size. To use more cores, call one solver from several
                threads.
            max_pixels: The largest number of pixels of a picture.
            batch_size: For `auto`, the number of pictures in one run for which to choose.
            pictures: For `auto`, the number of all pictures, if it is known: to load CUDA takes
                longer than to read a few.

        Raises:
            ModelError: If the model can't be loaded: as ModelNotFoundError if there is no such
                file, as ManifestError if its description is missing, damaged or unknown.
            ProviderError: If the device or provider that was asked for is not active.
            InstallationError: If onnxruntime is missing, or installed twice.
            ValueError: If the device is unknown, or a number is out of range.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        self.max_pixels = max_pixels
        self._settings: Any = {
            "device": device,
            "providers": providers,
            "threads": threads,
            "batch_size": batch_size,
            "pictures": pictures,
        }
        self.readers = self._load(model)
        # A pickle may be read in another working folder.
        self._model = None if model is None else os.path.abspath(model)  # noqa: PTH100

    def _load(self, model: str | os.PathLike[str] | None) -> tuple[Reader, ...]:
        first = Reader(load_model(model), **self._settings)
        readers: tuple[Reader, ...] = (first,)
        if model is None:
            left = {**self._settings, "batch_size": 1}  # how many the first one leaves is not known
            # To load it takes three times as long as the small one, which may read all pictures.
            readers = (first, Reader(load_model(GENERAL), **left, may_wait=True))
        self._plain = all(reader.manifest.recipe.takes_grey for reader in readers)
        return readers

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "readers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.readers = self._load(self._model)

    def load(self) -> None:
        """Loads the models that wait until they are needed: before a server takes its requests.

        Raises:
            ModelError: If one can't be loaded.
        """
        for reader in self.readers:
            reader.load()

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
    def threads(self) -> int:
        """The number of threads within one run of the network."""
        return int(self._settings["threads"])

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
            image: A path, the bytes of an image file, an array, a Pillow image or base64 text, as
                `decode_image` takes it.
            allowed: The characters that the text may hold, if known, such as `"0123456789"`.
            length: The number of characters of the text, if known.
            alternatives: How many of the likeliest texts to name in the answer, at most 100.

        Returns:
            The text, with confidences. If it is shorter than all texts that the model was trained
            on, the confidence is 0, unless the length is known.

        Raises:
            ImageDecodeError: If the image can't be decoded.
            RecipeError: If the model's preprocessing can't use the picture.
            ScoresError: If the model returns NaN or infinite scores.
            ModelError: If the model fails, or a model that waited can't be loaded.
            CharsetError: If the model has none of the allowed characters.
            LengthError: If the model has no room for so many characters.
            ValueError: If nothing is allowed, or a number is out of range.
            TypeError: If what is known has another type.
        """
        constraints = self._constrain(allowed, length, alternatives)
        opened = self.open(image)
        read: list[Solution | CaptchaRTError] | None = None
        if constraints is None:  # the way of most pictures, without the work of batches
            try:
                answer = self.readers[0].read(opened.pixels)
                if self.settles(answer):
                    return of_file(answer, opened)
                read = [answer]
            except CaptchaRTError as error:
                read = [error]
        [found] = read_in_turn(self.readers, [opened.pixels], constraints, read)
        if isinstance(found, CaptchaRTError):
            raise found
        return of_file(found, opened)

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
            LengthError: If the model has no room for so many characters.
            ModelError: If a model that waited can't be loaded.
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
        workers: "Workers" = 1,
        allowed: str | None = None,
        length: int | None = None,
        alternatives: int = 0,
    ) -> Iterator[Solution | CaptchaRTError]:
        """Reads a stream of pictures, and yields each answer as soon as its batch is read.

        At most `batch_size` pictures are taken from `images` before their answers are yielded. So
        the stream may be endless. With other `workers` than 1, `images` runs in a thread, so that
        answers also come while it pauses. Several processes take pictures ahead: as many as are
        read in a second or so, and at least 256 each. They are spawned: a program has to begin its
        work below `if __name__ == "__main__":`. One that dies is replaced, and its pictures are
        read again. They end with the iterator.

        Args:
            images: The pictures, each as `solve` takes it. An error in place of a picture, for
                example from a download that failed, is yielded as the answer in that place.
            batch_size: The number of pictures in one run of the network, at least 1. More than 8
                gain nothing on a CPU.
            workers: The number of processes that read, at most 1024; 1 is this process. `"auto"` is
                this process for few pictures, then one for each usable core, but for CUDA.
            allowed: As in `solve`, for all pictures.
            length: As in `solve`, for all pictures.
            alternatives: As in `solve`.

        Returns:
            An iterator: for each picture, in order, the answer, or the error that `solve` would
            raise; a WorkerError if a picture ended two processes, or can't be sent to one.

        Raises:
            CharsetError: If the model has none of the allowed characters.
            LengthError: If the model has no room for so many characters.
            TypeError: If `images` is one picture.
            ValueError: If the batch size is below 1, or another argument is out of range. The call
                itself raises these errors, before any picture is taken.
            ModelError: Later, if a model that waited can't be loaded.
            WorkerError: Later, if the processes can't be started, or die again and again.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        _refuse_one(images)
        constraints = self._constrain(allowed, length, alternatives)
        if workers == 1:
            return self._solve_stream(images, batch_size, constraints)
        from captcha_rt.parallel import solve_in_processes  # it is rarely needed

        known = {"allowed": allowed, "length": length, "alternatives": alternatives}
        return solve_in_processes(self, images, workers, batch_size=batch_size, **known)

    def settles(self, answer: Solution) -> bool:
        """Whether no other model reads a picture if the first one has given an answer.

        With a single model that is always so. The small model's answer has to be accepted.
        """
        return len(self.readers) == 1 or answer.accepted

    def _constrain(
        self, allowed: str | None, length: int | None, alternatives: int
    ) -> Constraints | None:
        """What is known of the texts; None if it is nothing."""
        if allowed is None and length is None and not alternatives:
            return None
        constraints = Constraints(allowed, length, alternatives)
        charset = self.readers[-1].manifest.charset  # the general model knows all characters
        if not constraints.allows_some(charset):
            raise CharsetError(
                f"none of the allowed characters {allowed!r} is one of the model's, "
                f"{charset.characters!r}"
            )
        longest = max(reader.manifest.longest for reader in self.readers)
        if length is not None and length > longest:
            raise LengthError(
                f"no text of {length} characters can be read: the model has room for {longest}"
            )
        return constraints

    def _solve_stream(
        self,
        images: Iterable[ImageSource | CaptchaRTError],
        batch_size: int,
        constraints: Constraints | None,
    ) -> Iterator[Solution | CaptchaRTError]:
        """The generator behind `solve_many`, whose arguments are checked."""
        waiting: list[Opened | CaptchaRTError] = []
        for image in images:
            waiting.append(self.try_to_open(image))
            if len(waiting) == batch_size:
                yield from self._read_waiting(waiting, constraints)
                waiting.clear()
        yield from self._read_waiting(waiting, constraints)

    def open(self, image: ImageSource) -> Opened:
        """Decodes a picture as this solver reads it; errors are those of `decode_image`."""
        first = self.readers[0]
        return open_image(
            image,
            max_pixels=self.max_pixels,
            merge=first.manifest.recipe.merge,
            fits=first.fits,
            plain=self._plain,
        )

    def try_to_open(self, image: ImageSource | CaptchaRTError) -> Opened | CaptchaRTError:
        """As `open`, but returns the error; an error in place of a picture is passed on."""
        if isinstance(image, CaptchaRTError):
            return image
        try:
            return self.open(image)
        except CaptchaRTError as error:
            return error

    def _read_waiting(
        self, waiting: Sequence[Opened | CaptchaRTError], constraints: Constraints | None
    ) -> list[Solution | CaptchaRTError]:
        """Reads the pictures of one batch; errors stay in their places."""
        pictures = [item.pixels for item in waiting if isinstance(item, Opened)]
        found = iter(read_in_turn(self.readers, pictures, constraints) if pictures else ())
        return [
            of_file(next(found), item) if isinstance(item, Opened) else item for item in waiting
        ]


def of_file(answer: _Answer, opened: Opened) -> _Answer:
    """An answer with the number of frames of its file, and the limit if the picture is in doubt."""
    if not isinstance(answer, Solution) or (opened.frames == 1 and not opened.doubtful):
        return answer
    limit = max(answer.min_confidence, _IN_DOUBT if opened.doubtful else 0)
    return replace(answer, frames=opened.frames, min_confidence=limit)


def _refuse_one(images: object) -> None:
    """Refuses what `solve` takes: its letters, bytes or rows would be read one by one.

    Raises:
        TypeError: If `images` is one picture, a path or a text.
    """
    shape: tuple[int, ...] = images.shape if isinstance(images, np.ndarray) else ()
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike)
    if one or len(shape) == 2 or (len(shape) == 3 and shape[2] <= _CHANNELS):
        raise TypeError(
            f"solve_many takes several pictures, as a list or Path(FOLDER).glob('*.png'), not one "
            f"{type(images).__name__}, which solve takes"
        )
