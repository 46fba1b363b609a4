"""Model files that would take any amount of time or memory are refused, or are stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captcha_rt import Charset, CharsetError, Manifest, ModelError, Solver, load_model, run_limit
from captcha_rt.constrained import Constraints, decode_constrained
from captcha_rt.manifest import Tensor
from captcha_rt.model import has_loop
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale, Transpose

MANY = "".join(map(chr, [*range(0x20, 0xD800), *range(0xE000, 0x33000)]))[:200_000]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_refused_at_once(command, tmp_path: Path) -> None:
    """Nobody writes into the pipe, so to open it would wait for ever; the exit code is 3."""
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    with pytest.raises(ModelError, match=r"model\.onnx is no regular file"):
        load_model(pipe)
    for line in (("solve", "x.png", "--model"), ("info",)):
        result = command(*line, pipe, timeout=30)
        assert (result.returncode, result.stderr.count("\n")) == (3, 1)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
def test_a_device_without_end_is_refused() -> None:
    """/dev/zero is no file; nothing is read of it."""
    with pytest.raises(ModelError, match="/dev/zero is no regular file"):
        load_model("/dev/zero")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """Protobuf reads no message of 2 GB, so that the file isn't read either."""
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelError, match=r"2,147,483,648 bytes, more than"):
        load_model(path)


def test_a_folder_says_that_it_may_be_a_run(tmp_path: Path) -> None:
    """Who names a run's folder as the model is told how to export it."""
    with pytest.raises(ModelError, match=r"is a folder.*captcha-rt export .* -o model\.onnx"):
        load_model(tmp_path)
    run = tmp_path / "my run"
    run.mkdir()
    (run / "model.onnx").touch()
    with pytest.raises(ModelError, match=r"it holds one: '.*my run/model\.onnx'"):
        load_model(run)


def test_a_charset_of_many_characters_is_quick() -> None:
    """200,000 characters are checked, encoded, decoded and described in under a second."""
    started = time.process_time()
    charset = Charset(MANY, blank=7)
    labels = [MANY[i : i + 5] for i in range(0, len(MANY), 400)]
    for label in labels:
        assert charset.decode(charset.encode(label)) == label
    described = Manifest(
        "many",
        charset,
        Recipe((Scale(),)),
        "ctc",
        "logits",
        Tensor("x", (None, 1, 1, 1)),
        Tensor("y", (None, 2, charset.classes)),
    )
    assert Manifest.from_json(described.to_json()) == described
    with pytest.raises(CharsetError, match="doubled"):
        Charset(MANY * 2)
    assert charset.classes == 200_001
    assert time.process_time() - started < 1


def test_many_allowed_characters_are_quick() -> None:
    """To read with all 200,000 characters allowed takes well under a second, too."""
    charset = Charset(MANY, blank=0)
    probabilities = np.full((1, 1, charset.classes), 1 / charset.classes, np.float32)
    started = time.process_time()
    [read] = decode_constrained(probabilities, charset, Constraints(MANY), ctc=True)
    assert time.process_time() - started < 1
    assert read.ids == ()


def test_messages_stay_short() -> None:
    """An error about a long charset shows its first characters only."""
    charset = Charset(MANY)
    for wrong in (
        lambda: charset.encode("\U0010fff0" + MANY),
        lambda: charset.decode([10**6]),
        lambda: Charset(MANY + MANY),
    ):
        with pytest.raises(CharsetError) as caught:
            wrong()
        assert len(str(caught.value)) < 1000


def test_only_graphs_with_loops_are_watched(stripes_loop: Path, bars: Path) -> None:
    """The way of all other models stays as short as it is."""
    assert has_loop(stripes_loop.read_bytes())
    for reader in (*Solver().readers, *Solver(bars).readers):
        assert not reader.session._limit


def test_a_graph_with_a_loop_is_read(stripes_loop: Path, stripes: Path, stripes_array) -> None:
    """A run in a thread gives the answer, or the error, of a run without one."""
    solver = Solver(stripes_loop)
    picture = stripes_array("-aa--bb--cc-----")
    assert solver.solve(picture) == replace(Solver(stripes).solve(picture), model=solver.name)
    with pytest.raises(ModelError, match="onnxruntime failed"):
        solver.session.run(np.zeros((1, 2, 2, 1), np.float32))


