"""Which device `auto` takes: never one that is slower than the CPU, its start included."""

import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured import MEASURED, START

from captcha_rt import ProviderError, Session, Solver, load_model, session
from captcha_rt.device import CPU, RUN_SECONDS, choose, time_run
from captcha_rt.pictures import count_files


@pytest.mark.parametrize("case", MEASURED)
@pytest.mark.parametrize("pictures", [1, 100, 10_000, 1_000_000, math.inf])
def test_auto_is_never_slower_than_the_cpu(case: tuple[str, int], pictures: float) -> None:
    """With figures measured on a GPU, all runs and CUDA's start take no longer than there."""
    on_cpu, on_cuda = (milliseconds / 1000 for milliseconds in MEASURED[case])
    runs = max(1, pictures / case[1])
    spent = []

    def try_cuda() -> float:
        spent.append(START)
        return on_cuda

    device, reason = choose(on_cpu, runs, try_cuda)
    chosen = on_cpu if device == "cpu" else on_cuda
    assert chosen <= on_cpu
    if math.isfinite(runs):
        assert sum(spent) + runs * chosen <= runs * on_cpu
    assert "ms" in reason or "all runs take" in reason


def test_auto_takes_cuda_where_it_pays() -> None:
    """Of a folder that takes the CPU long enough; and without an end, of all large runs."""
    on_cpu, on_cuda = (milliseconds / 1000 for milliseconds in MEASURED["crnn", 8])
    assert choose(on_cpu, math.inf, lambda: on_cuda)[0] == "cuda"
    assert choose(on_cpu, 10_000, lambda: on_cuda)[0] == "cuda"
    assert choose(on_cpu, 100, lambda: on_cuda)[0] == "cpu"
    assert choose(on_cpu, math.inf, lambda: 2 * on_cpu)[0] == "cpu"


def test_cuda_that_fails_leaves_the_cpu() -> None:
    """The reason holds the error."""

    def fail() -> float:
        raise ProviderError("no such GPU")

    assert choose(1.0, math.inf, fail) == ("cpu", "CUDA fails: no such GPU")


def test_a_small_model_never_loads_cuda(stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a driver, one short run on the CPU decides; CUDA's libraries stay on disk."""

    def load(_: object) -> Any:
        pytest.fail("CUDA was loaded")

    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    monkeypatch.setattr(session, "load_cuda", load)
    for solver in (Solver(stripes, batch_size=10**6), Solver(batch_size=8)):
        assert {reader.session.providers for reader in solver.readers} == {(CPU,)}
        assert "CUDA is tried from 4 ms on" in solver.session.reason


def test_the_numbers_of_pictures_and_runs_decide(
    stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pictures in batches; without their number the runs have no end."""
    asked: list[float] = []

    def choose_cpu(_: float, runs: float, __: object) -> tuple[str, str]:
        asked.append(runs)
        return "cpu", ""

    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    monkeypatch.setattr(session, "choose", choose_cpu)
    Solver(stripes, batch_size=8, pictures=80)
    Solver(stripes, batch_size=8, pictures=2)
    Solver(stripes, batch_size=10**9, pictures=320)
    Solver(stripes)
    assert asked == [10, 1, 5, math.inf]


def test_cuda_that_does_not_work_is_tried_and_left(
    stripes: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that is worth CUDA reads on the CPU then, and a warning says so."""
    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    monkeypatch.setattr("captcha_rt.device.RUN_SECONDS", 0.0)
    model = load_model(stripes)
    tried = Session(model.data, model.manifest, rows=3)
    if tried.providers[0] != CPU:
        assert "on CUDA" in tried.reason  # CUDA works here
        return
    assert tried.reason.startswith("CUDA fails: this onnxruntime has no CUDA")
    assert "CUDA is installed but does not work here" in caplog.text
    inputs = np.zeros((2, *model.manifest.input.shape[1:]), np.float32)
    on_cpu = Session(model.data, model.manifest, device="cpu")
    np.testing.assert_array_equal(tried.run(inputs), on_cpu.run(inputs))
    assert on_cpu.reason == ""


def test_a_graph_with_a_loop_stays_on_the_cpu(
    stripes_loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not even run to be measured: it may have no end."""
    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    monkeypatch.setattr(session, "time_run", lambda *_: pytest.fail("it was run"))
    assert Solver(stripes_loop).session.reason == "the graph has a loop"


def test_a_model_that_fails_is_loaded(stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the measurement comes with the first picture, as without one."""
    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    model = load_model(stripes)
    tried = Session(model.data, model.manifest, rows=-1)
    assert tried.reason.startswith("the model fails")
    assert tried.providers == (CPU,)


def test_a_short_run_ends_the_measurement() -> None:
    """One is enough; otherwise the shortest of several after a warm-up counts."""
    runs: list[int] = []
    assert 0 < time_run(lambda: runs.append(1), RUN_SECONDS) < RUN_SECONDS
    assert len(runs) == 1
    assert time_run(lambda: runs.append(1)) < RUN_SECONDS
    assert len(runs) == 9


def test_pictures_are_counted_without_a_look(tmp_path: Path) -> None:
    """A folder's entries and what a glob matches count, and everything else as one."""
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    assert count_files(str(tmp_path)) == 3
    assert [count_files(f"{tmp_path}/{pattern}") for pattern in ("[ab].png", "**", "*")] == [
        2,
        3,
        3,
    ]
    assert [count_files(path) for path in ("-", "", "no-such.png", "no-such-*.png")] == [1] * 4


def test_solve_counts_what_is_known(
    call, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of a list count, too; what comes from a pipe isn't known."""
    counted = []

    def choose_cpu(_: float, runs: float, __: object) -> tuple[str, str]:
        counted.append(runs)
        return "cpu", ""

    monkeypatch.setattr(session, "has_cuda", lambda _: True)
    monkeypatch.setattr(session, "choose", choose_cpu)
    for number in range(40):
        (tmp_path / f"{number}.png").touch()
    names = tmp_path / "list"
    names.write_text("".join(f"{path}\n" for path in tmp_path.glob("*.png")), "utf-8")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=["no.png\n"], daemon=True)
    writer.start()
    for arguments in (
        [f"{tmp_path}/*.png"],
        [f"{tmp_path}/no.png", "--files-from", names],
        ["--files-from", pipe],
    ):
        call("solve", *arguments, "-m", stripes, "-q")
    writer.join()
    assert counted == [40 / 8, 41 / 8, math.inf]
