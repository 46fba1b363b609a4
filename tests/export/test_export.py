"""`captcha-rt export` in real processes, and its check against Keras."""

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from captcha_rt import Solver, decode_image, load_model
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt_export.convert import convert
from captcha_rt_export.errors import ExportError
from captcha_rt_export.int8 import Candidate, best
from captcha_rt_export.parity import allowed_probability, check_parity


@pytest.fixture(scope="session")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run as a model file."""
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    program = [sys.executable, "-m", "captcha_rt", "export", trained_run, "-o", path]
    result = subprocess.run(program, check=False, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr  # the run has learned nothing
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
    """The file holds the run's manifest, but its graph returns probabilities."""
    output = replace(manifest.output, name="probabilities")
    expected = replace(manifest, scores="probabilities", output=output)
    assert replace(load_model(exported).manifest, graph=None) == expected


def test_texts_through_the_runtime_are_kerass(
    exported: Path, model: keras.Model, manifest: Manifest, sample_folder: Path
) -> None:
    """`Solver` reads the same texts from the files as Keras does."""
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
    """`--pictures` checks on another folder, here on all real pictures of the kind."""
    out = tmp_path / "model.onnx"
    result = command("export", trained_run, "-o", out, "--pictures", captcha_data / "captcha_v2")
    assert "checked against Keras on 936 pictures" in result.stdout
    assert out.exists()


@pytest.mark.parametrize("to", [(), ("--to", "ddddocr")])
def test_the_pictures_may_be_in_an_archive(
    call,
    trained_run: Path,
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: tuple[str, ...],
) -> None:
    """`--pictures x.zip` is the folder in it, whatever is made."""
    monkeypatch.setenv("CAPTCHA_RT_CACHE", str(tmp_path / "cache"))
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", sample_folder)
    out = tmp_path / ("made" if to else "model.onnx")
    result = call("export", trained_run, "-o", out, "--pictures", archive, *to)
    assert "40 pictures" in result.stdout, result.stderr


