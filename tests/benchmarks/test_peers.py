"""The part `peers` with few pictures and without a network."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("resource", reason="the driver measures CPU time with it")

from benchmarks.harness import SAMPLES, Part
from benchmarks.peers import compare, driver, reading, systems

PYTHON = Path(sys.executable)
OURS = replace(systems.SYSTEMS["captcha-rt"], environment=None)
SETS = {
    "two": reading.PictureSet([(path, path.stem.upper()) for path in SAMPLES[:2]], "x"),
    "wrong": reading.PictureSet([(SAMPLES[2], SAMPLES[2].stem), (SAMPLES[3], "wrong")], "x"),
}


def test_ours_reads_the_samples_in_the_driver() -> None:
    """Each picture has its text, its CPU time and its wall time."""
    samples = reading.PictureSet([(path, path.stem) for path in SAMPLES], "x")
    row = reading.read(PYTHON, OURS, {"samples": samples})["samples"]
    assert row["texts"] == [path.stem for path in SAMPLES]
    assert len(row["cpu"]) == len(row["wall"]) == len(SAMPLES)
    assert min(row["cpu"] + row["wall"]) > 0


def test_a_start_says_what_the_process_took() -> None:
    """The command and the script are measured; the script's stages are parts of its whole."""
    row = reading.start(PYTHON, OURS)
    assert row["command"]["output"].strip() == SAMPLES[0].stem
    script = row["script"]
    assert [*script["stages"]] == ["python", "imports", "model", "first picture"]
    assert 0 < sum(script["stages"].values()) <= script["cpu_ms"]
    assert 10 < script["peak_mb"] < 1000


def test_missing_systems_are_reported_and_the_others_measured(tmp_path: Path) -> None:
    """An install fails, a package and a program are missing; and a stop costs no row."""
    listed = {
        "no wheel": replace(OURS, environment="broken"),
        "no package": replace(OURS, reader="ddddocr-of-nobody"),
        "no program": replace(systems.SYSTEMS["Tesseract"], command=("tesseract-of-nobody",)),
        "captcha-rt": OURS,
    }
    small = {"rounds": 2, "starts": 2}
    environments = {"broken": (str(tmp_path / "made-up.whl"),)}
    found = compare.measure(Part("peers", runs=tmp_path), listed, environments, SETS, **small)
    assert [*found] == [*listed]
    assert "made-up.whl" in found["no wheel"]["missing"]
    assert "ddddocr-of-nobody" in found["no package"]["missing"]
    assert "tesseract-of-nobody" in found["no program"]["missing"]
    ours = found["captcha-rt"]
    assert ours.keys() == {
        *("version", "setting", "installed_mb", "sets", "cold_start", "peak_mb"),
    }
    assert ours["sets"].keys() == SETS.keys()
    assert [row["errors"] for row in ours["sets"].values()] == [0, 1]
    for row in ours["sets"].values():
        assert row["pictures"] == 2
        assert row["exact_match"] == 1 - row["errors"] / 2
        assert row["interval"][0] <= row["exact_match"] <= row["interval"][1]
        assert row["wall_ms"].keys() == {"p50", "p90", "p99"}
        assert row["latencies"] == sorted(row["latencies"])
        assert len(row["latencies"]) == compare.LATENCIES
    assert ours["cold_start"]["of"] == "command"
    assert ours["cold_start"]["stages"].keys() >= {"python", "exit"}
    again = compare.measure(Part("peers", runs=tmp_path), {"captcha-rt": OURS}, {}, SETS, **small)
    assert json.dumps(again["captcha-rt"]) == json.dumps(ours)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract isn't there")
def test_tesseract_reads_the_same_picture_by_picture_and_by_a_list() -> None:
    """One process separates the pages, empty ones as well; both have CPU times."""
    sets = {"samples": reading.PictureSet([(p, p.stem) for p in SAMPLES], "2345678bcdefgmnpwxy")}
    alone = reading.read(PYTHON, systems.SYSTEMS["Tesseract"], sets)["samples"]
    listed = reading.read(PYTHON, systems.SYSTEMS["Tesseract, one process"], sets)["samples"]
    assert [t.strip() for t in alone["texts"]] == [t.strip() for t in listed["texts"]]
    assert min(listed["cpu"] + alone["cpu"]) > 0


def test_every_system_is_one_that_the_driver_knows() -> None:
    """Its environment is one that is made, if it needs one."""
    for system in systems.SYSTEMS.values():
        assert system.reader in {*driver.READERS, "tesseract-list"}
        assert system.environment in {*systems.ENVIRONMENTS, None}
        assert (system.environment is None) == system.is_program
        assert {*system.options} <= {"beta", "range"}


def test_the_rounds_share_all_pictures() -> None:
    """Each of the first pictures, as many as the system reads, is in exactly one round."""
    samples = reading.PictureSet([(Path(str(n)), str(n)) for n in range(20)], "")
    few = replace(OURS, pictures=7)
    rounds = [
        compare.pictures_of_round(few, {"all": samples}, number, 3)["all"].samples
        for number in range(3)
    ]
    assert sorted(sample for read in rounds for sample in read) == sorted(samples.samples[:7])


def test_a_transparent_picture_is_laid_over_white(tmp_path: Path) -> None:
    """It is enlarged if the system wants that; other systems get the file as it is."""
    picture = np.zeros((2, 3, 4), np.uint8)
    picture[:, 1, 3] = 255  # black where it is opaque
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture)
    assert reading.prepare(path, OURS, tmp_path / "unused.png") == path
    changed = reading.prepare(path, replace(OURS, over_white=True), tmp_path / "changed.png")
    assert cv2.imread(str(changed), cv2.IMREAD_UNCHANGED).tolist() == [[255, 0, 255]] * 2
    larger = reading.prepare(path, replace(OURS, over_white=True, scale=3), tmp_path / "large.png")
    assert cv2.imread(str(larger), cv2.IMREAD_UNCHANGED).shape == (6, 9)


@pytest.mark.parametrize(
    ("text", "truth", "right"),
    [("aB1", "Ab1", True), (" a b\n1\f", "AB1", True), ("ab", "abb", False), ("", "a", False)],
)
def test_case_and_space_are_ignored(text: str, truth: str, right: bool) -> None:
    """Everything else counts."""
    assert compare.is_exact_match(text, truth) is right


def test_the_best_path_keeps_doubled_characters() -> None:
    """Repeats are joined, except across a blank."""
    charset = ["a", "b", ""]
    steps = {"a": [0.9, 0.1, 0.0], "b": [0.1, 0.9, 0.0], "-": [0.2, 0.1, 0.7]}
    answer = {"charsets": charset, "probability": [steps[s] for s in "-aa-ab-b"]}
    assert driver.best_path(answer) == "aabb"
