"""The README's tables."""

import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need captcha-rt-train")

import report

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("benchmark", ["default", "documents"])
def test_the_readme_shows_what_was_measured(benchmark: str) -> None:
    """Each is the one that the benchmark prints with `--table`, from its committed results."""
    script = runpy.run_path(str(ROOT / "benchmarks" / f"{benchmark}.py"))
    result = ROOT / "benchmarks" / "results" / f"{benchmark}.json"
    table = script["table"](json.loads(result.read_text("utf-8")))
    assert table in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_shows_the_suite() -> None:
    """Its tables, and every figure in which another system is better."""
    readme = (ROOT / "README.md").read_text("utf-8")
    peers, origin = (
        json.loads((report.RESULTS / f"{name}.json").read_text("utf-8"))
        for name in ("peers", "origin")
    )
    assert report.peers_table(peers) in readme
    assert report.start_table(peers) in readme
    assert report.origin_table(origin) in readme
    wins = [*report.where_others_win(peers), *report.where_other_ways_win(origin)]
    assert wins
    assert all(f"- {won}\n" in readme for won in wins)


def test_the_readme_says_what_the_embedded_model_rejects() -> None:
    """Each figure of the paragraph is that of the results."""
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    found = json.loads((report.RESULTS / "default.json").read_text("utf-8"))["confidence"]
    foreign = found["foreign"].values()
    rejected = sum(f["rejected"] * f["pictures"] for f in foreign)
    rejected /= sum(f["pictures"] for f in foreign)
    assert f"accepts {found['accepted']:.2%}" in readme
    assert f"{found['right_of_accepted']:.2%} of them are right" in readme
    assert f"empty pages) {rejected:.2%} are rejected" in readme
    assert f"expected calibration error is {found['calibration_error']:.2%}" in readme
