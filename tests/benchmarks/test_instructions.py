"""The guard against more instructions, and its committed baseline."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

pytest.importorskip("captcha_rt_train", reason="the benchmarks need captcha-rt-train")

from benchmarks.speed import instructions

ROOT = Path(__file__).parents[2]
BASELINE = json.loads(instructions.BASELINE.read_text("utf-8"))
COUNTS = BASELINE["instructions"]
ALLOWED = BASELINE["tolerance"]["share"], BASELINE["tolerance"]["instructions"]

CHILD = """
import json, os
stages = {"one": 2000, "two": 4000, "solve": 8000}
for rounds in stages.values():
    sum(i for i in range(1000))
    os.getppid()
    sum(i for i in range(rounds))
    os.getppid()
print(json.dumps({"stages": [*stages], "pictures": 10}))
"""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
def test_instructions_are_those_of_each_stage(tmp_path: Path) -> None:
    """A stage with twice the work has twice the count; the start does not count."""
    child = tmp_path / "child.py"
    child.write_text(CHILD, "utf-8")
    found = instructions.measure(child)
    assert list(found) == ["one", "two", "between", "solve"]
    assert 10 * 2000 < 10 * found["one"] < 10_000_000
    assert found["two"] == pytest.approx(2 * found["one"], rel=0.05)
    assert found["solve"] == pytest.approx(4 * found["one"], rel=0.05)
    assert found["between"] == found["solve"] - found["one"] - found["two"]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
def test_a_child_that_fails_is_no_measurement(tmp_path: Path) -> None:
    """The end of the child's error is shown."""
    child = tmp_path / "child.py"
    child.write_text("raise RuntimeError('no such model')", "utf-8")
    with pytest.raises(SystemExit, match="no such model"):
        instructions.measure(child)


@pytest.mark.parametrize("stage", COUNTS)
def test_a_stage_done_twice_is_named(stage: str) -> None:
    """No other stage is named, except the whole if the stage is a large part of the whole."""
    extra = COUNTS[stage]
    slower = {**COUNTS, stage: COUNTS[stage] + extra, "solve": COUNTS["solve"] + extra}
    wrong = instructions.verdict(slower, COUNTS, *ALLOWED)
    assert wrong is not None
    assert f"{stage} +100.0%" in wrong
    named = {other for other in COUNTS if f"{other} +" in wrong}
    assert named - {"solve"} == {stage} - {"solve"}


def test_counts_within_the_tolerance_pass(capsys: pytest.CaptureFixture[str]) -> None:
    """A few percent more or less of everything is noise."""
    for factor in (0.96, 1.04):
        now = {stage: round(count * factor) for stage, count in COUNTS.items()}
        assert instructions.verdict(now, COUNTS, *ALLOWED) is None
    few = {**COUNTS, "between": 3000}
    assert instructions.verdict({**few, "between": 4500}, few, *ALLOWED) is None
    assert "--update" not in capsys.readouterr().err


def test_a_faster_stage_passes_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a later change could use up the gain unnoticed."""
    now = {**COUNTS, "decoder": COUNTS["decoder"] // 2}
    assert instructions.verdict(now, COUNTS, *ALLOWED) is None
    said = capsys.readouterr().err
    assert "--update" in said
    assert "decoder -50.0%" in said


def test_other_stages_are_not_compared() -> None:
    """A renamed stage needs a new baseline."""
    now = {"other" if stage == "recipe" else stage: count for stage, count in COUNTS.items()}
    assert "--update" in str(instructions.verdict(now, COUNTS, *ALLOWED))


@pytest.fixture
def compare(tmp_path: Path):
    """Runs the command against a baseline that was counted elsewhere."""

    def run(**elsewhere: Any) -> None:
        values = {**BASELINE, "platform": {**instructions.platform_here(), **elsewhere}}
        path = tmp_path / "baseline.json"
        path.write_text(json.dumps(values), "utf-8")
        instructions.main([], baseline=path)

    return run


@pytest.mark.parametrize(
    ("name", "value"), [("python", "3.0"), ("avx2", None), ("architecture", "m68k")]
)
def test_another_kind_of_machine_is_not_compared(compare, capsys, name, value) -> None:
    """The command passes, and says that it didn't compare and why."""
    compare(**{name: value}, numpy="0.1")
    said = " ".join(capsys.readouterr().err.split())
    assert "not compared" in said
    assert f"{name} {instructions.platform_here()[name]} here, {value} there" in said


def test_other_libraries_need_a_new_baseline(compare) -> None:
    """The command fails and says how to make one."""
    with pytest.raises(SystemExit, match=r"--update: onnxruntime .* here, 0\.1 there"):
        compare(onnxruntime="0.1")


def test_the_baseline_is_of_the_pinned_libraries() -> None:
    """Otherwise the check in CI would ask for a new one."""
    python = {"python_full_version": BASELINE["platform"]["python"] + ".0"}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {
        found.name: str(found.specifier)
        for found in map(Requirement, lines)
        if found.marker is None or found.marker.evaluate(python)
    }
    for library in instructions.LIBRARIES:
        assert pinned[library] == f"=={BASELINE['platform'][library]}"


def test_the_baseline_adds_up() -> None:
    """The stages and what lies between them sum to the whole, up to rounding."""
    parts = [count for stage, count in COUNTS.items() if stage != "solve"]
    assert abs(sum(parts) - COUNTS["solve"]) <= len(COUNTS)
    assert min(parts) > 0