def test_a_loop_without_end_is_stopped(
    monkeypatch, stripes_loop: Path, stripes_array, capfd
) -> None:
    """The black picture gets an error, wherever it is; the others of its batch are read."""
    monkeypatch.setattr(run_limit, "RUN_SECONDS", 0.2)
    solver = Solver(stripes_loop)
    good, black = stripes_array("-aa--bb--cc-----"), stripes_array("a" * 16)
    for place in range(3):
        pictures = [good, good, good]
        pictures[place] = black
        answers = solver.solve_batch(pictures, batch_size=3)
        error = answers.pop(place)
        assert [getattr(answer, "text", None) for answer in answers] == ["abc", "abc"]
        assert isinstance(error, ModelError)
        assert "took longer than 0.2 seconds" in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_never_ends_is_given_up(
    monkeypatch, stripes_loop: Path, stripes_array
) -> None:
    """After three runs in a row that were stopped, the others get their errors at once."""
    monkeypatch.setattr(run_limit, "RUN_SECONDS", 0.2)
    started = time.perf_counter()
    answers = Solver(stripes_loop).solve_batch([stripes_array("a" * 16)] * 100, batch_size=8)
    assert time.perf_counter() - started < 3
    assert all(isinstance(answer, ModelError) for answer in answers)
    assert "no other is tried" in str(answers[-1])


def test_what_can_not_be_stopped_is_left_behind(
    run_python, stripes_spin: Path, stripes_png, tmp_path: Path
) -> None:
    """The pictures get their errors all the same, and the process ends as it should."""
    (tmp_path / "black.png").write_bytes(stripes_png("a" * 16))
    (tmp_path / "abc.png").write_bytes(stripes_png("-aa--bb--cc-----"))
    done = run_python(
        "from pathlib import Path\n"
        "from captcha_rt import Solver, run_limit\n"
        "run_limit.RUN_SECONDS = 0.2\n"
        f"solver, folder = Solver({str(stripes_spin)!r}), Path({str(tmp_path)!r})\n"
        "answers = solver.solve_batch([folder / 'black.png', folder / 'abc.png'])\n"
        "print(type(answers[0]).__name__, answers[1].text)"
    )
    assert (done.stdout, done.stderr) == ("ModelError abc\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("model", ["stripes_loop", "stripes_spin"])
def test_ctrl_c_ends_a_loop_without_end(
    request: pytest.FixtureRequest, stripes_png, tmp_path: Path, model: str
) -> None:
    """The command ends at once, with the exit code of Ctrl-C."""
    picture = tmp_path / "a.png"
    picture.write_bytes(stripes_png("a" * 16))
    code = (
        "from captcha_rt import session\n"
        "from captcha_rt.cli.app import app\n"
        "run = session.Session.run\n"
        "def say(*arguments):\n"
        "    print('running', flush=True)\n"
        "    return run(*arguments)\n"
        "session.Session.run = say\n"
        "app()"
    )
    file = request.getfixturevalue(model)
    line = [sys.executable, "-c", code, "solve", picture, "--model", file]
    running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "running\n"
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=10)
    assert (running.returncode, out, err) == (130, "", "")


def test_the_recipe_is_compared_with_the_input(stripes: Path) -> None:
    """A recipe whose results have a fixed shape must fit the graph, whatever the order of steps."""
    manifest = load_model(stripes).manifest
    assert Recipe((Grey(), Resize(4, 16), Transpose(), Scale())).fixed_shape() == (16, 4, 1)
    assert Recipe((Grey(), Scale())).fixed_shape() == (None, None, 1)
    for steps in (
        (Grey(), Resize(4, 17), Scale(), Transpose()),
        (Grey(), Resize(16, 4), Scale(), Transpose()),
    ):
        with pytest.raises(ModelError, match=r"makes tensors of the shape .* takes \(16, 4, 1\)"):
            replace(manifest, recipe=Recipe(steps))
    for steps in ((Grey(), Scale()), (Resize(4, 16), Scale(), Transpose())):
        assert replace(manifest, recipe=Recipe(steps)).tensor_shape == (16, 4, 1)
