"""`captcha-rt export` in real processes, and its check against Keras."""

import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from captcha_rt import Solver, decode_image, load_model
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt_export.convert import convert
from captcha_rt_export.errors import ExportError
from captcha_rt_export.export import check_parity


@pytest.fixture(scope="session")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run as a model file."""
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    program = [sys.executable, "-m", "captcha_rt", "export", trained_run, "-o", path]
    result = subprocess.run(program, check=True, capture_output=True, text=True)
    assert f"{path.stat().st_size:,} bytes" in result.stdout
    assert "LSTM 2" in result.stdout
    assert "checked against Keras on 8 pictures at batch 1, 3, 64: same texts" in result.stdout
    return path


@pytest.fixture(scope="module")
def model(trained_run: Path) -> keras.Model:
    return keras.models.load_model(trained_run / "model.keras", compile=False)


@pytest.fixture(scope="module")
def manifest(trained_run: Path) -> Manifest:
    return Manifest.from_json((trained_run / "manifest.json").read_bytes())


def test_the_file_describes_itself(exported: Path, manifest: Manifest) -> None:
    """All that the run knew stands in the file."""
    assert replace(load_model(exported).manifest, graph=None) == manifest


def test_texts_through_the_runtime_are_kerass(
    exported: Path, model: keras.Model, manifest: Manifest, sample_folder: Path
) -> None:
    """From files to texts, both ways."""
    paths = sorted(sample_folder.iterdir())
    inputs = np.stack([manifest.recipe.apply(decode_image(path)) for path in paths])
    scores = model.predict(inputs, verbose=0)
    decoded, _ = keras.ops.ctc_decode(scores, np.full(len(paths), 50), strategy="greedy")
    expected = [
        manifest.charset.decode(int(i) for i in row if i >= 0)
        for row in keras.ops.convert_to_numpy(decoded)[0]
    ]
    solver = Solver(exported)
    assert [solver.solve(path).text for path in paths] == expected
    assert [answer.text for answer in solver.solve_batch(paths)] == expected


def test_real_pictures_too(command, trained_run: Path, tmp_path: Path, captcha_data: Path) -> None:
    """Another folder can be checked on: here all real pictures of the kind."""
    out = tmp_path / "model.onnx"
    result = command("export", trained_run, "-o", out, "--pictures", captcha_data / "captcha_v2")
    assert "checked against Keras on 936 pictures" in result.stdout
    assert out.exists()


def inputs(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).random((n, 200, 50, 1), np.float32)


def test_other_values_are_refused(model: keras.Model, manifest: Manifest) -> None:
    """Weights that differ by a thousandth don't pass; the message says by how much."""
    graph = convert(model).SerializeToString()
    check_parity(model, graph, manifest, inputs())
    other = keras.models.clone_model(model)
    other.set_weights([w * np.float32(1.001) for w in model.get_weights()])
    with pytest.raises(ExportError, match=r"at batch 1 ONNX differs from Keras by \d\.\d+e-0\d in"):
        check_parity(other, graph, manifest, inputs())


@pytest.mark.parametrize(
    "values",
    [
        {"input": Tensor("picture", (None, 200, 50, 1))},
        {"output": Tensor("logits", (None, 49, 20))},
    ],
)
def test_another_description_is_refused(
    model: keras.Model, manifest: Manifest, values: dict[str, Tensor]
) -> None:
    """Names, axes and shapes come before values."""
    charset = manifest.charset
    values = {
        name: Tensor(t.name, (*t.shape[:-1], charset.classes if name == "output" else t.shape[-1]))
        for name, t in values.items()
    }
    graph = convert(model).SerializeToString()
    with pytest.raises(ExportError, match="doesn't fit its description"):
        check_parity(model, graph, replace(manifest, **values), inputs())


def test_a_run_that_is_not_finished_is_refused(command, tmp_path: Path) -> None:
    """One line with the command to type, exit code 3, no file."""
    result = command("export", tmp_path, "-o", tmp_path / "model.onnx")
    assert result.returncode == 3
    assert "holds no finished run" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "model.onnx").exists()


def test_pictures_that_are_gone_are_named(command, trained_run: Path, tmp_path: Path) -> None:
    """A run whose pictures were moved says so, and how to name others."""
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    table = (run / "pictures.csv").read_text()
    (run / "pictures.csv").write_text(table.replace("samples", "moved"))
    result = command("export", run, "-o", tmp_path / "model.onnx")
    assert result.returncode == 3
    assert "8 of the run's pictures are gone" in result.stderr
    assert "--pictures" in result.stderr


def test_a_killed_export_leaves_no_half_file(
    command, trained_run: Path, tmp_path: Path, exported: Path
) -> None:
    """Kill -9 with the last byte written but not yet in its place: nothing, or what was there."""
    out = tmp_path / "model.onnx"
    code = (
        "import os, signal, sys\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from captcha_rt.cli import main; main()"
    )
    program = [sys.executable, "-c", code, "export", str(trained_run), "-o", str(out)]
    assert subprocess.run(program, check=False, capture_output=True).returncode == -9
    assert not out.exists()
    shutil.copy(exported, out)
    assert subprocess.run(program, check=False, capture_output=True).returncode == -9
    assert out.read_bytes() == exported.read_bytes()
    assert command("export", trained_run, "-o", out).returncode == 0
    assert list(tmp_path.iterdir()) == [out]  # what the killed ones left is gone


@pytest.mark.parametrize("missing", ["model.keras", "pictures.csv"])
def test_a_damaged_run_is_refused(command, trained_run: Path, tmp_path: Path, missing: str) -> None:
    """A run that lost a file says which, in one line."""
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    (run / missing).unlink()
    result = command("export", run, "-o", tmp_path / "model.onnx")
    assert result.returncode == 3
    assert missing in result.stderr or "the split" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_tiny_models_are_what_their_script_makes() -> None:
    """`python tests/models/make_models.py` writes the committed files."""
    script = runpy.run_path(str(Path(__file__).parent.parent / "models" / "make_models.py"))
    for path, make in script["MODELS"].items():
        assert make() == path.read_bytes()
