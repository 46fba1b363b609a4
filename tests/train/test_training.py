"""`captcha-rt train` in real processes, on generated pictures."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from captcha_rt.manifest import Manifest
from captcha_rt_train.generators.kaptcha import write_samples
from captcha_rt_train.presets import preset_text


def history(run: Path) -> list[dict[str, str]]:
    path = run / "history.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def test_a_run_holds_all_its_files(trained_run: Path, sample_folder: Path) -> None:
    """History, report, split, model and manifest exist and agree."""
    assert [row["epoch"] for row in history(trained_run)] == ["1", "2", "3", "4"]
    assert (trained_run / "report" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "crnn" in (trained_run / "report.html").read_text("utf-8")
    assert (trained_run / "model.keras").exists()
    with (trained_run / "pictures.csv").open(newline="") as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    assert {part: parts.count(part) for part in parts} == {
        "training": 32,
        "validation": 4,
        "test": 4,
    }
    manifest = Manifest.from_json((trained_run / "manifest.json").read_text("utf-8"))
    assert manifest.training["epochs_trained"] == 4
    assert manifest.training["pictures"] == {"training": 32, "validation": 4, "test": 4}
    assert set(manifest.accuracy) == {"validation", "test"}
    assert manifest.accuracy["test"]["pictures"] == 4
    assert str(sample_folder) not in manifest.to_json()


def test_a_killed_run_goes_on(
    command, trained_run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    """After kill -9 in an epoch, `--resume` gives the same epochs as an uninterrupted run."""
    run = tmp_path / "killed"
    arguments = ["train", str(sample_folder), "-o", str(run), "--preset", "crnn"]
    arguments += ["--epochs", "4", "--test", "0.1", "--batch-size", "8"]
    program = [sys.executable, "-m", "captcha_rt", *arguments]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(history(run)) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.kill()
    assert not (run / "model.keras").exists()
    before = history(run)
    assert command(*arguments, "--resume").returncode == 1  # 1: it has learned nothing yet
    after = history(run)
    assert after[: len(before)] == before
    for row, expected in zip(after, history(trained_run), strict=True):
        assert row["epoch"] == expected["epoch"]
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
        assert float(row["val_loss"]) == pytest.approx(float(expected["val_loss"]), rel=1e-5)
    assert (run / "manifest.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the signal")
def test_ctrl_c_ends_it_quietly(interrupt, sample_folder: Path, tmp_path: Path) -> None:
    """No traceback, exit code 130, and the run can be resumed."""
    stopped = interrupt(tmp_path / "stopped", sample_folder, "--preset", "crnn")
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    last = f"stopped: the same command with --resume goes on from the last epoch in {tmp_path}"
    assert any(line.startswith(last) for line in stopped.stderr.splitlines())
    assert not (tmp_path / "stopped" / "preset.toml").exists()  # it is no choice to go on with


def test_tensorboard_gets_its_logs(command, sample_folder: Path, tmp_path: Path) -> None:
    """`--tensorboard DIR` writes event files with what the history holds, validation included."""
    logs = tmp_path / "logs"
    options = ("--preset", "crnn", "--epochs", "1", "--tensorboard", logs)
    result = command("train", sample_folder, "-o", tmp_path / "run", *options)
    assert result.returncode == 1, result.stderr  # 1: it has learned nothing yet
    events = b"".join(path.read_bytes() for path in logs.rglob("events.out.tfevents.*"))
    assert b"epoch_loss" in events
    assert b"epoch_exact_match" in events  # of the validation pictures


def test_another_backend_trains_the_same_run(command, sample_folder: Path, tmp_path: Path) -> None:
    """`KERAS_BACKEND=jax` trains, averages, and TensorFlow loads the model that it saved."""
    pytest.importorskip("jax", reason="the second backend is not installed")
    run = tmp_path / "run"
    preset = tmp_path / "averaged.toml"
    preset.write_text(f"{preset_text('crnn')}averaged = true\n")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = command(
        "train",
        sample_folder,
        "-o",
        run,
        "--preset",
        preset,
        "--epochs",
        "1",
        env=environment,
    )
    assert result.returncode == 1  # 1: it has learned nothing yet
    manifest = Manifest.from_json((run / "manifest.json").read_bytes())
    assert manifest.training["backend"] == "jax"
    model = keras.models.load_model(run / "model.keras", compile=False)
    assert model.output_shape == manifest.output.shape
    refused = command("train", sample_folder, "-o", tmp_path / "own", env=environment)
    assert refused.returncode == 2
    assert "unset KERAS_BACKEND, or name a --preset" in refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "4", "--test", "0.1"), "go on with it by --resume"),
        (("--epochs", "5", "--test", "0.1", "--resume"), "can't resume"),
        (("--epochs", "4", "--test", "0.1", "--seed", "1", "--resume"), "can't resume"),
    ],
)
def test_a_run_is_not_mixed_with_another(
    command, trained_run: Path, sample_folder: Path, options: tuple[str, ...], message: str
) -> None:
    """A folder that holds a run is resumed with the same settings, or refused."""
    result = command("train", sample_folder, "-o", trained_run, "--preset", "crnn", *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(history(trained_run)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "nothing"), "no preset 'nothing'; there are: compact, crnn"),
        (("--validation", "1.5"), "leave nothing to train on"),
        (("--validation", "nan"), "leave nothing to train on"),
        (("--seed", "5000000000"), "4294967295"),
        (("--preset", "crnn", "--epochs", "0"), "above 0"),
        (("--epochs", "4"), "--preset"),
        (("--from", "nowhere"), "no run with a model.keras"),
        (("--from", "default", "--preset", "crnn"), "choose one of --from and --preset"),
        (("--small", "--preset", "crnn"), "choose one of --small, --from RUN and --preset"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    command, sample_folder: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """One line that says what is wrong, exit code 2, and no run's folder."""
    result = command("train", sample_folder, "-o", tmp_path / "run", *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, "empty", "bad"])
def test_a_folder_that_can_not_be_trained_on_is_refused(
    command, tmp_path: Path, content: str | None
) -> None:
    """One line says what is wrong before the first epoch, with exit code 2."""
    folder = tmp_path / "pictures"
    if content:
        folder.mkdir()
    if content == "bad":
        (folder / "abc.png").write_text("no picture")
    result = command("train", folder, "-o", tmp_path / "run")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("captcha-rt: no")
    assert "Traceback" not in result.stderr
    assert ("skipped: abc.png: " in result.stderr) == (content == "bad")
    assert not (tmp_path / "run").exists()


def test_skipped_pictures_are_listed_before_the_first_epoch(command, tmp_path: Path) -> None:
    """Each skipped picture is listed by name, with the reason."""
    folder = tmp_path / "pictures"
    write_samples(folder, 6, seed=2)
    (folder / "bad.png").write_text("no picture")
    options = ("--preset", "crnn", "--epochs", "1", "--charset", "2345678bcdefgmnpwxy")
    good = next(folder.glob("?????.png"))
    (folder / "ABC.png").write_bytes(good.read_bytes())
    result = command("train", folder, "-o", tmp_path / "run", *options, env=os.environ)
    assert result.returncode == 1  # 1: it has learned nothing yet
    assert "skipped: ABC.png: characters outside of the charset: ABC" in result.stderr
    assert "skipped: bad.png: " in result.stderr
    assert "6 pictures, 19 characters" in result.stderr
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["training"]["skipped"] == 2
