"""The suite: rows that survive a stop, and the report on what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need training and export")

from benchmarks import COMMANDS, __main__, harness, report, suite
from benchmarks.harness import RESULTS, ROOT, Part, percentiles
from benchmarks.peers import tables


@pytest.fixture
def part(tmp_path: Path):
    """Makes a part whose rows and results go to another folder."""

    def make(name: str = "part", **options: str) -> Part:
        return Part(name, runs=tmp_path, results=tmp_path, **options)

    return make


def test_a_row_is_measured_once(tmp_path: Path, part) -> None:
    """A stopped part keeps its rows until it is finished."""
    assert part().row("one", lambda: {"ms": 1}) == {"ms": 1}
    assert part().row("one", lambda: {"ms": 2}) == {"ms": 1}
    assert not part().finished
    part().finish({"rows": []})
    assert part().finished
    assert part().row("one", lambda: {"ms": 3}) == {"ms": 3}
    result = json.loads((tmp_path / "part.json").read_text("utf-8"))
    assert result.keys() == {"rows", "commit", "machine"}


def test_a_row_of_other_code_is_measured_again(part) -> None:
    """Rows of another state of the code are not mixed with new ones."""
    part().row("one", lambda: 1)
    part().finish({})
    part("other").row("one", lambda: 1)
    assert not part(state="changed").finished
    assert part("other", state="changed").row("one", lambda: 2) == 2


def test_percentiles_are_those_of_numpy() -> None:
    """They interpolate linearly."""
    values = [5.0, 1.0, 2.0, 9.0, 4.0]
    assert percentiles(values) == {"p50": 4.0, "p90": 7.4, "p99": 8.84}
    assert percentiles([3.0]) == {"p50": 3.0, "p90": 3.0, "p99": 3.0}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_main(name: str, capsys) -> None:
    """The table names modules that exist, and each explains its options."""
    with pytest.raises(SystemExit) as ended:
        __main__.main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: python -m benchmarks {name} " in capsys.readouterr().out


def test_without_a_name_all_commands_are_listed(capsys) -> None:
    """Each command has a line. After a wrong name the list comes with exit code 2."""
    __main__.main([])
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()[2:]] == [*COMMANDS]
    with pytest.raises(SystemExit) as ended:
        __main__.main(["nothing"])
    assert ended.value.code == 2
    assert "no benchmark 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["default", "documents", "search", "suite", "peers", "unseen", "origin"]
)
def test_without_real_pictures_a_command_ends(
    name: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable, and the exit code is 2."""
    monkeypatch.delenv("CAPTCHA_DATA", raising=False)
    with pytest.raises(SystemExit) as ended:
        __main__.main([name])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == "CAPTCHA_DATA does not name the folder of real labelled pictures"


def test_every_part_shows_its_result() -> None:
    """The parts are commands; the module of each has a table and plots."""
    assert report.TITLES.keys() <= COMMANDS.keys()
    for name in report.TITLES:
        module = report.part_module(name)
        assert callable(module.table)
        assert isinstance(module.PLOTS, tuple)


def test_the_committed_report_is_of_the_committed_results(tmp_path: Path) -> None:
    """A new report from these results is the same, and so are the names of its plots."""
    for path in RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    report.main([], results=tmp_path)
    assert (tmp_path / "report.md").read_text("utf-8") == (RESULTS / "report.md").read_text("utf-8")
    assert {path.name for path in tmp_path.glob("*.png")} <= {p.name for p in RESULTS.iterdir()}


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    """Without results the report says of each part that it was not measured."""
    report.main([], results=tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert text.count("Not measured yet.") == len(report.TITLES)


def test_other_systems_win_where_their_number_is_better() -> None:
    """A higher accuracy is better, and less of everything else; a missing system never wins."""

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
    won = list(tables.where_others_win({"systems": systems}))
    assert [line.split()[0] for line in won] == ["small", "small", "small", "slow"]
    assert won[-1] == "slow reads 100.0% of court, ours 99.0%"


def test_a_failing_part_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command measures the other parts, writes the report, and ends with 1."""
    ran = tmp_path / "ran"
    programs = {"bad": "raise SystemExit(3)", "good": f"open({str(ran)!r}, 'w').close()"}
    monkeypatch.setenv("CAPTCHA_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        suite.main(
            [],
            parts=[*programs],
            runs=tmp_path,
            results=tmp_path,
            command=lambda name: [sys.executable, "-c", programs[name]],
        )
    assert ended.value.code == 1
    assert ran.exists()
    assert (tmp_path / "report.md").exists()


def test_git_knows_what_is_measured() -> None:
    """The pathspecs match files, so that a change of them is noticed."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *harness.MEASURED],  # noqa: S607  (as the user's PATH has it)
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "runtime/captcha_rt/solver.py\n" in listed
    assert "benchmarks/peers/compare.py\n" in listed
    assert "benchmarks/report.py\n" not in listed
