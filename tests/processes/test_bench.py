"""`captcha-rt bench`, run as a process, and the functions that it measures with."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from captcha_rt import ImageDecodeError, InstallationError, ProviderError, RecipeError, Solver
from captcha_rt.cores import available_cores
from captcha_rt.diagnostics.bench import (
    BATCHES,
    MAX_PICTURES,
    draw_picture,
    measure,
    measure_rate,
    measure_session,
    measure_stages,
    read_pictures,
)
from captcha_rt.diagnostics.bench_text import describe
from captcha_rt.diagnostics.machine import run_command, start_python
from captcha_rt.diagnostics.stages import STAGES, time_stages

SAMPLES = Path(__file__).parents[1] / "samples"
UNIX = sys.platform != "win32"


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess:
    """The command's JSON for six pictures and a file that is no picture."""
    bad = tmp_path_factory.mktemp("bench") / "bad.png"
    bad.write_text("not a picture")
    program = [sys.executable, "-m", "captcha_rt", "bench", str(bad), str(SAMPLES), "--json"]
    return subprocess.run(program, check=False, capture_output=True, text=True, timeout=300)


def test_percentiles_of_each_stage(benched) -> None:
    """Percentiles ascend and come from enough rounds; the stages add up to the whole."""
    stages = json.loads(benched.stdout)["stages"]
    assert list(stages) == ["decode", "recipe", "session", "decoder", "whole"]
    for times in stages.values():
        assert 0 < times["p50"] <= times["p90"] <= times["p99"]
        assert times["rounds"] >= 20
    parts = [times["p50"] for name, times in stages.items() if name != "whole"]
    assert sum(parts) / 3 < stages["whole"]["p50"] < sum(parts) * 3


def test_every_batch_size_and_number_of_threads(benched) -> None:
    """The session is timed at each batch size, throughput at each batch size and thread count."""
    report = json.loads(benched.stdout)
    assert [int(batch) for batch in report["session"]] == list(BATCHES)
    assert report["session"]["1"]["p50"] < report["session"]["32"]["p50"]
    pairs = [(rate["threads"], rate["batch"]) for rate in report["throughput"]]
    threads = sorted({1, 2, available_cores()})
    assert pairs == [(callers, batch) for callers in threads for batch in BATCHES]
    assert all(rate["pictures_per_second"] > 0 for rate in report["throughput"])


def test_the_cold_start_is_that_of_a_process(benched) -> None:
    """Time and memory of a start have the magnitude of imports and a session."""
    start = json.loads(benched.stdout)["cold_start"]
    assert 50 < start["wall_ms"] < 60_000
    if UNIX:
        assert 50 < start["cpu_ms"] < start["wall_ms"] * available_cores() + 50
        assert 30 < start["peak_mb"] < 2000
    else:
        assert start["cpu_ms"] is start["peak_mb"] is None


def test_the_report_says_what_was_measured(benched) -> None:
    """The provider is the one that the session reports."""
    report = json.loads(benched.stdout)
    solver = Solver()
    assert report["provider"] == solver.session.providers[0]
    assert report["model"] == solver.name
    assert (report["pictures"], report["drawn"], report["threads"]) == (6, False, 1)
    assert {"python", "captcha-rt", "numpy"} < set(report["versions"])


def test_a_picture_that_can_not_be_read_costs_the_others_nothing(benched) -> None:
    """It gives one line on stderr and exit code 1; the other pictures are measured."""
    assert benched.returncode == 1
    assert benched.stderr.count("\n") == 1
    assert "bad.png" in benched.stderr


def test_no_picture_that_can_be_read(command, tmp_path: Path) -> None:
    """The exit code is 1, with one line per picture on stderr, and no numbers."""
    (tmp_path / "bad.png").write_text("not a picture")
    result = command("bench", tmp_path, "no-such.png")
    assert (result.stdout, result.returncode) == ("", 1)
    assert result.stderr.count("\n") == 2


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_cuda_that_does_not_work_is_refused(command, arguments: tuple[str, ...]) -> None:
    """The exit code is 3, with one line on stderr; the CPU is not measured in place of CUDA."""
    try:
        Solver(device="cuda")
    except ProviderError:
        pass
    else:
        pytest.skip("CUDA works here")
    result = command("bench", SAMPLES, "--device", "cuda", *arguments)
    assert (result.stdout, result.returncode) == ("", 3)
    assert result.stderr.count("\n") == 1
    assert "CUDA" in result.stderr


def test_a_model_that_can_not_read_the_drawn_picture(command, bars: Path) -> None:
    """The error asks for pictures, in one line."""
    result = command("bench", "--model", bars)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr.count("\n") == 1
    assert "name pictures" in result.stderr


