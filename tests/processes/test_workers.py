"""Pictures read by several processes: right, in order, once, whoever dies."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deadly
import pytest

from captcha_rt import CaptchaRTError, ImageDecodeError, Solver, WorkerError
from captcha_rt.errors import LabelError
from captcha_rt.workers import answer

TEXT = "-aa--bb--cc-----"
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the children")


def answers(work: Callable, items, *, workers: int = 2, patient: bool = False) -> list:
    """All answers, with -1 for an item that ended two processes."""
    lists = answer(
        work, items, workers=workers, chunk=4, patient=patient, lost=lambda _item, _error: -1
    )
    return [value for values in lists for value in values]


def children(pid: int, what: str = "spawn_main") -> list[int]:
    """The processes that a process has spawned."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
    except OSError:  # one has just ended
        return []
    return [child for child, line in lines.items() if what in line]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def ended(pids: list[int]) -> None:
    """Waits until processes have ended."""
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)


@pytest.fixture
def many(tmp_path: Path, stripes_png) -> Path:
    """A folder of 3,000 pictures; each hundredth is none."""
    folder = tmp_path / "many"
    folder.mkdir()
    for name, data in (("good", stripes_png(TEXT)), ("bad", b"no picture")):
        (tmp_path / name).write_bytes(data)
    for number in range(3000):
        kind = "good" if number % 100 else "bad"
        (folder / f"{number:04}.png").hardlink_to(tmp_path / kind)
    return folder


def test_processes_answer_as_one_does(stripes: Path, stripes_png, stripes_array, many) -> None:
    """Answers, alternatives and errors are equal and in order, whatever the pictures are."""
    solver = Solver(stripes, device="cpu")
    kinds = [
        *(stripes_png(TEXT), stripes_array("c-a-b-----------"), b"no picture", "no-such.png"),
        *(many / "0001.png", str(many / "0000.png"), ImageDecodeError("not downloaded"), 5),
    ]
    images = kinds * 20  # three chunks
    for options in ({}, {"length": 3, "allowed": "abc", "alternatives": 2}):
        one = [*solver.solve_many(images, **options)]
        two = [*solver.solve_many(images, workers=2, **options)]
        assert [repr(found) for found in two] == [repr(found) for found in one]
    assert [*solver.solve_many([], workers=2)] == []


class DownloadError(CaptchaRTError):
    """An error that can't be read from a pickle, since that calls it with the message alone."""

    def __init__(self, url: str, status: int) -> None:
        """Takes what the message needs."""
        super().__init__(f"{url}: {status}")


def test_errors_of_the_caller_come_back_themselves(stripes: Path, stripes_png) -> None:
    """An error in place of a picture is yielded as it is, of whatever kind."""
    errors = [DownloadError("x", 404), LabelError("none")]
    images = [stripes_png(TEXT), errors[0], b"no picture", *errors] * 30
    found = [*Solver(stripes).solve_many(images, workers=2)]
    assert len(found) == len(images)
    for image, answered in zip(images, found, strict=True):
        assert not isinstance(image, CaptchaRTError) or answered is image


def test_a_wrong_number_is_refused_before_anything_starts(stripes: Path) -> None:
    """The call itself raises the error."""
    for workers in (0, -1, 5000, 1.5, "many"):
        with pytest.raises(ValueError, match="workers is"):
            Solver(stripes).solve_many([], workers=workers)  # type: ignore[arg-type]


def test_an_item_that_ends_two_processes_costs_no_other() -> None:
    """The deadly items are lost, all others are answered, in order."""
    items = [13 if number in (0, 70, 71, 255) else 100 + number for number in range(256)]
    expected = [-1 if item == 13 else 2 * item for item in items]
    assert answers(deadly.double, items) == expected


def test_an_error_of_the_work_is_raised_with_its_traceback() -> None:
    """A fault in the code isn't taken for a picture's."""
    with pytest.raises(ZeroDivisionError, match="seven") as raised:
        answers(deadly.double, [1, 7])
    assert "deadly.py" in raised.value.__notes__[0]


