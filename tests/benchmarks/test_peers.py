"""The suite's part on what a user would pick instead, with few pictures and without the network."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("resource", reason="the driver asks it what a process took")

import harness
import peer_driver
import peer_systems
import peers
from harness import SAMPLES, Part

PYTHON = Path(sys.executable)
OURS = replace(peer_systems.SYSTEMS["captcha-rt"], environment=None)
KINDS = {
    "two": peers.Kind([(path, path.stem.upper()) for path in SAMPLES[:2]], "x"),
    "wrong": peers.Kind([(SAMPLES[2], SAMPLES[2].stem), (SAMPLES[3], "wrong")], "x"),
}


def test_ours_reads_the_samples_in_the_driver() -> None:
    """Each picture has its text, its CPU time and its wall time."""
    kind = peers.Kind([(path, path.stem) for path in SAMPLES], "x")
    row = peers.read(PYTHON, OURS, {"samples": kind})["samples"]
    assert row["texts"] == [path.stem for path in SAMPLES]
    assert len(row["cpu"]) == len(row["wall"]) == len(SAMPLES)
    assert min(row["cpu"] + row["wall"]) > 0


def test_a_start_says_what_the_process_took() -> None:
    """By the command and by a script, whose stages are parts of the whole."""
    row = peers.start(PYTHON, OURS)
    assert row["command"]["output"].strip() == SAMPLES[0].stem
    script = row["script"]
    assert [*script["stages"]] == ["python", "imports", "model", "first picture"]
    assert 0 < sum(script["stages"].values()) <= script["cpu_ms"]
    assert 10 < script["peak_mb"] < 1000


def test_what_cannot_be_had_is_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed install, a package and a program that aren't there; and a stop costs no row."""
    monkeypatch.setattr(harness, "RUNS", tmp_path)
    systems = {
        "no wheel": replace(OURS, environment="broken"),
        "no package": replace(OURS, reader="ddddocr-of-nobody"),
        "no program": replace(peer_systems.SYSTEMS["Tesseract"], command=("tesseract-of-nobody",)),
        "captcha-rt": OURS,
    }
    small = {"folder": tmp_path / "environments", "rounds": 2, "starts": 2}
    environments = {"broken": (str(tmp_path / "made-up.whl"),)}
    found = peers.measure(Part("peers"), systems, environments, KINDS, **small)
    assert [*found] == [*systems]
    assert "made-up.whl" in found["no wheel"]["missing"]
    assert "ddddocr-of-nobody" in found["no package"]["missing"]
    assert "tesseract-of-nobody" in found["no program"]["missing"]
    ours = found["captcha-rt"]
    assert ours.keys() == {
        *("version", "setting", "installed_mb", "sets", "cold_start", "peak_mb"),
    }
    assert ours["sets"].keys() == KINDS.keys()
    assert [its["errors"] for its in ours["sets"].values()] == [0, 1]
    for its in ours["sets"].values():
        assert its["pictures"] == 2
        assert its["exact_match"] == 1 - its["errors"] / 2
        assert its["interval"][0] <= its["exact_match"] <= its["interval"][1]
        assert its["wall_ms"].keys() == {"p50", "p90", "p99"}
        assert its["latencies"] == sorted(its["latencies"])
        assert len(its["latencies"]) == peers.LATENCIES
    assert ours["cold_start"]["of"] == "command"
    assert ours["cold_start"]["stages"].keys() >= {"python", "exit"}
    again = peers.measure(Part("peers"), {"captcha-rt": OURS}, {}, KINDS, **small)
    assert json.dumps(again["captcha-rt"]) == json.dumps(ours)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract isn't there")
def test_tesseract_reads_the_same_picture_by_picture_and_by_a_list() -> None:
    """One process tells the pages apart, empty ones too; both say what their processes took."""
    kinds = {"samples": peers.Kind([(p, p.stem) for p in SAMPLES], "2345678bcdefgmnpwxy")}
    alone = peers.read(PYTHON, peer_systems.SYSTEMS["Tesseract"], kinds)["samples"]
    listed = peers.read(PYTHON, peer_systems.SYSTEMS["Tesseract, one process"], kinds)["samples"]
    assert [t.strip() for t in alone["texts"]] == [t.strip() for t in listed["texts"]]
    assert min(listed["cpu"] + alone["cpu"]) > 0


def test_every_system_is_one_that_the_driver_knows() -> None:
    """And runs in an environment that is made, if it needs one."""
    for system in peer_systems.SYSTEMS.values():
        assert system.reader in {*peer_driver.READERS, "tesseract-list"}
        assert system.environment in {*peer_systems.ENVIRONMENTS, None}
        assert (system.environment is None) == system.is_program
        assert not system.options or {*system.options} == {"beta", "range"}


def test_the_rounds_share_all_pictures() -> None:
    """Each of a system's first pictures is read in exactly one round."""
    kind = peers.Kind([(Path(str(n)), str(n)) for n in range(20)], "")
    few = replace(OURS, pictures=7)
    shares = [peers.share(few, {"all": kind}, turn, 3)["all"].items for turn in range(3)]
    assert sorted(item for items in shares for item in items) == sorted(kind.items[:7])


def test_a_transparent_picture_is_laid_over_white(tmp_path: Path) -> None:
    """And enlarged; who takes it as it is gets its own file."""
    picture = np.zeros((2, 3, 4), np.uint8)
    picture[:, 1, 3] = 255  # black where it is opaque
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture)
    assert peers.prepare(path, OURS, tmp_path / "unused.png") == path
    changed = peers.prepare(path, replace(OURS, over_white=True), tmp_path / "changed.png")
    assert cv2.imread(str(changed), cv2.IMREAD_UNCHANGED).tolist() == [[255, 0, 255]] * 2
    larger = peers.prepare(path, replace(OURS, over_white=True, scale=3), tmp_path / "large.png")
    assert cv2.imread(str(larger), cv2.IMREAD_UNCHANGED).shape == (6, 9)


@pytest.mark.parametrize(
    ("text", "truth", "right"),
    [("aB1", "Ab1", True), (" a b\n1\f", "AB1", True), ("ab", "abb", False), ("", "a", False)],
)
def test_case_and_space_are_ignored(text: str, truth: str, right: bool) -> None:
    """Nothing else is."""
    assert peers.same(text, truth) is right


def test_thebest_path_keeps_doubled_characters() -> None:
    """Repeats are joined, but not across a blank."""
    charset = ["a", "b", ""]
    steps = {"a": [0.9, 0.1, 0.0], "b": [0.1, 0.9, 0.0], "-": [0.2, 0.1, 0.7]}
    answer = {"charsets": charset, "probability": [steps[s] for s in "-aa-ab-b"]}
    assert peer_driver.best_path(answer) == "aabb"
