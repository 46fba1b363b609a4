"""Fixtures that tests share: tiny models, pictures for them, real pictures, and a trained run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browsing import open_chromium
from hypothesis import settings
from numpy.typing import NDArray

settings.register_profile("any machine", deadline=None)  # a busy one takes its time
settings.load_profile("any machine")

MODELS = Path(__file__).parent / "models"
BARS = {"a": 3, "b": 6, "c": 9}
LEVELS = {"-": 255, "a": 0, "b": 85, "c": 170}


@pytest.fixture
def stripes() -> Path:
    """A tiny model that reads `-` (blank), `a`, `b` and `c` from grey columns."""
    return MODELS / "stripes.onnx"


@pytest.fixture
def stripes_nan() -> Path:
    """The model of `stripes`, but its scores are NaN on a black picture."""
    return MODELS / "stripes-nan.onnx"


@pytest.fixture
def stripes_loop() -> Path:
    """The model of `stripes`, but it never ends on a black picture."""
    return MODELS / "stripes-loop.onnx"


@pytest.fixture
def stripes_spin() -> Path:
    """The same, but onnxruntime can't stop it: its thread runs until the process ends."""
    return MODELS / "stripes-spin.onnx"


@pytest.fixture
def stripes_array() -> Callable[[str], NDArray[np.uint8]]:
    """Draws a picture `(4, 16, 1)` whose columns show the 16 characters of `-abc`."""

    def draw(columns: str) -> NDArray[np.uint8]:
        assert len(columns) == 16
        row = np.asarray([LEVELS[c] for c in columns], np.uint8)
        return np.tile(row, (4, 1))[:, :, None]

    return draw


@pytest.fixture
def stripes_png(stripes_array) -> Callable[[str], bytes]:
    """Draws a picture as `stripes_array` does; returns the bytes of a PNG file."""
    return lambda columns: cv2.imencode(".png", stripes_array(columns))[1].tobytes()


@pytest.fixture
def bars() -> Path:
    """A tiny model that reads six bars as `a`, `b` or `c` by their widths; each is a glyph."""
    return MODELS / "bars.onnx"


@pytest.fixture
def bars_array() -> Callable[[str], NDArray[np.uint8]]:
    """Draws a picture `(50, 150, 1)` with a bar for each character of `abc`."""

    def draw(text: str) -> NDArray[np.uint8]:
        picture = np.full((50, 150, 1), 255, np.uint8)
        for place, character in enumerate(text):
            left = 40 + 14 * place - BARS[character] // 2
            picture[15:33, left : left + BARS[character]] = 0
        return picture

    return draw


@pytest.fixture
def run_python():
    """Runs Python code in a new process."""

    def run(code: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code], check=True, text=True, capture_output=True, timeout=60
        )

    return run


@pytest.fixture
def command():
    """Runs the real `captcha-rt` in a new process."""

    def run(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
        options = {"text": True, "capture_output": True, "timeout": 300, **options}
        return subprocess.run(
            [sys.executable, "-m", "captcha_rt", *map(str, arguments)], check=False, **options
        )

    return run


@pytest.fixture
def interrupt():
    """Runs the real `captcha-rt train`, and presses Ctrl-C after the first epoch of its run."""

    def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
        program = [sys.executable, "-m", "captcha_rt", "train", *map(str, arguments)]
        with subprocess.Popen(
            [*program, "-o", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while not (folder / "history.csv").exists():
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.05)
            for _ in range(4):  # TensorFlow ignores one that comes while it traces a graph
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    stdout, stderr = process.communicate(timeout=30)
                    break
            else:
                process.kill()
                pytest.fail("Ctrl-C doesn't end it")
        return subprocess.CompletedProcess(program, process.returncode, stdout, stderr)

    return run


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]):
    """Runs a command of `captcha-rt` in this process, which takes a tenth of the time.

    It is for what doesn't depend on the process: the code before the command is not run.
    """

    def run(*arguments: str | Path) -> subprocess.CompletedProcess:
        from captcha_rt.cli.app import app

        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            app([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, stopped.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; only its own pages are opened in it."""
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def captcha_data() -> Path:
    """The folder of real labelled pictures."""
    folder = os.environ.get("CAPTCHA_DATA")
    if not folder:
        pytest.skip("CAPTCHA_DATA does not name the folder of real labelled pictures")
    return Path(folder)


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty generated pictures."""
    kaptcha = pytest.importorskip(
        "captcha_rt_train.generators.kaptcha", reason="needs captcha-rt-train"
    )
    folder = tmp_path_factory.mktemp("samples")
    kaptcha.write_samples(folder, 40, seed=1)
    return folder


@pytest.fixture(scope="session")
def trained_run(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `crnn`, four epochs on the generated pictures; it reads nothing yet."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    program = [sys.executable, "-m", "captcha_rt", "train", sample_folder, "-o", run]
    line = [*program, "--preset", "crnn", "--epochs", "4", "--test", "0.1", "--batch-size", "8"]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    assert (done.returncode, (run / "manifest.json").exists()) == (1, True), done.stderr
    return run