def test_processes_that_can_not_work_end_it() -> None:
    """Processes that die at the start, or always, are an error, and not tried for ever."""
    with pytest.raises(WorkerError, match="ended with exit code 3") as raised:
        answers(deadly.NeverThere(), [1])
    assert "__main__" in raised.value.__notes__[0]
    with pytest.raises(WorkerError, match="ended with exit code 5"):
        answers(deadly.die, range(200))


def test_the_model_that_has_gone_is_named(stripes: Path, tmp_path: Path) -> None:
    """A process that can't load the model says why."""
    model = tmp_path / "model.onnx"
    model.write_bytes(stripes.read_bytes())
    solver = Solver(model)
    model.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.onnx"):
        [*solver.solve_many([b""], workers=2)]


def test_few_items_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patient work stays in this process for a second, and leaves it for another second's work."""
    assert {*answers(deadly.slow, range(20), patient=True)} == {os.getpid()}
    monkeypatch.setattr("captcha_rt.workers._ALONE_SECONDS", 0.05)
    found = answers(deadly.slow, range(400), patient=True)
    assert found[0] == os.getpid()
    assert len({*found}) == 3
    assert found == sorted(found, key=lambda pid: pid != os.getpid())


@linux
def test_an_endless_stream_is_answered_as_it_comes(stripes: Path, stripes_png) -> None:
    """Some pictures are taken ahead, not all; closing the iterator ends the processes."""
    taken = itertools.count()
    before = children(os.getpid())
    stream = (stripes_png(TEXT) for _ in taken)
    found = Solver(stripes).solve_many(stream, workers=2)
    assert [next(found).text for _ in range(300)] == ["abc"] * 300
    assert next(taken) < 300 + 2 * 4 * 64 + 64
    assert len(children(os.getpid())) == len(before) + 2
    found.close()
    assert children(os.getpid()) == before


