"""The committed results of the embedded model."""

import csv
import json
from pathlib import Path

import pytest
from labelled import PNG

from captcha_rt.model import EMBEDDED, load_model

pytest.importorskip("captcha_rt_train", reason="the model is made by captcha-rt-train")

from benchmarks.accuracy.default import KINDS, spread_paths

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "benchmarks" / "results" / "default.json").read_text("utf-8"))


def test_the_file_in_the_wheel_is_the_one_that_was_measured() -> None:
    """Size, temperature, smallest confidence, seed and test pictures are those of the results."""
    manifest = load_model().manifest
    assert EMBEDDED.stat().st_size == RESULT["model"]["bytes"] <= 1_000_000
    assert manifest.temperature == RESULT["confidence"]["temperature"]
    assert manifest.min_confidence == RESULT["confidence"]["min_confidence"]
    assert manifest.training["seed"] == RESULT["model"]["training"]["seed"]
    for kind, entry in RESULT["accuracy"].items():
        assert manifest.accuracy[f"test {kind}"]["pictures"] == entry["pictures"]


def test_corrections_are_those_of_the_list() -> None:
    """Every correction in the results is a row of `corrections.csv`."""
    with (ROOT / "benchmarks" / "corrections.csv").open(newline="") as file:
        listed = {(r["data"], r["picture"], r["label"], r["shown"]) for r in csv.DictReader(file)}
    for kind, entry in RESULT["accuracy"].items():
        for row in entry["corrections"]:
            assert (kind, row["picture"], row["label"], row["shown"]) in listed
        assert entry["exact_match"] == 1 - entry["errors"] / entry["pictures"]
        assert entry["errors"] == len(entry["misread"])


def test_the_pictures_that_are_timed_are_spread_over_each_folder(tmp_path: Path) -> None:
    """`--retime` needs no run: it takes at most 500 pictures of each kind, not only the first."""
    for kind, count in zip(KINDS, (3, 20, 500, 1300), strict=True):
        (tmp_path / kind).mkdir()
        for number in range(count):
            (tmp_path / kind / f"{100_000 + 7 * number}.png").write_bytes(PNG)
    found = spread_paths(tmp_path)
    assert {kind: len(paths) for kind, paths in found.items()} == dict(
        zip(KINDS, (3, 20, 500, 500), strict=True)
    )
    assert found["metu"][-1].stem > "106900"
