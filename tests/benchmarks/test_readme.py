"""The README's tables."""

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need captcha-rt-train")

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("benchmark", ["default", "documents"])
def test_the_readme_shows_what_was_measured(benchmark: str) -> None:
    """Each is the one that the benchmark prints with `--table`, from its committed results."""
    script = runpy.run_path(str(ROOT / "benchmarks" / f"{benchmark}.py"))
    result = ROOT / "benchmarks" / "results" / f"{benchmark}.json"
    table = script["table"](json.loads(result.read_text("utf-8")))
    assert table in (ROOT / "README.md").read_text("utf-8")
