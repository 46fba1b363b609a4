"""The committed results of the documents' presets."""

import csv
import json

import pytest

pytest.importorskip("captcha_rt_train", reason="the presets come with captcha-rt-train")

from benchmarks import harness
from benchmarks.accuracy import documents

RESULTS = json.loads((harness.RESULTS / "documents.json").read_text("utf-8"))


def test_every_preset_was_measured() -> None:
    """The results of each have the same facts, from pictures that it was not trained on."""
    assert list(RESULTS) == list(documents.PLANS)
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
    """The ensemble's merged graph is compared with a session for each digit."""
    sessions = RESULTS["ensemble"]["sessions"]
    assert sessions["merged"] <= 1.05 * sessions["six"]


def test_every_correction_is_listed() -> None:
    """The results differ from the raw ones only by the listed corrections."""
    with harness.CORRECTIONS.open(newline="", encoding="utf-8") as file:
        listed = {tuple(row.values()) for row in csv.DictReader(file)}
    for entry in RESULTS.values():
        made = {(entry["data"], *correction.values()) for correction in entry["corrections"]}
        assert made <= listed
        assert abs(entry["errors"] - entry["raw"]["errors"]) <= len(entry["corrections"])


@pytest.mark.parametrize("name", ["multihead", "steps"])
def test_the_table_names_what_the_document_says(name: str) -> None:
    """Where a document prints no accuracy, the table says so."""
    row = next(r for r in documents.table(RESULTS).splitlines() if f"`{name}`" in r)
    assert ("not printed" in row) == (name == "steps")
    assert f"{RESULTS[name]['exact_match']:.2%}" in row
