"""One process at a time trains in a folder."""

import os
from pathlib import Path

import pytest

from captcha_rt_export.errors import RunError
from captcha_rt_export.run import Run
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.lock import LOCK, alone_in
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.own import train_own
from captcha_rt_train.training.suspects import find_suspects
from captcha_rt_train.training.train import train


def job(source: Path, run: Path) -> Job:
    preset = load_preset("compact")
    return Job(source, Run(run), preset, preset.settings)


def test_a_folder_is_trained_in_once_at_a_time(tmp_path: Path) -> None:
    """Another training is refused, in whatever way it was started, until the first one ends."""
    pictures, run = tmp_path / "mine", tmp_path / "run"
    pictures.mkdir()
    with alone_in(run):
        for start in (lambda: train(job(pictures, run)), lambda: train_own(job(pictures, run), 1)):
            with pytest.raises(
                TrainingError, match=rf"run is being .* by process {os.getpid()}: w"
            ):
                start()
        assert (run / LOCK).exists()
    assert not run.exists()  # nothing was trained


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The error names the option that chooses another."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(TrainingError, match=r"file.run: .*; choose another with --pool$"),
        alone_in(tmp_path / "file" / "run", "drawn", "--pool"),
    ):
        pass


def test_what_was_trained_stays(tmp_path: Path) -> None:
    """Only the lock goes away, also after an error."""

    def fail() -> None:
        with alone_in(tmp_path / "run"):
            (tmp_path / "run" / "history.csv").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["history.csv"]


def test_a_run_does_not_lie_among_its_pictures(tmp_path: Path) -> None:
    """Its list of pictures would be taken for their labels."""
    (tmp_path / "mine").mkdir()
    with pytest.raises(TrainingError, match="choose another folder with -o"):
        job(tmp_path / "mine", tmp_path / "mine" / ".." / "mine")
    with pytest.raises(RunError, match="holds the pictures"):
        find_suspects(tmp_path / "mine", tmp_path / "mine")


@pytest.mark.parametrize("file", ["manifest.json", "preset.toml", "history.csv", "model.keras"])
def test_suspects_leave_a_training_alone(tmp_path: Path, file: str) -> None:
    """They would overwrite its split."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).write_text("x")
    (tmp_path / "run" / "pictures.csv").write_text("path,label,part,source\n")
    with pytest.raises(RunError, match="holds a run of captcha-rt train"):
        find_suspects(tmp_path / "mine", tmp_path / "run")
    assert (tmp_path / "run" / "pictures.csv").read_text() == "path,label,part,source\n"
