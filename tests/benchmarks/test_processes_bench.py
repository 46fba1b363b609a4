"""The benchmark of several processes, on few pictures."""

from pathlib import Path

from benchmarks.harness import Part
from benchmarks.speed.processes import measure, table


def test_processes_are_compared(tmp_path: Path) -> None:
    """There is a row for each number of processes and of files, and the folders are removed."""
    part = Part("processes", runs=tmp_path, results=tmp_path)
    result = measure(part, sizes=(10, 300), files=(50,), rounds=1)
    assert [row["processes"] for row in result["speed"]][:2] == [1, 2]
    assert result["speed"][0]["ratio"] == 1
    assert 50 < result["memory"][0]["peak_mb"] < 500
    assert "| 50 | " in table(result)
    assert not [*(tmp_path / "processes").glob("*/files")]
