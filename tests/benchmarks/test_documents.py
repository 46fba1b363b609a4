"""The committed results of the documents' presets."""

import csv
import json
import runpy
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the presets come with captcha-rt-train")

ROOT = Path(__file__).parent.parent.parent
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "documents.py"))
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "documents.json").read_text("utf-8"))


def test_every_preset_was_measured() -> None:
    """The same facts of each, on pictures that it wasn't trained on."""
    assert list(RESULTS) == list(SCRIPT["PLANS"])
    for entry in RESULTS.values():
        assert entry.keys() >= {
            "document_figure",
            "exact_match",
            "character_accuracy",
            "interval",
            "pictures",
            "parameters",
            "bytes",
            "parity",
            "milliseconds",
        }
        assert entry["pictures"] >= entry["split"]["test"] > 0
        assert entry["parity"] < 1e-5
        assert entry["interval"][0] <= entry["exact_match"] <= entry["interval"][1]
        assert not entry["operators"].keys() & {"Loop", "Scan", "If"}


def test_one_graph_is_no_slower_than_six_sessions() -> None:
    """The ensemble's networks, merged into one graph."""
    sessions = RESULTS["ensemble"]["sessions"]
    assert sessions["merged"] <= 1.05 * sessions["six"]


def test_every_correction_is_listed() -> None:
    """The figures differ from the raw ones by the listed corrections alone."""
    with SCRIPT["CORRECTIONS"].open(newline="", encoding="utf-8") as file:
        listed = {tuple(row.values()) for row in csv.DictReader(file)}
    for entry in RESULTS.values():
        made = {(entry["data"], *correction.values()) for correction in entry["corrections"]}
        assert made <= listed
        assert abs(entry["errors"] - entry["raw"]["errors"]) <= len(entry["corrections"])


@pytest.mark.parametrize("name", ["multihead", "steps"])
def test_the_table_names_what_the_document_says(name: str) -> None:
    """Where a document prints no figure, the table says so."""
    row = next(r for r in SCRIPT["table"](RESULTS).splitlines() if f"`{name}`" in r)
    assert ("not printed" in row) == (name == "steps")
    assert f"{RESULTS[name]['exact_match']:.2%}" in row
