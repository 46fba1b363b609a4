"""The part `gpu` at small sizes on the CPU: everything except CUDA."""

import time
from pathlib import Path

import numpy as np
import pytest
from measured import MEASURED, START

pytest.importorskip("captcha_rt_export", reason="the benchmarks need training and export")

from benchmarks import harness
from benchmarks.harness import RESULTS, ROOT, read_json
from benchmarks.speed import gpu, gpu_tables, gpu_ways
from captcha_rt import ProviderError, Solver
from captcha_rt.device import CPU, CUDA, CUDA_OPTIONS
from captcha_rt.model import load_model
from captcha_rt.session import Session


@pytest.fixture
def no_cuda() -> None:
    """Skips where CUDA works."""
    try:
        Solver(device="cuda")
    except ProviderError:
        return
    pytest.skip("CUDA works here")


def columns(count: int) -> np.ndarray:
    """Inputs of the tiny model, `(count, 16, 4, 1)`, whose columns have its four grey levels."""
    levels = np.random.default_rng(0).integers(4, size=(count, 16, 1, 1)) / 3
    return np.tile(levels.astype(np.float32), (1, 1, 4, 1))


def test_a_float_model_is_run_in_all_ways(stripes: Path) -> None:
    """All precisions give the same texts; only half precision gives other scores."""
    model = load_model(stripes)
    rows = gpu.measure(model, columns(6), 2, device="cpu", rounds=1)
    own, others = [r for r in rows if "threads" in r], [r for r in rows if "threads" not in r]
    assert {row["threads"] for row in own} >= {1}
    ways = [(r["precision"], r["tf32"], r["how"], r["copies"]) for r in others]
    assert ways == [
        (precision, tf32, how, copies)
        for precision, tf32 in (("float32", False), ("float32", True), ("float16", True))
        for how, copies in (("numpy", True), ("bound", True), ("bound", False))
    ]
    for row in rows:
        assert row["provider"] == CPU
        assert row["batch"] == 2
        assert row["agreement"] == 1
        assert row["pictures_a_second"] == pytest.approx(2000 / row["p50"], rel=1e-3)
        assert (row["largest_difference"] > 0) == (row.get("precision") == "float16")


def test_a_quantised_model_is_run_as_it_is() -> None:
    """The embedded model has one precision, and reads most generated pictures right."""
    model = load_model()
    inputs, shown = gpu.generated(model, 4)
    [whole] = gpu_ways.precisions(model.data)
    assert whole.name == "int8"
    described = gpu.describe(model, inputs, shown, "cpu")
    assert described["exact_match_on_cpu"] >= 0.5
    assert described["nodes"][0]["nodes"].keys() == {CPU}


def test_bound_buffers_hold_the_inputs_that_were_copied_last(stripes: Path) -> None:
    """Scores follow the inputs; scores that were returned before do not change."""
    model = load_model(stripes)
    session = Session(model.data, model.manifest, providers=[CPU])
    inputs = columns(4)
    read, replay = gpu_ways.bind(session, model.manifest, 2, "cpu")
    first, second = read(inputs[:2]), read(inputs[2:])
    replay()
    np.testing.assert_array_equal(np.concatenate([first, second]), session.run(inputs))
    assert (first != second).any()


def test_similarity_sees_other_answers(stripes: Path) -> None:
    """One of two pictures is expected to have the text of the other."""
    model = load_model(stripes)
    inputs = columns(2)
    way = next(gpu_ways.cpu_ways(model, inputs))
    expected = way.read(inputs)
    expected[1] = way.read(inputs[:1])[0]
    alike = gpu.similarity(way, inputs, 2, expected, model.manifest)
    assert alike["agreement"] == 0.5
    assert alike["largest_difference"] > 0.1


