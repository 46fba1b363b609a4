"""The benchmark of several processes, on few pictures."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import Part
from benchmarks.speed.processes import add_cluster, measure, table


def test_processes_are_compared(tmp_path: Path) -> None:
    """There is a row for each number of processes and of files, and the folders are removed."""
    part = Part("processes", runs=tmp_path, results=tmp_path)
    result = measure(part, sizes=(10, 300), files=(50,), rounds=1)
    assert [row["processes"] for row in result["speed"]][:2] == [1, 2]
    assert result["speed"][0]["ratio"] == 1
    assert 50 < result["memory"][0]["peak_mb"] < 500
    assert "| 50 | " in table(result)
    assert not [*(tmp_path / "processes").glob("*/files")]


def test_a_clusters_row_joins_the_result(tmp_path: Path) -> None:
    """Each picture is answered as one process answers it, and the other rows stay."""
    pytest.importorskip("distributed", reason="needs captcha-rt[dask]")
    file = tmp_path / "processes.json"
    file.write_text('{"speed": [], "memory": [], "commit": "x"}')
    add_cluster(Part("processes", runs=tmp_path, results=tmp_path), 300)
    result = json.loads(file.read_text("utf-8"))
    assert (result["commit"], result["cluster"]["pictures"]) == ("x", 300)
    assert result["cluster"]["different"] == 0
    assert "| 300 | " in table(result)