def test_the_text_holds_the_numbers(stripes: Path) -> None:
    """The text has milliseconds with three decimals in columns, and says that it drew a picture."""
    solver = Solver(stripes, device="cpu", threads=2)
    options = ["--model", str(stripes), "--device", "cpu", "--threads", "2"]
    report = measure(
        solver,
        [draw_picture(solver.manifest)],
        options,
        threads=2,
        drawn=True,
        seconds=0.001,
        starts=1,
    )
    lines = describe(report).splitlines()
    assert "active provider: CPUExecutionProvider" in lines
    told = describe(replace(report, reason="there is no CUDA here"))
    assert "active provider: CPUExecutionProvider (auto: there is no CUDA here)" in told
    assert "threads within one run: 2" in lines
    assert any("drawn" in line for line in lines if line.startswith("pictures:"))
    whole = next(line for line in lines if line.startswith("whole"))
    times = report.stages["whole"]
    cells = [f"{times.p50:.3f}", f"{times.p90:.3f}", f"{times.p99:.3f}", f"{times.rounds}"]
    assert whole.split()[1:] == cells
    header = next(line for line in lines if "p50" in line)
    assert len(header) == len(whole)


def test_the_drawn_picture_is_always_the_same(stripes: Path) -> None:
    """The embedded model reads the picture, and so does a model with another input size."""
    for solver in (Solver(), Solver(stripes)):
        picture = draw_picture(solver.manifest)
        assert picture == draw_picture(solver.manifest)
        assert solver.solve(picture).text


def test_a_model_that_cuts_glyphs_is_measured_too(bars: Path, bars_array) -> None:
    """A picture of such a model is several rows of the batch."""
    import cv2

    solver = Solver(bars)
    picture = cv2.imencode(".png", bars_array("abccba"))[1].tobytes()
    assert measure_stages(solver, [picture], seconds=0)["whole"].rounds >= 20
    assert measure_session(solver, [picture], batch=8, seconds=0).rounds >= 20
    assert measure_rate(solver, [picture], batch=8, threads=2, seconds=0).pictures_per_second > 0
    with pytest.raises(RecipeError, match="name pictures"):
        draw_picture(solver.manifest)


def test_an_error_is_no_fast_answer(stripes: Path) -> None:
    """Measuring the throughput of pictures that can't be read raises their error."""
    with pytest.raises(ImageDecodeError):
        measure_rate(Solver(stripes), [b"not a picture"], batch=1, threads=2, seconds=0)


def test_of_very_many_pictures_some_are_taken(stripes: Path, stripes_png) -> None:
    """The pictures that are taken are evenly spread, up to the end."""
    pictures = [stripes_png(f"{'a' * (i // 101):-<16}") for i in range(2 * MAX_PICTURES + 1)]
    sources = [(str(i), picture) for i, picture in enumerate(pictures)]
    taken, problems = read_pictures(Solver(stripes), sources)
    assert len(taken) <= MAX_PICTURES
    assert set(taken) == set(pictures)
    assert problems == []


@pytest.mark.skipif(not UNIX, reason="Windows tells no peak memory")
def test_peak_memory_is_the_processs_own(run_python) -> None:
    """The memory of the large process that starts another one is not counted, as Linux would."""
    code = (
        "import numpy; from captcha_rt.diagnostics.machine import start_python\n"
        "ballast = numpy.ones(20_000_000)\n"
        "print(start_python('-c', 'pass').peak_mb)"
    )
    assert 3 < float(run_python(code).stdout) < 100


def test_a_process_that_fails_is_an_error() -> None:
    """The message holds the last line on the process's stderr."""
    with pytest.raises(InstallationError, match="no typer"):
        start_python("-c", "raise ImportError('no typer')")


def test_any_command_can_be_measured(tmp_path: Path) -> None:
    """Output, exit code and usage are returned; working folder and environment can be chosen."""
    code = "import os, sys; print(os.getcwd(), os.environ['X']); sys.exit('no: ' + sys.argv[1])"
    command = [sys.executable, "-c", code, "why"]
    done = run_command(command, cwd=tmp_path, env={**os.environ, "X": "3"})
    assert done.stdout.split() == [str(tmp_path.resolve()), "3"]
    assert (done.stderr, done.exit_code) == ("no: why\n", 1)
    assert 1 < done.usage.wall_ms < 60_000
    if UNIX:
        assert 0 < done.usage.cpu_ms < 60_000
    with pytest.raises(InstallationError, match="can't start no-such-program"):
        run_command(["no-such-program"])


def test_stages_are_timed_picture_by_picture(stripes: Path, stripes_png) -> None:
    """There is one value per stage and picture; a picture that can't be read raises its error."""
    pictures = [stripes_png("-aa--bb--cc-----"), stripes_png("-------b--------")] * 10
    times = time_stages(Solver(stripes), iter(pictures))
    assert tuple(times) == STAGES
    assert all(len(values) == 20 and 0 < min(values) < 1000 for values in times.values())
    with pytest.raises(ImageDecodeError):
        time_stages(Solver(stripes), [b"not a picture"])