def run(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: model.predict(rows, verbose=0)


def inputs(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).random((n, 200, 50, 1), np.float32)


def test_other_values_are_refused(model: keras.Model, manifest: Manifest) -> None:
    """Weights that differ by a thousandth don't pass; the message says by how much."""
    graph = convert(model).SerializeToString()
    check_parity(run(model), graph, manifest, inputs())
    other = keras.models.clone_model(model)
    other.set_weights([w * np.float32(1.001) for w in model.get_weights()])
    with pytest.raises(
        ExportError, match=r"at batch 1 ONNX differs from the original by \d\.\d+e-0\d in"
    ):
        check_parity(run(other), graph, manifest, inputs())


def test_the_rounding_of_float32_is_no_difference(model: keras.Model, manifest: Manifest) -> None:
    """Logits may move by 1e-4, a probability by a quarter of that; what is no logit, by 1e-5."""
    graph = convert(model).SerializeToString()

    def moved(by: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: (
            run(model)(rows) + np.float32(by) * (np.arange(manifest.charset.classes) == 0)
        )

    assert check_parity(moved(6e-5), graph, manifest, inputs()).score > 5e-5
    with pytest.raises(ExportError, match="differs from the original"):
        check_parity(moved(1.2e-4), graph, manifest, inputs())
    scores = np.full((1, 2), 16, np.float32)
    assert allowed_probability(scores, manifest) == pytest.approx(2.5e-5)
    assert allowed_probability(4 * scores, manifest) == pytest.approx(5e-5)
    read = replace(manifest, scores="probabilities")
    assert allowed_probability(4 * scores, read) == pytest.approx(1e-5)


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
    """Other names, axes and shapes are refused before values are compared."""
    charset = manifest.charset
    values = {
        name: Tensor(t.name, (*t.shape[:-1], charset.classes if name == "output" else t.shape[-1]))
        for name, t in values.items()
    }
    graph = convert(model).SerializeToString()
    with pytest.raises(ExportError, match="doesn't fit its description"):
        check_parity(run(model), graph, replace(manifest, **values), inputs())


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
    """After kill -9 with the last byte written, there is no file, or the one that was there."""
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
    assert command("export", trained_run, "-o", out).returncode == 1
    # Partial files of killed exports stay for an hour: they might be another writer's.
    assert all(p == out or p.name.startswith(".partial-") for p in tmp_path.iterdir())


def test_eight_bits_give_nearly_the_same_scores(
    command, sample_folder: Path, tmp_path: Path, captcha_data: Path
) -> None:
    """`--int8` measures each form, and takes one of nearly the same scores, with its accuracy."""
    (tmp_path / "real").mkdir()
    for picture in sorted((captcha_data / "captcha_v2").glob("*.png"))[:200]:
        shutil.copy(picture, tmp_path / "real")
    sources = tmp_path / "sources.toml"
    sources.write_text(
        f'[drawn]\nfolder = "{sample_folder}"\nvalidation = 0.5\n'
        f'[real]\nfolder = "{tmp_path / "real"}"\ntest = 0.5\nvalidation = 0.25\n'
        '[other]\ngenerator = "foreign"\npictures = 20\n'
    )
    run = tmp_path / "run"
    options = ("--preset", "compact", "--epochs", "2", "--batch-size", "16")
    trained = command("train", sources, "-o", run, *options)
    assert trained.returncode in (0, 1), trained.stderr  # 1: it has learned nothing yet
    files = {kind: tmp_path / f"{kind}.onnx" for kind in ("float", "int8")}
    assert command("export", run, "-o", files["float"]).returncode in (0, 1)
    made = command("export", run, "-o", files["int8"], "--int8", "--min-confidence", "0.5")
    assert made.returncode in (0, 1), made.stderr
    table = made.stdout[made.stdout.index("ms a picture") :].splitlines()
    assert table[0].split()[-1] == "170"
    assert table[1].startswith("float32 ")
    [taken] = [line for line in table if line.endswith("taken")]
    assert taken.startswith("8 bits: ")
    assert files["int8"].stat().st_size < files["float"].stat().st_size / 2

    solvers = {kind: Solver(file) for kind, file in files.items()}
    manifest = solvers["int8"].manifest
    assert manifest.min_confidence == 0.5
    assert set(manifest.accuracy) == {
        "test",
        "test real",
        "validation",
        "validation drawn",
        "validation real",
    }
    assert manifest.accuracy["validation drawn"]["pictures"] == 20
    rows = np.stack([manifest.recipe.apply(decode_image(p)) for p in sample_folder.iterdir()])
    scores = {kind: solver.session.run(rows) for kind, solver in solvers.items()}
    difference = np.abs(scores["int8"] - scores["float"])
    assert 0 < difference.mean() < 0.05 * np.ptp(scores["float"])


@pytest.mark.parametrize(
    ("milliseconds", "right", "taken"),
    [
        ((2.0, 1.0, 0.5), (100, 100, 99), 1),  # of a hundred no picture may be lost
        ((2.0, 1.0, 0.5), (1000, 999, 998), 1),  # of a thousand one
        ((1.0, 1.2, 1.1), (100, 100, 100), 0),  # 8 bits don't pay
        ((1.0, 0.98, 0.99), (100, 100, 100), 2),  # equally fast: the smallest
        ((2.0, 1.0, 1.04), (100, 100, 100), 1),  # 4 % are more than the medians scatter
        ((1.0, 0.50, 0.51), (1000, 999, 1000), 2),  # equally fast: the one that reads most
    ],
)
def test_the_best_form_is_fast_and_loses_nothing(
    milliseconds: tuple[float, ...], right: tuple[int, ...], taken: int
) -> None:
    """8 bits may lose one picture in a thousand, and have to be faster or smaller."""
    sizes = (4000, 1100, 1000)
    candidates = [
        Candidate(f"form {number}", *row)
        for number, row in enumerate(zip(sizes, milliseconds, right, strict=True))
    ]
    pictures = 1000 if max(right) > 100 else 100
    assert best(candidates, pictures) is candidates[taken]


@pytest.mark.parametrize("missing", ["model.keras", "pictures.csv"])
def test_a_damaged_run_is_refused(command, trained_run: Path, tmp_path: Path, missing: str) -> None:
    """One line names the file that the run lacks."""
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
