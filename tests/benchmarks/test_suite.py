"""The suite: rows that survive a stop, and the report on what was measured."""

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need training and export")

import harness
import report
import suite
from harness import HERE, RESULTS, Part, percentiles


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows and results go to another folder."""
    monkeypatch.setattr(harness, "RUNS", tmp_path)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    return tmp_path


def test_a_row_is_measured_once(elsewhere: Path) -> None:
    """A part that was stopped takes up its rows, until it is finished."""
    assert Part("part").row("one", lambda: {"ms": 1}) == {"ms": 1}
    assert Part("part").row("one", lambda: {"ms": 2}) == {"ms": 1}
    assert not Part("part").finished
    Part("part").finish({"rows": []})
    assert Part("part").finished
    assert Part("part").row("one", lambda: {"ms": 3}) == {"ms": 3}
    result = json.loads((elsewhere / "part.json").read_text("utf-8"))
    assert result.keys() == {"rows", "commit", "machine"}


def test_a_row_of_other_code_is_measured_again(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured of another state doesn't mix with what is measured now."""
    Part("part").row("one", lambda: 1)
    Part("part").finish({})
    Part("other").row("one", lambda: 1)
    monkeypatch.setattr(harness, "state", lambda: "changed")
    assert not Part("part").finished
    assert Part("other").row("one", lambda: 2) == 2
    assert elsewhere.exists()


def test_percentiles_are_those_of_numpy() -> None:
    """They interpolate as everyone's do."""
    values = [5.0, 1.0, 2.0, 9.0, 4.0]
    assert percentiles(values) == {"p50": 4.0, "p90": 7.4, "p99": 8.84}
    assert percentiles([3.0]) == {"p50": 3.0, "p90": 3.0, "p99": 3.0}


def test_every_part_is_a_script() -> None:
    """The suite names files that exist, and the report has a title for each."""
    assert all((HERE / f"{name}.py").exists() for name in suite.PARTS)
    assert set(report.TITLES) == set(suite.PARTS)


def test_the_committed_report_is_of_the_committed_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made anew it is the same, plots and all."""
    for path in RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.main()
    assert (tmp_path / "report.md").read_text("utf-8") == (RESULTS / "report.md").read_text("utf-8")
    assert {path.name for path in tmp_path.glob("*.png")} <= {p.name for p in RESULTS.iterdir()}


def test_what_was_not_measured_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without results the report has no figures, and says so of each part."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.main()
    text = (tmp_path / "report.md").read_text("utf-8")
    assert text.count("Not measured yet.") == len(suite.PARTS)


def test_other_systems_win_where_their_figure_is_better() -> None:
    """Accuracy counts upwards, all else downwards; what is missing wins nothing."""

    def system(exact: float, cpu: float, start: float, peak: float, size: float | None) -> dict:
        sets = {"court": {"exact_match": exact, "cpu_ms": cpu}}
        cold = {"cpu_ms": start}
        return {"sets": sets, "cold_start": cold, "peak_mb": peak, "installed_mb": size}

    systems = {
        "captcha-rt": system(0.99, 0.3, 200, 90, 300),
        "small": system(0.10, 7, 150, 30, 20),
        "slow": system(1.00, 9, 400, 100, None),
        "absent": {"missing": "not here"},
    }
    won = list(report.where_others_win({"systems": systems}))
    assert [line.split()[0] for line in won] == ["small", "small", "small", "slow"]
    assert won[-1] == "slow reads 100.0% of court, ours 99.0%"


def test_a_failing_part_stops_no_other(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command goes on, writes the report, and ends with 1."""
    parts = elsewhere / "parts"
    parts.mkdir()
    (parts / "bad.py").write_text("raise SystemExit(3)")
    (parts / "good.py").write_text("open('ran', 'w').close()")
    monkeypatch.setattr(suite, "HERE", parts)
    monkeypatch.setattr(suite, "PARTS", ("bad", "good"))
    monkeypatch.setattr(report, "RESULTS", elsewhere)
    monkeypatch.setattr("sys.argv", ["suite.py"])
    monkeypatch.setenv("CAPTCHA_DATA", str(elsewhere))
    monkeypatch.chdir(elsewhere)
    with pytest.raises(SystemExit) as ended:
        suite.main()
    assert ended.value.code == 1
    assert (elsewhere / "ran").exists()
    assert (elsewhere / "report.md").exists()


def test_git_knows_what_is_measured() -> None:
    """The pathspecs name files, so that a change of them is noticed."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *harness.MEASURED],  # noqa: S607  (as the user's PATH has it)
        cwd=HERE.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "runtime/captcha_rt/solver.py\n" in listed
    assert "benchmarks/peers.py\n" in listed
    assert "benchmarks/report.py\n" not in listed
