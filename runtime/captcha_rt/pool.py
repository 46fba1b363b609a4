"""Answers items in several processes, in order; a process that dies costs no answer.

Python's own pools don't do: `multiprocessing.Pool` waits for ever for the answer of a process that
was killed, and `concurrent.futures` gives up all work, and may hang (Python 3.11). So this module
has the processes and their pipes itself. A process gets its next items while it is at work, so that
it needn't wait.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from captcha_rt.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from captcha_rt.workers import Lost, Work

T = TypeVar("T")
R = TypeVar("R")

CHUNK: Final = 64
"""The smallest number of items that a process gets at a time. The first process takes 5 µs of CPU
for the pipes of each picture so, and 23 with 8 at a time."""

_FILL_SECONDS: Final = 0.05  # a chunk waits no longer for items that come slowly
_DEATHS: Final = 20  # so many processes that die in a row, without an answer, are no accident


def answer_in_pool(
    work: Work[T, R], items: Iterator[T], *, workers: int, chunk: int, lost: Lost[T, R]
) -> Iterator[list[R]]:
    """Answers items in several processes; the arguments and errors are those of `answer`."""
    pool = _Pool(work, workers, lost)
    try:
        yield from pool.answer(_chunks(items, max(chunk, CHUNK)))
    finally:
        pool.end()


def _chunks(items: Iterator[T], size: int) -> Iterator[_Chunk]:
    """Items together, of which the first came at most a moment before the last."""
    for item in items:
        some = [item]
        end = time.monotonic() + _FILL_SECONDS
        while len(some) < size and time.monotonic() < end:
            more = list(islice(items, 1))
            if not more:
                break
            some += more
        yield _Chunk(some)


class _Chunk:
    """Items whose answers are yielded together."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.answers: list[Any] = [None] * len(items)
        self.left = len(items)

    def fill(self, start: int, answers: list[Any]) -> None:
        self.answers[start : start + len(answers)] = answers
        self.left -= len(answers)


@dataclass(frozen=True, slots=True)
class _Job:
    """Items of a chunk that one process answers.

    Attributes:
        chunk: The chunk.
        start: The place of the first item.
        stop: The place after the last one.
        again: Whether a process has died at it.
    """

    chunk: _Chunk
    start: int
    stop: int
    again: bool = False

    @property
    def items(self) -> list[Any]:
        return self.chunk.items[self.start : self.stop]


@dataclass(eq=False, slots=True)
class _Worker:
    """A process, this end of its pipe, and the jobs that it has: it is at work at the first."""

    process: Any
    pipe: Any
    ready: bool = False
    jobs: deque[_Job] = field(default_factory=deque)


class _Pool(Generic[T, R]):
    """The processes, the jobs that wait for one, and the chunks in the order of their answers."""

    def __init__(self, work: Work[T, R], count: int, lost: Lost[T, R]) -> None:
        self.work, self.count, self.lost = work, count, lost
        self.workers: list[_Worker] = []
        self.waiting: deque[_Job] = deque()
        self.chunks: deque[_Chunk] = deque()
        self.deaths = 0  # since the last answer
        self.began = False  # whether a process has ever started well

    def answer(self, source: Iterator[_Chunk]) -> Iterator[list[R]]:
        """Yields the answers to chunks."""
        going = True
        while True:
            if going and self._wants_more():
                chunk = next(source, None)
                if chunk is None:
                    going = False
                else:
                    self.chunks.append(chunk)
                    self.waiting.append(_Job(chunk, 0, len(chunk.items)))
            self._hand_out()
            if not self.chunks:
                if not going:
                    return
                continue
            pipes = {worker.pipe: worker for worker in self.workers}
            for pipe in wait([*pipes], 0 if going and self._wants_more() else None):
                self._listen(pipes[pipe])
            while self.chunks and not self.chunks[0].left:
                yield self.chunks.popleft().answers

    def _wants_more(self) -> bool:
        """Whether there is room for another chunk: two for each process, and some that wait.

        Those that wait are answered, but a chunk before them is not.
        """
        busy = len(self.waiting) + sum(len(worker.jobs) for worker in self.workers)
        return busy < 2 * self.count and len(self.chunks) < 4 * self.count

    def _hand_out(self) -> None:
        """Gives waiting jobs to those who have fewest, and starts a process if there is need."""
        for busy in (0, 1):
            for worker in self.workers:
                if self.waiting and worker.ready and len(worker.jobs) == busy:
                    job = self.waiting.popleft()
                    worker.jobs.append(job)
                    with suppress(OSError):  # it has died, as its pipe will say
                        worker.pipe.send(job.items)
        if self.waiting and len(self.workers) < self.count:
            self.workers.append(_start(self.work))

    def _listen(self, worker: _Worker) -> None:
        """Takes what a process says: that it is ready, answers, an error, or its death."""
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(said, Exception):
            raise said
        if said is None:
            worker.ready = self.began = True
            return
        job = worker.jobs.popleft()
        job.chunk.fill(job.start, said)
        self.deaths = 0

    def _bury(self, worker: _Worker) -> None:
        """Gives the jobs of a dead process to others: one by one the items that it died at."""
        self.workers.remove(worker)
        error = WorkerError(f"a process that was to read pictures {_end(worker)}")
        self.deaths += 1
        if not self.began or self.deaths >= _DEATHS:
            error.add_note(
                "A program that is not the command line starts processes below "
                '`if __name__ == "__main__":`'
            )
            raise error
        job = worker.jobs.popleft() if worker.jobs else None
        self.waiting.extendleft(reversed(worker.jobs))
        if job is None:
            return
        if job.again:
            [item] = job.items
            lost = WorkerError(f"two processes that read it died; the last {_end(worker)}")
            job.chunk.fill(job.start, [self.lost(item, lost)])
            return
        singles = (_Job(job.chunk, i, i + 1, again=True) for i in range(job.start, job.stop))
        self.waiting.extendleft(reversed([*singles]))

    def end(self) -> None:
        """Ends all processes at once; they hold nothing that could be lost."""
        for worker in self.workers:
            worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join()


def _start(work: Work[Any, Any]) -> _Worker:
    """Starts a process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _deaf_to_ctrl_c():
        process.start()
    theirs.close()
    ours.send(work)
    return _Worker(process, ours)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Blocks the signal, for a process that is started: a terminal sends it to all processes.

    A handler would come too late: the signal may arrive while the process loads Python.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting this unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(worker: _Worker) -> str:
    """Says how a process ended."""
    worker.pipe.close()
    worker.process.join()
    code = worker.process.exitcode
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _serve(pipe: Connection[Any, Any]) -> None:
    """Runs in a process: answers what comes through the pipe, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("captcha_rt").setLevel(logging.ERROR)  # the first process has said it
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    jobs: SimpleQueue[Any] = SimpleQueue()
    try:
        work = pipe.recv()
        pipe.send(None)
        threading.Thread(target=_receive, args=(pipe, jobs), daemon=True).start()
        while True:
            job = jobs.get()
            if isinstance(job, Exception):
                raise job
            pipe.send(work(job))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # noqa: BLE001  (the first process raises it)
        with suppress(OSError):
            pipe.send(_portable(error))


def _receive(pipe: Connection[Any, Any], jobs: SimpleQueue[Any]) -> None:
    """Takes jobs from the pipe at any time, so that who sends one needn't wait."""
    while True:
        try:
            jobs.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)  # nobody waits for answers
        except Exception as error:  # noqa: BLE001  (something that can't be unpickled)
            jobs.put(error)


def _portable(error: Exception) -> Exception:
    """An error that can be sent, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:  # noqa: BLE001  (any kind)
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