@linux
def test_killed_processes_lose_and_repeat_nothing(command, stripes: Path, many: Path) -> None:
    """The output is that of one process, though both are killed, twice."""
    one = command("solve", many, "-m", stripes, "--workers", "1", "--jsonl")
    program = [sys.executable, "-m", "captcha_rt", "solve", many, "-m", stripes, "--jsonl"]
    with subprocess.Popen(
        [*program, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        limit = threading.Timer(120, process.kill)
        limit.start()
        printed = process.stdout.readline()  # the pipe holds a part, so that it isn't done soon
        for _ in range(2):
            until(lambda: len(children(process.pid)) == 2)
            for pid in children(process.pid):
                os.kill(pid, signal.SIGKILL)
            # More than the pipe and all chunks hold: what they died at is answered by then.
            printed += "".join(itertools.islice(process.stdout, 1000))
        printed += process.stdout.read()
        stderr = process.stderr.read()
        limit.cancel()
    assert printed == one.stdout
    assert (stderr, process.returncode) == (one.stderr, one.returncode)


@linux
def test_too_many_processes_are_said_in_a_line(stripes: Path, many: Path) -> None:
    """Where the system allows no more of them, it isn't the output's fault."""
    program = [sys.executable, "-m", "captcha_rt", "solve", many, "-m", stripes, "--workers", "60"]
    shell = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *map(str, program)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "can't start another process: Too many open files" in done.stderr.splitlines()[-1]


@linux
def test_ctrl_c_keeps_what_was_answered(stripes: Path, many: Path) -> None:
    """A terminal interrupts all processes: one ends with code 130, the others without a word."""
    program = [sys.executable, "-m", "captcha_rt", "solve", many, many, many, "-m", stripes]
    for moment in (0.02, 0.1, 0.2, 0.8):  # while processes start, and while they read
        with subprocess.Popen(
            [*program, "--workers", "2", "-q"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            until(lambda: children(process.pid))
            time.sleep(moment)
            left = children(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        lines = stdout.splitlines()
        assert [Path(line.split("\t")[0]).stem for line in lines] == [
            f"{number % 3000:04}" for number in range(len(lines))
        ]
        assert stdout == "" or stdout.endswith("\n")
        assert "Traceback" not in stderr
        assert process.returncode == 130
        ended(left)


@linux
def test_processes_end_with_the_one_that_started_them(stripes: Path, many: Path) -> None:
    """None is left where the first process is killed."""
    program = [sys.executable, "-m", "captcha_rt", "solve", *[many] * 9, "-m", stripes, "-q"]
    with subprocess.Popen([*program, "--workers", "2"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        left = children(process.pid)
        time.sleep(1)  # nobody reads, so they have done what they got
        process.kill()
        assert len(left) == 2
        ended(left)


class Paused:
    """Items, of which the last ones come when they may."""

    def __init__(self, *items: object, end: BaseException | None = None) -> None:
        """Two items come at once."""
        self.items, self.end, self.go = items, end, threading.Event()

    def __iter__(self) -> Iterator[object]:
        """Stops after two items for at most half a minute."""
        yield from self.items[:2]
        assert self.go.wait(30)
        yield from self.items[2:]
        if self.end is not None:
            raise self.end


@pytest.mark.parametrize(("workers", "patient"), [(1, False), (2, True), (2, False)])
def test_answers_do_not_wait_for_a_source_that_pauses(workers: int, patient: bool) -> None:
    """What has come is answered meanwhile; an error of the source comes after all answers."""
    source = Paused(1, 2, 3, end=OSError("the source"))
    found = answer(
        deadly.double, source, workers=workers, chunk=4, patient=patient, lost=lambda *_: -1
    )
    first = []
    while len(first) < 2:
        first += next(found)
    assert (first, source.go.is_set()) == ([2, 4], False)
    source.go.set()
    assert next(found) == [6]
    with pytest.raises(OSError, match="the source"):
        next(found)


def test_an_iterator_is_closed_while_its_source_pauses() -> None:
    """Closing doesn't wait for the source, and later takes nothing more of it."""
    source = Paused(*range(10))
    found = answer(deadly.double, source, workers=1, chunk=4, patient=False, lost=lambda *_: -1)
    assert next(found) == [0, 2]
    started = time.monotonic()
    found.close()
    assert time.monotonic() - started < 10
    source.go.set()
    until(lambda: all(thread.name != "feed" for thread in threading.enumerate()), 10)


def test_pictures_that_can_not_be_sent_cost_no_other(stripes: Path, stripes_png, many) -> None:
    """Of pictures that can't be pickled, views and entries are read; others are errors."""
    solver = Solver(stripes)
    good = stripes_png(TEXT)
    with os.scandir(many) as entries:
        entry = next(entry for entry in entries if entry.name == "0001.png")
    odd = [memoryview(good), entry, lambda: good, deadly.Unreadable()]
    found = [*solver.solve_many([good, *odd, good] * 30, workers=2)]
    assert len(found) == 180
    for place, answered in enumerate(found):
        if place % 6 in (3, 4):
            assert isinstance(answered, WorkerError)
            assert "can't be sent to another process" in str(answered)
        else:
            assert answered.text == "abc"


@linux
def test_a_list_from_a_slow_program_is_read_as_it_comes(stripes: Path, many: Path) -> None:
    """Each line is answered before the next one is there; Ctrl-C ends the wait."""
    program = [sys.executable, "-m", "captcha_rt", "solve", "--files-from", "-", "-m", stripes]
    for workers in ("1", "2"):
        with subprocess.Popen(
            [*program, "--workers", workers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            limit = threading.Timer(60, process.kill)
            limit.start()
            for name in ("0001.png", "0002.png"):
                process.stdin.write(f"{many / name}\n")
                process.stdin.flush()
                assert process.stdout.readline() == f"{many / name}\tabc\n"
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
            assert process.stderr.read() == ""
            limit.cancel()
