"""The errors if onnxruntime is missing, broken or installed twice."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import deflate
import numpy as np
import pytest

import captcha_rt

SOLVE = "import captcha_rt; captcha_rt.Solver()"


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_two_onnxruntimes_are_an_error_with_the_command_to_type(tmp_path: Path) -> None:
    """The two overwrite each other's files, though pip installs both without a word."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.31.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.0\n")
    result = run(SOLVE, PYTHONPATH=str(tmp_path))
    assert "InstallationError" in result.stderr
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in result.stderr
    assert 'pip install "captcha-rt[cpu]"' in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_no_onnxruntime_is_an_error_with_the_command_to_type(tmp_path: Path) -> None:
    """With all that captcha-rt needs but that, the error says what to install."""
    for package in (captcha_rt, np, cv2, deflate):
        home = Path(package.__file__).parent
        for path in (home, *home.parent.glob("*.libs")):
            if not (tmp_path / path.name).exists():
                (tmp_path / path.name).symlink_to(path)
    code = f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; {SOLVE}"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert "InstallationError: onnxruntime is not installed" in result.stderr
    assert 'pip install "captcha-rt[cpu]"' in result.stderr


def test_a_broken_onnxruntime_says_why(tmp_path: Path) -> None:
    """The message holds what the import of onnxruntime raised."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libfoo is gone')")
    result = run(SOLVE, PYTHONPATH=str(tmp_path))
    assert "onnxruntime is broken (libfoo is gone)" in result.stderr


def test_ctrl_c_while_onnxruntime_is_loaded_is_no_broken_installation(
    run_python, tmp_path: Path
) -> None:
    """Its extension module turns the interrupt into an ImportError."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError from KeyboardInterrupt()")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from captcha_rt import Solver\n"
        "try: Solver()\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    assert run_python(code).stdout == "interrupted\n"