def test_every_model_is_measured_at_every_batch_size(tmp_path: Path) -> None:
    """Models without a run are listed as skipped; a second time nothing is measured again."""
    part = harness.Part("gpu", runs=tmp_path)
    found = gpu.measure_all(part, device="cpu", batches=(1, 2), rounds=1)
    assert found["models"].keys() == {"default"}
    assert found["skipped"] == [
        f"{name}: there is no benchmarks/runs/{file}" for name, file in gpu.MODELS.items() if file
    ]
    assert {(row["model"], row["batch"]) for row in found["rows"]} == {
        ("default", n) for n in (1, 2)
    }
    assert "onnxruntime" in found["versions"]
    assert gpu.measure_all(part, device="cpu", batches=(1, 2), rounds=1)["rows"] == found["rows"]


def test_a_graph_that_stays_partly_on_the_cpu_is_not_captured() -> None:
    """The reason takes the place of onnxruntime's error."""
    gpu.refuse_capture({CUDA: 24})
    with pytest.raises(ProviderError, match="7 of 51 nodes stay on the CPU"):
        gpu.refuse_capture({CUDA: 44, CPU: 7})


def test_slow_ways_have_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long has three rounds, and what is fast all of them."""
    way = gpu_ways.Way({}, lambda: time.sleep(0.02), lambda inputs: inputs)
    assert gpu.fitting([way], runs=1, rounds=21) == 21
    monkeypatch.setattr(gpu, "GROUP_SECONDS", 0.1)
    assert gpu.fitting([way], runs=10, rounds=21) == 3
    assert gpu.fitting([way], runs=10, rounds=1) == 1


def test_the_tables_show_the_committed_rows(capsys) -> None:
    """Every model and batch size has a line, and what failed its reason."""
    result = read_json(RESULTS / "gpu.json")
    shown = gpu.table(result)
    batches = {(row["model"], row["batch"]) for row in result["rows"]}
    assert len([line for line in shown.splitlines() if line.startswith("| `")]) == len(batches)
    assert "| `crnn` | 8 | 9.36 ms | 2.83 ms | 3.58 ms |" in shown
    assert "- `default`: ModelError" in shown
    gpu.main(["--table"])
    assert capsys.readouterr().out in (ROOT / "README.md").read_text("utf-8")


def test_the_runtime_is_tested_with_the_committed_rows() -> None:
    """The figures that the test of `auto` holds are those of one thread and of CUDA."""
    found = {
        (model, batch): (ways["CPU, one thread"], ways["CUDA"])
        for model, batch, ways in gpu_tables.by_batch(read_json(RESULTS / "gpu.json"))
    }
    assert found.items() >= MEASURED.items()
    solve = read_json(RESULTS / "gpu.json")["solve"]
    later = solve["cuda"]["cold_start_wall_ms"] - solve["cpu"]["cold_start_wall_ms"]
    assert later / 1000 < START


@pytest.mark.usefixtures("no_cuda")
def test_the_cpu_is_never_called_cuda(stripes: Path) -> None:
    """Every way on CUDA fails in its row, and only the CPU has times."""
    rows = gpu.measure(load_model(stripes), columns(2), 1, rounds=1)
    failed = [row for row in rows if "failed" in row]
    assert {row["how"] for row in failed} == {"numpy", "bound", "captured"}
    assert all("ProviderError" in row["failed"] and "p50" not in row for row in failed)
    assert all("threads" in row for row in rows if "p50" in row)


@pytest.mark.usefixtures("no_cuda")
def test_without_cuda_nothing_is_written(tmp_path: Path, capsys) -> None:
    """The command says why and what to type, and ends with exit code 0."""
    gpu.main([], runs=tmp_path, results=tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("not measured yet: this onnxruntime has no CUDA")
    assert "captcha-rt[gpu]" in said
    assert not [*tmp_path.iterdir()]


def test_cuda_is_asked_for_with_the_runtimes_options() -> None:
    """The measured options are added to them, by onnxruntime's names."""
    [(name, options), fallback] = gpu_ways.providers("cuda", tf32=False, captured=True)
    assert (name, fallback) == (CUDA, CPU)
    assert options == {**CUDA_OPTIONS, "use_tf32": 0, "enable_cuda_graph": 1}
