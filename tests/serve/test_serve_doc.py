"""docs/serving.md: its lines do what they are said to do."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SAMPLE, TEXT

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def document() -> str:
    """The document's text."""
    if not DOCUMENT.exists():
        pytest.skip("the documents are not here")
    return DOCUMENT.read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures that the document names."""
    for name in ("picture", "1", "2"):
        shutil.copy(SAMPLE, tmp_path / f"{name}.png")
    return tmp_path


def test_each_line_of_curl_is_answered(server, document, folder):
    """Each line gets JSON, and those that know nothing wrong of the text get the text."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = re.findall(r"^\$ (curl .*)$", document, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        here = line.replace("curl ", "curl -sS ", 1).replace(
            "127.0.0.1:8000", f"127.0.0.1:{server.port}"
        )
        run = ["bash", "-c", here]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert TEXT in done.stdout or found["error"]["type"] == "LowConfidenceError", line


def test_each_program_prints_the_text(server, document, folder):
    """The programs in Python run as they stand."""
    programs = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        here = program.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        pytest.importorskip("tritonclient" if "tritonclient" in here else "httpx")
        run = [sys.executable, "-c", here]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
        assert TEXT in done.stdout


def test_each_option_is_documented(command, document):
    """Every option of `serve` that isn't shared by all commands stands in the document."""
    done = command("serve", "--help", env={"COLUMNS": "200", "PATH": "/usr/bin"} | _here())
    options = set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    shared = {"--help", "--device", "--threads", "--access-log"}
    assert options - shared
    assert {option for option in options - shared if option not in document} == set()


def _here() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
