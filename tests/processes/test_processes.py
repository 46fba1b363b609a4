"""A solver in several processes: forked, spawned, pickled, and behind a real server."""

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from captcha_rt import ModelNotFoundError, Solver

TEXT = "-aa--bb--cc-----"
SAMPLE = Path(__file__).parent.parent / "samples" / "dnwnb.png"
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no forks")

# Forks again and again while threads are at work, and prints how the children ended. They have ten
# seconds for their work, all together.
FORK = """
import os, sys, threading, time
from collections import Counter
from captcha_rt import Solver, decode_image

sys.setswitchinterval(0.0005)  # otherwise each fork waits long for its turn

def fork(children, work, tasks=()):
    going = True
    def repeat(task):
        while going:
            task()
    threads = [threading.Thread(target=repeat, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    left = set()
    for _ in range(children):
        pid = os.fork()
        if not pid:
            going = False
            (os._exit if tasks else sys.exit)(0 if work() else 9)
        left.add(pid)
    going = False
    for thread in threads:
        thread.join()
    ends = Counter()
    deadline = time.monotonic() + 10
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        for pid, status in [os.waitpid(pid, os.WNOHANG) for pid in left]:
            if pid:
                left.remove(pid)
                ends[status] += 1
    for pid in left:
        ends['hangs'] += 1
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    print(dict(ends))

"""


@pytest.mark.parametrize("model", ["stripes", None])
def test_a_solver_is_pickled_and_copied(model: str | None, request, stripes_array) -> None:
    """A copy reads as the original does, with its settings; a pickle holds no model."""
    path = None if model is None else request.getfixturevalue(model)
    solver = Solver(path, device="cpu", threads=2, max_pixels=10_000)
    picture = stripes_array(TEXT) if path else SAMPLE
    data = pickle.dumps(solver)
    assert len(data) < 1000
    for other in (pickle.loads(data), copy.copy(solver), copy.deepcopy(solver)):  # noqa: S301
        assert other.readers[0].session is not solver.readers[0].session
        assert other.solve(picture) == solver.solve(picture)
        assert other.max_pixels == 10_000
        assert other.session.onnx.get_session_options().intra_op_num_threads == 2


