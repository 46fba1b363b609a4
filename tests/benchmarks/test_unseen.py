"""The command `unseen`: the drawn pictures, the summaries and the tables."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

pytest.importorskip("resource", reason="the driver measures CPU time with it")
pytest.importorskip("captcha_rt_train", reason="the benchmarks need training and export")

from benchmarks.harness import SAMPLES, Part, read_json
from benchmarks.peers import draw, generators, reading, unseen
from benchmarks.peers.unseen_tables import RANGE, table


def draw_captchas(folder: Path, count: int) -> reading.PictureSet:
    """Draws with Lepture's package, in this environment."""
    arguments = [generators.DRAW, "captcha", folder, str(count)]
    subprocess.run([sys.executable, *arguments], check=True)
    return generators.labelled(folder)


def test_the_same_pictures_are_drawn_each_time(tmp_path: Path) -> None:
    """Also if fewer of them are drawn; and each picture differs from the others."""
    pytest.importorskip("captcha", reason="the package draws the pictures")
    many, few = draw_captchas(tmp_path / "many", 5), draw_captchas(tmp_path / "few", 3)
    files = [path.read_bytes() for path, _ in many.samples]
    assert len({*files}) == 5
    assert [path.read_bytes() for path, _ in few.samples] == files[:3]
    assert [text for _, text in few.samples] == [text for _, text in many.samples][:3]
    assert all(4 <= len(text) <= 6 for _, text in many.samples)
    assert cv2.imread(str(many.samples[0][0])).shape == (60, 160, 3)


def test_every_generator_is_known_to_the_script() -> None:
    """Its requirements name the versions."""
    assert [*generators.ALL] == [*draw.GENERATORS]
    for generator in generators.ALL.values():
        assert all("==" in requirement for requirement in generator.requirements)


@pytest.mark.parametrize("range_", ["", RANGE], ids=["plain", "range"])
def test_ours_reads_with_and_without_the_characters(tmp_path: Path, range_: str) -> None:
    """Each set has its accuracy, its time, and the number of accepted answers."""
    name = f"captcha-rt{range_}"
    ours = {name: replace(unseen.COMPARED[name], environment=None)}
    samples = [(path, path.stem) for path in SAMPLES]
    known = "".join(sorted({*"".join(text for _, text in samples)}))
    sets = {"samples": reading.PictureSet(samples, known)}
    found = unseen.measure(Part("unseen", runs=tmp_path), ours, sets)[name]
    row = found["sets"]["samples"]
    assert row["pictures"] == row["right"] == len(SAMPLES)
    assert row["exact_match"] == 1
    assert 0 < row["accepted_right"] == row["accepted"] <= len(SAMPLES)
    assert row["cpu_ms"] > 0


def test_a_summary_counts_what_is_right_and_accepted() -> None:
    """Case does not count; only a system that says what it accepts has these numbers."""
    rounds = [
        {"texts": ["AB", "x"], "accepted": [True, True], "cpu": [1.0, 3.0]},
        {"texts": ["c"], "accepted": [False], "cpu": [2.0]},
    ]
    row = unseen.summarize(["ab", "y", "C"], rounds)
    assert (row["pictures"], row["right"], row["cpu_ms"]) == (3, 2, 2.0)
    assert (row["accepted"], row["accepted_right"]) == (2, 1)
    assert row["interval"][0] < row["exact_match"] < row["interval"][1]
    silent = [{**answer, "accepted": [None] * len(answer["texts"])} for answer in rounds]
    assert "accepted" not in unseen.summarize(["ab", "y", "C"], silent)


def test_the_means_are_over_the_sets_of_a_group() -> None:
    """`unseen` has all sets but those of the trained kinds; an empty group has no mean."""
    sets = {
        name: {"exact_match": value} for name, value in zip("abcd", (1, 0, 0.5, 1), strict=True)
    }
    found = unseen.means(sets, {"drawn": ["a", "b"], "foreign": ["c"], "trained": ["d"]})
    assert found == {"drawn": 0.5, "foreign": 0.5, "unseen": 0.5, "trained": 1.0}
    assert unseen.means(sets, {"drawn": [], "foreign": ["c"], "trained": []}).keys() == {
        *("foreign", "unseen"),
    }


def small_result() -> dict:
    """Two systems with and without a range, and a missing one, on two sets."""
    groups = {"drawn": ["svg"], "foreign": [], "trained": ["court"]}

    def system(*exact: float) -> dict:
        sets = {
            name: {
                "pictures": 10,
                "exact_match": value,
                "cpu_ms": 1.5,
                "accepted": 5,
                "accepted_right": 4,
            }
            for name, value in zip(("svg", "court"), exact, strict=True)
        }
        found = {"version": "1", "setting": "as it comes", "sets": sets}
        return {**found, "means": unseen.means(sets, groups)}

    return {
        "sets": {"svg": {"group": "drawn"}, "court": {"group": "trained"}},
        "missing_sets": {"wheezy": "there is no npm"},
        "systems": {
            "captcha-rt": system(0.5, 1.0),
            "captcha-rt, range": system(0.6, 1.0),
            "other": system(0.7, 0.2),
            "other, range": system(0.6, 0.3),
            "absent": {"missing": "no wheel"},
        },
    }


def test_the_tables_name_what_is_won_and_what_is_lost() -> None:
    """Systems that know the characters are compared with each other only."""
    text = table(small_result())
    assert "| svg | 50.0% | 70.0% |\n| court \\* | 100.0% | 20.0% |\n" in text
    assert "| svg | 60.0% | 60.0% |\n" in text
    assert "| mean of the kinds that nobody was trained on | 50.0% | 70.0% |\n" in text
    assert "| svg | 1.50 ms | 1.50 ms |\n" in text
    assert "| svg | 50.0% | 80.0% |\n" in text
    lost, won = text.split("Where captcha-rt reads as many or more")
    assert "- svg: ours 50.0%, other 70.0%\n" in lost
    assert "- court \\*: ours 100.0%, other 20.0%\n" in won
    assert "- svg, range: ours 60.0%, other 60.0%\n" in won
    assert "- absent: not measured: no wheel\n- wheezy drew nothing: there is no npm\n" in text


def test_the_committed_result_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`--table` prints a row for each set."""
    result = read_json(unseen.RESULTS / "unseen.json")
    unseen.main(["--table"])
    printed = capsys.readouterr().out
    assert printed == table(result)
    for name in result["sets"]:
        assert f"\n| {name} " in printed
