"""The queue of pictures, and the reading of them in batches.

A process reads one batch at a time, since half of the path of a picture is under Python's global
lock. It takes what is queued, at most eight pictures for one run of the network, and waits for
none: with one caller a picture is read alone, with many they come in batches by themselves. The
only request of a process is read at once, without the queue.

A batch that takes a few milliseconds is read in the thread that answers: to hand a picture to
another thread and back costs as much as to read it. A longer batch goes to a second thread, so that
others are answered meanwhile. When thousands of clients are refused because the queue is full, half
of the time is still for reading.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import perf_counter, thread_time
from typing import Any, Final, TypeAlias

from starlette.requests import Request

from captcha_rt.constrained import Constraints
from captcha_rt.errors import CaptchaRTError
from captcha_rt.image import Opened
from captcha_rt.service.connection import REQUESTS
from captcha_rt.service.metrics import Metrics
from captcha_rt.service.models import Served
from captcha_rt.service.refusal import ClientGoneError, busy
from captcha_rt.solution import Solution
from captcha_rt.solver import Solver, of_file

Answers: TypeAlias = list[Solution | CaptchaRTError]

BATCH: Final = 8
"""The most pictures in one run of the network; more gain nothing on a CPU."""

_SHORT: Final = 0.01  # seconds; a shorter batch is read in the thread that answers
_LONG: Final = 0.1  # seconds; for so long at most it is all that this thread does
_WATCHED: Final = 0.05  # seconds; who waits longer is watched, whether they leave
_PLAIN: Final = Constraints()


@dataclass(slots=True, eq=False)
class Job:
    """The pictures of one request.

    Attributes:
        places: The places in the queue that it takes.
        served: The model.
        pictures: The pictures' files, or an error in place of one.
        known: What is known of the texts.
        call: What to do in place of reading.
        gone: Whether nobody waits for it.
        begun: When it came, by `perf_counter`.
        done: Is set to the result, if it is queued.
    """

    places: int
    served: Served | None = None
    pictures: Sequence[bytes | CaptchaRTError] = ()
    known: Constraints = _PLAIN
    call: Callable[[], Any] | None = None
    gone: bool = False
    begun: float = field(default_factory=perf_counter)
    done: asyncio.Future[Any] = field(init=False)

    @property
    def endless(self) -> bool:
        """Whether nobody knows how long it takes."""
        return self.served is None or self.served.loops

    def joins(self, other: "Job") -> bool:
        """Whether two jobs can be read together."""
        return (
            self.call is None
            and other.call is None
            and self.served is other.served
            and self.known == other.known
        )


class Reading:
    """Reads the pictures of all requests of a process."""

    def __init__(self, places: int, metrics: Metrics) -> None:
        """Makes an empty queue.

        Args:
            places: The number of pictures that may wait or be read at one time.
            metrics: Where to count.
        """
        self._places = places
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._taken = 0
        self._jobs: deque[Job] = deque()
        self._active = False
        self._rested = 0.0
        self._second = ThreadPoolExecutor(1, "reading")
        self._pace = _SHORT  # seconds a picture, as far as is known

    async def read(
        self,
        request: Request,
        served: Served,
        pictures: Sequence[bytes | CaptchaRTError],
        known: Constraints | None = None,
    ) -> Answers:
        """Reads pictures.

        Args:
            request: Who asks; if they leave, their places are free again.
            served: The model.
            pictures: The pictures' files.
            known: What is known of the texts.

        Returns:
            The answer or error of each.

        Raises:
            Refusal: If the queue is full.
            ClientGoneError: If the client has left.
            CharsetError, LengthError: As from `Solver.solve`.
        """
        job = Job(len(pictures), served, pictures, known or _PLAIN)
        answers: Answers
        if not self._active and len(request.scope[REQUESTS]) == 1 and self._is_short([job]):
            [result] = self._do([job], [job.pictures])
            if isinstance(result, Exception):
                raise result
            answers = result
        else:
            answers = await self._finish(request, job)
        return answers

    async def call(self, request: Request, function: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Calls a function where pictures are read; it takes one place."""
        return await self._finish(request, Job(1, call=function))

    async def stop(self) -> None:
        """Ends the second thread; everything has been read."""
        await asyncio.to_thread(self._second.shutdown)

    async def _finish(self, request: Request, job: Job) -> Any:  # noqa: ANN401
        """Queues a job and waits for its result, unless its client leaves."""
        if self._taken + job.places > self._places:
            raise busy("too many pictures are waiting; try again in a second", "queue")
        self._taken += job.places
        self._metrics.pending.inc(job.places)
        job.done = self._loop.create_future()
        self._jobs.append(job)
        if not self._active:
            self._active = True
            self._rest()  # what else came in this round joins the batch
        try:
            if job.endless or self._taken * self._pace > _WATCHED:
                await self._watch(request, job)
            return await job.done
        finally:
            job.gone = True
            job.pictures = ()
            self._taken -= job.places
            self._metrics.pending.dec(job.places)

    async def _watch(self, request: Request, job: Job) -> None:
        """Waits for the result or for the client to leave."""
        left = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait([job.done, left], return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
        if not job.done.done():
            raise ClientGoneError

    def _is_short(self, jobs: Sequence[Job]) -> bool:
        """Whether a batch may be read in the thread that answers."""
        return not jobs[0].endless and self._pace * sum(job.places for job in jobs) <= _SHORT

    def _go_on(self) -> None:
        """Reads what is queued, for as long as others have had their turn before."""
        now = perf_counter()
        end = now + min(max(now - self._rested, _SHORT), _LONG)
        while now < end:
            jobs = self._take()
            if not jobs:
                self._active = False
                return
            # Taken here: a client that leaves meanwhile takes its pictures along.
            groups = [job.pictures for job in jobs]
            if not self._is_short(jobs):
                done = self._second.submit(self._do, jobs, groups)
                done.add_done_callback(partial(self._hand_over, jobs))
                return
            _deliver(jobs, self._do(jobs, groups))
            now = perf_counter()
        self._rest()

    def _rest(self) -> None:
        """Lets others have their turn."""
        self._rested = perf_counter()
        self._loop.call_soon(self._go_on)

    def _hand_over(self, jobs: Sequence[Job], done: Future[list[Any]]) -> None:
        """Gives results from the second thread to the one that answers."""

        def take_over() -> None:
            try:
                _deliver(jobs, done.result())
            finally:  # whatever happened, others are waiting
                self._rest()

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(take_over)

    def _take(self) -> list[Job]:
        """Takes the next job, and those after it that can be read with it."""
        jobs: list[Job] = []
        places = 0
        while self._jobs:
            job = self._jobs[0]
            if not job.gone:
                if jobs and (places + job.places > BATCH or not jobs[0].joins(job)):
                    break
                jobs.append(job)
                places += job.places
            self._jobs.popleft()
        return jobs

    def _do(
        self, jobs: Sequence[Job], groups: Sequence[Sequence[bytes | CaptchaRTError]]
    ) -> list[Any]:
        """The results of jobs with their pictures: for each its answers, or an exception."""
        started = perf_counter()
        for job in jobs:
            self._metrics.queued.observe(started - job.begun)
        [first, *_] = jobs
        try:
            if first.call is not None:
                return [first.call()]
            answers = iter(self._read(first, groups))
            return [[*islice(answers, len(group))] for group in groups]
        except Exception as error:  # noqa: BLE001  (the thread has to live)
            return [error] * len(jobs)

    def _read(self, job: Job, groups: Iterable[Sequence[bytes | CaptchaRTError]]) -> Answers:
        assert job.served is not None  # noqa: S101  (for mypy: only `call` has none)
        solver = job.served.solver
        started, used = perf_counter(), thread_time()
        opened = [solver.try_to_open(picture) for group in groups for picture in group]
        decoded = perf_counter()
        answers = _solve(solver, opened, job.known)
        ended = perf_counter()
        self._keep_pace((thread_time() - used) / len(opened))
        self._metrics.decoding.observe(decoded - started)
        self._metrics.inferring.observe(ended - decoded)
        self._metrics.batch.observe(len(opened))
        for place, item in enumerate(opened):
            answer = answers[place]
            if isinstance(item, Opened):
                answers[place] = of_file(answer, item)
        return answers

    def _keep_pace(self, seconds: float) -> None:
        """Takes a slow batch for what comes next, until there were many fast ones.

        It is the time of the processor: what other processes take is no reason for a thread more.
        """
        self._pace = max(seconds, 0.9 * self._pace + 0.1 * seconds)


def _solve(
    solver: Solver, opened: Sequence[Opened | CaptchaRTError], known: Constraints
) -> Answers:
    if len(opened) == 1 and known == _PLAIN and isinstance(opened[0], Opened):
        try:
            return [solver.solve(opened[0].pixels)]  # spares the work of batches
        except CaptchaRTError as error:
            return [error]
    return solver.solve_batch(
        [item.pixels if isinstance(item, Opened) else item for item in opened],
        batch_size=BATCH,
        allowed=known.allowed,
        length=known.length,
        alternatives=known.alternatives,
    )


def _deliver(jobs: Sequence[Job], results: Sequence[Any]) -> None:
    """Sets the results, in the thread that answers."""
    for job, result in zip(jobs, results, strict=True):
        if job.done.done():
            continue
        if isinstance(result, Exception):
            job.done.set_exception(result)
            job.done.exception()  # nobody may be there to look at it
        else:
            job.done.set_result(result)
