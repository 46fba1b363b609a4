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
import traceback
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from captcha_rt.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from captcha_rt.feed import Feed
    from captcha_rt.workers import Lost, Work

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE: Final = 0.05  # seconds; answers that are ready wait no longer for more items
_DEATHS: Final = 20  # so many processes that die in a row, without an answer, are no accident


def answer_in_pool(
    work: Work[T, R], feed: Feed[T], *, workers: int, size: int, lost: Lost[T, R]
) -> Iterator[list[R]]:
    """Answers items in several processes; the arguments and errors are those of `answer`.

    A process gets `size` items at a time.
    """
    pool = _Pool(work, workers, lost)
    try:
        yield from pool.answer(feed, size)
    finally:
        pool.end()


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


@dataclass(frozen=True, slots=True)
class _Unread:
    """What a process says of a job that it can't unpickle."""

    reason: str


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

    def answer(self, feed: Feed[T], size: int) -> Iterator[list[R]]:
        """Yields the answers to all items."""
        while True:
            while self.chunks and not self.chunks[0].left:
                yield self.chunks.popleft().answers
            if not feed.ended and self._wants_more():
                some = feed.take(size, _PATIENCE if self.chunks else None)
                if some:
                    self.chunks.append(chunk := _Chunk(some))
                    self.waiting.append(_Job(chunk, 0, len(some)))
            self._hand_out()
            if not self.chunks and feed.ended:
                return
            if not self.chunks or not self.chunks[0].left:
                continue
            pipes = {worker.pipe: worker for worker in self.workers}
            takes = not feed.ended and self._wants_more()
            for pipe in wait([*pipes], 0 if takes else None):
                self._listen(pipes[pipe])

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
                while self.waiting and worker.ready and len(worker.jobs) == busy:
                    self._give(worker, self.waiting.popleft())
        if self.waiting and len(self.workers) < self.count:
            self.workers.append(_start(self.work))

    def _give(self, worker: _Worker, job: _Job) -> None:
        """Sends a job to a process, unless one of its items can't be pickled."""
        try:
            data = ForkingPickler.dumps(job.items)
        except Exception as error:  # noqa: BLE001  (any kind: it is the item's code)
            self._refuse(job, str(error))
            return
        worker.jobs.append(job)
        with suppress(OSError):  # it has died, as its pipe will say
            worker.pipe.send_bytes(data)

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
        self.deaths = 0
        if isinstance(said, _Unread):
            self._refuse(job, said.reason)
        else:
            job.chunk.fill(job.start, said)

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
        if job is not None and not job.again:
            self._take_apart(job, again=True)
        elif job is not None:
            self._lose(job, f"two processes that read it died; the last {_end(worker)}")

    def _refuse(self, job: _Job, reason: str) -> None:
        """Finds the items of a job that can't get into another process."""
        if len(job.items) > 1:
            self._take_apart(job, again=job.again)
        else:
            self._lose(job, f"it can't be sent to another process: {reason}")

    def _take_apart(self, job: _Job, *, again: bool) -> None:
        """Lets the items of a job be answered one by one."""
        singles = (_Job(job.chunk, i, i + 1, again) for i in range(job.start, job.stop))
        self.waiting.extendleft(reversed([*singles]))

    def _lose(self, job: _Job, reason: str) -> None:
        """Answers the only item of a job without reading it."""
        [item] = job.items
        job.chunk.fill(job.start, [self.lost(item, WorkerError(reason))])

    def end(self) -> None:
        """Ends all processes at once; they hold nothing that could be lost."""
        for worker in self.workers:
            worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join()


def _start(work: Work[Any, Any]) -> _Worker:
    """Starts a process.

    Raises:
        WorkerError: If the system doesn't allow one more.
    """
    context = get_context("spawn")
    try:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _deaf_to_ctrl_c():
            process.start()
    except OSError as error:
        raise WorkerError(
            f"can't start another process: {error.strerror}; ask for fewer of them"
        ) from error
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
            pipe.send(job if isinstance(job, _Unread) else work(job))
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
        except Exception as error:  # noqa: BLE001  (any kind: it is the item's code)
            jobs.put(_Unread(str(error)))


def _portable(error: Exception) -> Exception:
    """An error that can be sent, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:  # noqa: BLE001  (any kind)
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
