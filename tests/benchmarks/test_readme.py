"""The tables of the README and of the page on benchmarks."""

import json
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need captcha-rt-train")

from benchmarks.accuracy import default, documents, general
from benchmarks.harness import RESULTS
from benchmarks.peers import tables
from benchmarks.speed import origin

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("benchmark", [default, documents], ids=["default", "documents"])
def test_the_readme_shows_what_was_measured(benchmark) -> None:
    """The README's tables are those that `--table` prints from the committed results."""
    result = RESULTS / f"{benchmark.__name__.rpartition('.')[2]}.json"
    table = benchmark.table(json.loads(result.read_text("utf-8")))
    assert table in (ROOT / "README.md").read_text("utf-8")


def test_the_pages_show_the_suite() -> None:
    """The pages hold the tables, and every number in which another system is better."""
    readme = (ROOT / "README.md").read_text("utf-8")
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    peers, ways = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("peers", "origin")
    )
    assert tables.accuracy_table(peers) in readme
    assert tables.start_table(peers) in page
    assert origin.times_table(ways) in page
    wins = [*tables.where_others_win(peers), *origin.where_other_ways_win(ways)]
    assert wins
    assert all(f"- {won}\n" in page for won in wins)


def test_the_readme_says_what_the_embedded_model_rejects() -> None:
    """Each number of the paragraph is that of the results."""
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    found = json.loads((RESULTS / "default.json").read_text("utf-8"))["confidence"]
    foreign = found["foreign"].values()
    rejected = sum(f["rejected"] * f["pictures"] for f in foreign)
    rejected /= sum(f["pictures"] for f in foreign)
    assert f"accepts {found['accepted']:.2%}" in readme
    assert f"{found['right_of_accepted']:.2%} of them are right" in readme
    assert f"empty pages) {rejected:.2%} are rejected" in readme
    assert f"expected calibration error is {found['calibration_error']:.2%}" in readme


def test_the_pages_say_what_threads_and_processes_gain() -> None:
    """Two workers of each kind against one thread, and two threads within a run against one."""
    page = " ".join((ROOT / "docs" / "benchmarks.md").read_text("utf-8").split())
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    workers = json.loads((RESULTS / "scale.json").read_text("utf-8"))["workers"]
    ratios = {row["workers"]: row["ratio"] for row in workers if row["count"] == 2}
    said = f"two processes read {ratios['processes']:.2f} times as many pictures as one thread"
    for text in (page, readme):
        assert said in text
        assert f"{ratios['threads']:.2f} times" in text
    options = json.loads((RESULTS / "session_options.json").read_text("utf-8"))
    cpu = {
        (row["batch"], row["threads"], row["spinning"]): row["cpu_ms"]
        for row in options["median_a_picture"]
    }
    more = [cpu[batch, 2, spin] / cpu[batch, 1, spin] for batch, _, spin in cpu]
    assert f"take {min(more):.2f} to {max(more):.2f} times as much" in page


def test_the_page_says_how_far_the_general_model_is() -> None:
    """The table, the pictures that it has learnt from, and the trunk are those of the result."""
    from captcha_rt_train.training.trunk import load_trunk
    from captcha_rt_train.trunks import GENERAL

    page = (ROOT / "docs" / "general-model.md").read_text("utf-8")
    result = json.loads((RESULTS / "general.json").read_text("utf-8"))
    trunk = load_trunk(GENERAL)
    assert result["model"]["pictures"] == trunk.pictures
    assert f"after {trunk.pictures:,} pictures" in page
    assert general.table(result) in page


def test_the_page_compares_the_general_model_with_the_panels_means() -> None:
    """The means of four systems over the drawn and over the real kinds."""
    page = " ".join((ROOT / "docs" / "general-model.md").read_text("utf-8").split())
    systems = json.loads((RESULTS / "unseen.json").read_text("utf-8"))["systems"]
    names = ("captcha-rt", "ddddocr 1.6.1", "ddddocr 1.6.1 beta", "RapidOCR")
    drawn, real = (
        [f"{100 * systems[name]['means'][group]:.1f} %" for name in names]
        for group in ("drawn", "foreign")
    )
    assert (
        f"{drawn[0]} for captcha-rt, {drawn[1]} for ddddocr 1.6.1, {drawn[2]} for its beta model "
        f"and {drawn[3]} for RapidOCR"
    ) in page
    assert f"it is {real[0]}, {real[1]}, {real[2]} and {real[3]}" in page
