"""A solver in several processes: how many there are, and what comes back from them."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from captcha_rt.cores import available_cores
from captcha_rt.device import CPU
from captcha_rt.errors import CaptchaRTError
from captcha_rt.solution import Alternative, Character, Solution
from captcha_rt.workers import MAX_WORKERS, answer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from captcha_rt.image import ImageSource
    from captcha_rt.solver import Solver

Workers: TypeAlias = int | Literal["auto"]
"""The number of processes that read; `"auto"` is one for few pictures, then one for each core."""


def count_workers(solver: Solver, workers: Workers) -> int:
    """The number of processes that read with a solver.

    Args:
        solver: The solver. On CUDA one process is best: several would each take memory there.
        workers: What was asked for.

    Raises:
        ValueError: If the number is out of range.
    """
    if workers == "auto":
        if solver.providers[0] != CPU:
            return 1
        return max(1, available_cores() // solver.threads)
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers is {workers!r}; it is 'auto', or 1 to {MAX_WORKERS}")
    return workers


def solve_in_processes(
    solver: Solver,
    images: Iterable[ImageSource | CaptchaRTError],
    workers: Workers,
    *,
    batch_size: int,
    **known: Any,  # noqa: ANN401  (the other arguments of solve_many)
) -> Iterator[Solution | CaptchaRTError]:
    """Reads a stream of pictures as `Solver.solve_many` does; so are the arguments and errors."""
    count = count_workers(solver, workers)
    kept: dict[int, CaptchaRTError] = {}
    lists = answer(
        _Read(solver, {**known, "batch_size": batch_size}),
        _to_send(images, kept),
        workers=count,
        chunk=batch_size,
        patient=workers == "auto",
        lost=lambda _, error: error,
    )
    return _unpacked(lists, kept)


class _KeptError(CaptchaRTError):
    """Stands for an error of the caller's own, which may be of a kind that can't be pickled."""


def _to_send(
    images: Iterable[ImageSource | CaptchaRTError], kept: dict[int, CaptchaRTError]
) -> Iterator[ImageSource | CaptchaRTError]:
    """The pictures, in a form that can be pickled.

    An error in place of one stays here, under the number that is sent for it.
    """
    for number, image in enumerate(images):
        if isinstance(image, CaptchaRTError):
            kept[number] = image
            yield _KeptError(number)
        elif isinstance(image, memoryview):
            yield bytes(image)
        elif isinstance(image, os.DirEntry):
            yield Path(image)
        else:
            yield image


def _unpacked(
    lists: Generator[list[Any], None, None], kept: dict[int, CaptchaRTError]
) -> Iterator[Solution | CaptchaRTError]:
    with closing(lists):
        for answers in lists:
            for found in map(_unpack, answers):
                yield kept.pop(found.args[0]) if isinstance(found, _KeptError) else found


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads pictures in a process. Pickled, a solver names its model; read, it loads that."""

    solver: Solver
    options: Mapping[str, Any]

    def __call__(self, images: list[Any]) -> list[Any]:
        return [_pack(answer) for answer in self.solver.solve_many(images, **self.options)]


def _pack(answer: Solution | CaptchaRTError) -> Any:  # noqa: ANN401  (a tuple, or an error)
    """Makes a tuple of an answer: pickled as it is, a Solution takes ten times as long."""
    if isinstance(answer, CaptchaRTError):
        return answer
    likely = answer.alternatives
    return (
        answer.text,
        answer.confidence,
        [(c.text, c.confidence) for c in answer.characters],
        answer.model,
        answer.min_confidence,
        None if likely is None else [(a.text, a.probability) for a in likely],
        answer.value,
        answer.frames,
    )


def _unpack(packed: Any) -> Solution | CaptchaRTError:  # noqa: ANN401
    if isinstance(packed, CaptchaRTError):
        return packed
    text, confidence, characters, model, limit, likely, *rest = packed
    return Solution(
        text,
        confidence,
        tuple(Character(*character) for character in characters),
        model,
        limit,
        None if likely is None else tuple(Alternative(*alternative) for alternative in likely),
        *rest,
    )
