"""Threads, forks and killed workers: every answer is right, nothing hangs, memory stays flat."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from captcha_rt import Solution, Solver

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forks")
SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.png"))
PICTURES = [path.read_bytes() for path in SAMPLES]
SECONDS = 20  # longer than any child works


def test_children_of_a_solver_that_is_at_work(budget, figures) -> None:
    """Threads solve while children are forked that solve, load and end: all answers are equal."""
    figures.update(answers=0, children=0)
    solvers = {threads: Solver(threads=threads) for threads in (1, 2, 4)}
    expected = [solvers[1].solve(picture) for picture in PICTURES]
    wrong: list[Solution] = []
    going = True

    def work(solver: Solver) -> None:
        while going:
            for picture, answer in zip(PICTURES, expected, strict=True):
                found = solver.solve(picture)
                figures["answers"] += 1
                if found != answer:
                    wrong.append(found)

    threads = [threading.Thread(target=work, args=(solver,)) for solver in solvers.values()]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # otherwise a fork waits long for its turn
    for thread in threads:
        thread.start()
    memory: list[int] = []
    try:
        for rng in budget:
            pid = os.fork()
            if not pid:
                going = False
                os._exit(_solve_in_child(solvers[int(rng.choice([1, 2, 4]))], expected, rng))
            assert _wait(pid) == 0
            figures["children"] += 1
            memory.append(_resident())
    finally:
        going = False
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert wrong == []
    figures["memory grew, MB"] = _growth(memory)
    assert figures["memory grew, MB"] < 30


def _solve_in_child(solver: Solver, expected: list[Solution], rng) -> int:
    """Solves a picture or two, with the solver of the parent or another; the exit code."""
    signal.alarm(SECONDS)
    for i in rng.integers(len(PICTURES), size=int(rng.integers(3))):
        used = Solver(threads=2) if rng.random() < 0.2 else solver
        if used.solve(PICTURES[i]) != expected[i]:
            return 9
    return 0


def test_a_pool_whose_workers_are_killed(budget, figures) -> None:
    """A worker that is killed breaks its pool at once and not silently; the next pool reads on."""
    figures.update(pools=0, kills=0, answers=0)
    solver = Solver()
    expected = [solver.solve(picture) for picture in PICTURES]
    for rng in budget:
        method = str(rng.choice(["fork", "forkserver", "spawn"], p=[0.8, 0.1, 0.1]))
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, context) as pool:
            figures["pools"] += 1
            futures = [pool.submit(solver.solve, picture) for picture in PICTURES]
            killed = rng.random() < 0.7
            if killed:
                time.sleep(float(rng.random()) * 0.05)
                victims = [p.pid for p in pool._processes.values()]
                os.kill(int(rng.choice(victims)), signal.SIGKILL)
                figures["kills"] += 1
            for future, answer in zip(futures, expected, strict=True):
                try:
                    assert future.result(SECONDS) == answer
                    figures["answers"] += 1
                except BrokenProcessPool:
                    assert figures["kills"]
            # A worker that is killed while it waits for work keeps the lock of the queue, so that
            # Python's pool would wait for the other one for ever, whatever the two work at.
            for worker in [*(pool._processes or {}).values()] if killed else ():
                worker.kill()
        assert solver.solve(PICTURES[0]) == expected[0]


def _wait(pid: int) -> int | None:
    """The status that a child ended with; None if it hangs, and had to be killed."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _resident() -> int:
    """The memory of this process in bytes; 0 where the system doesn't tell it."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _growth(memory: list[int]) -> float:
    """The growth in MB after the first quarter, in which everything is allocated once."""
    return round((memory[-1] - memory[len(memory) // 4]) / 2**20, 1)