def test_a_pickle_names_the_file_wherever_it_is_read(
    stripes: Path, stripes_array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path holds in another working folder; a file that has gone is named."""
    model = tmp_path / "model.onnx"
    model.write_bytes(stripes.read_bytes())
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Solver("model.onnx"))
    monkeypatch.chdir("/")
    assert pickle.loads(data).solve(stripes_array(TEXT)).text == "abc"  # noqa: S301
    model.unlink()
    with pytest.raises(ModelNotFoundError, match=r"model\.onnx"):
        pickle.loads(data)  # noqa: S301


def test_a_subclass_keeps_what_it_adds(stripes: Path) -> None:
    """A copy of a subclass with another constructor has all its attributes."""
    solver = _Named("mine", stripes)
    assert pickle.loads(pickle.dumps(solver)).label == "mine"  # noqa: S301


class _Named(Solver):
    def __init__(self, label: str, model: Path) -> None:
        super().__init__(model)
        self.label = label


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_a_solver_goes_to_pools(start: str, stripes: Path, stripes_png) -> None:
    """The processes of both kinds of pools read with a solver that is sent to them."""
    solver = Solver(stripes, threads=2)
    context = multiprocessing.get_context(start)
    with context.Pool(2) as pool:
        answers = pool.map(solver.solve, [stripes_png(TEXT)] * 4)
    assert [answer.text for answer in answers] == ["abc"] * 4
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        answers = [*executor.map(solver.solve, [stripes_png(TEXT)] * 4)]
    assert [answer.text for answer in answers] == ["abc"] * 4


@forks
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("work", ["solver.solve(picture) == answer", "True"])
def test_a_forked_child_reads_and_ends(run_python, threads: int, work: str) -> None:
    """A child answers as its parent does, and ends, also if it did nothing; and so its own child.

    The threads of a session don't exist in a child, and its destructor would wait for them.
    """
    code = f"""
solver = Solver(threads={threads})
picture = {str(SAMPLE)!r}
answer = solver.solve(picture)

def work():
    if not ({work}):
        return False
    pid = os.fork()
    return os.waitpid(pid, 0)[1] == 0 if pid else {work}

fork(2, work)
assert solver.solve(picture) == answer
"""
    assert run_python(FORK + code).stdout == "{0: 2}\n"


@forks
@pytest.mark.parametrize(
    ("task", "children"),
    [("solver.solve_batch([picture])", 80), ("Solver()", 20), ("decode()", 20)],
)
def test_children_forked_while_threads_work_read(run_python, task: str, children: int) -> None:
    """A lock of onnxruntime or OpenCV that another thread held is in no child's way.

    Of the children that took over a session, some 5 in 100 hung.
    """
    code = f"""
import cv2, numpy
cv2.setNumThreads(4)
picture = {SAMPLE.read_bytes()!r}
noise = numpy.random.default_rng(1).integers(0, 255, (400, 400, 3), numpy.uint8)
decode = lambda data=cv2.imencode('.bmp', noise)[1].tobytes(): decode_image(data)
solver = Solver(threads=2)
answers = solver.solve_batch([picture])

def work():
    one_thread = cv2.getNumThreads() == 1
    return one_thread and (decode() == noise[:, :, ::-1]).all() and {task} is not None and (
        solver.solve_batch([picture]) == answers)

fork({children}, work, [lambda: {task}] * 3)
assert cv2.getNumThreads() == 4
"""
    assert run_python(FORK + code).stdout == f"{{0: {children}}}\n"


@forks
def test_a_fork_waits_until_a_model_is_loaded(run_python, stripes: Path) -> None:
    """A lock of onnxruntime that is held while it loads would never be released in the child."""
    code = f"""
import onnxruntime
events, real = [], onnxruntime.InferenceSession
def slow(*arguments, **options):
    events.append('loading')
    time.sleep(0.2)
    session = real(*arguments, **options)
    events.append('loaded')
    return session
onnxruntime.InferenceSession = slow
thread = threading.Thread(target=Solver, args=({str(stripes)!r},))
thread.start()
while not events:
    time.sleep(0.001)
fork(1, lambda: events == ['loading', 'loaded'])
thread.join()
"""
    assert run_python(FORK + code).stdout == "{0: 1}\n"


@forks
def test_a_session_that_does_not_survive_a_fork_says_so(run_python, stripes: Path) -> None:
    """CUDA can't be used after a fork. The error says what to do; the CPU's sessions go on."""
    code = f"""
from captcha_rt import ProviderError
solver = Solver({str(stripes)!r})
solver.session.providers = ('CUDAExecutionProvider', 'CPUExecutionProvider')

def work():
    try:
        solver.solve_batch([numpy.zeros((4, 16, 1), numpy.uint8)])
    except ProviderError as error:
        return 'spawn' in str(error)

import numpy
fork(1, work)
"""
    assert run_python(FORK + code).stdout == "{0: 1}\n"


@forks
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_gunicorn_serves_a_solver_that_it_loaded_before_its_forks(
    tmp_path: Path, threads: int
) -> None:
    """Both workers of `gunicorn --preload` answer, and all processes end when they are told to."""
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    (tmp_path / "app.py").write_text(
        "import os\n"
        "from captcha_rt import Solver\n"
        f"solver = Solver(threads={threads})\n"
        f"answer = solver.solve({str(SAMPLE)!r}).text\n"
        "def app(environ, start_response):\n"
        "    text = solver.solve(environ['wsgi.input'].read()).text\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [f'{os.getpid()} {text}'.encode()]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--preload", "--workers", "2", "--bind", address, "--graceful-timeout", "20"]
    program = [sys.executable, "-m", "gunicorn", *options, "app:app"]
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            answers = _ask_until(lambda found: len(found) == 2, f"http://{address}/")
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=15)
        finally:
            server.kill()
    assert answers == dict.fromkeys(answers, SAMPLE.stem)
    assert server.returncode == 0
    assert "ERROR" not in log
    assert "SIGKILL" not in log


def _ask_until(enough: Callable[[dict[str, str]], bool], url: str) -> dict[str, str]:
    """Sends the sample until enough processes have answered; returns the texts by process."""
    answers: dict[str, str] = {}
    end = time.monotonic() + 30
    while not enough(answers) and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, SAMPLE.read_bytes(), timeout=5) as response:  # noqa: S310
                pid, text = response.read().decode().split()
        except OSError:  # it has not started yet
            time.sleep(0.05)
        else:
            answers[pid] = text
    return answers
