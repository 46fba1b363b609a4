"""`captcha-rt train FOLDER` without a preset, in real processes, on generated pictures."""

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import write_digits

from captcha_rt import Solver
from captcha_rt.charset import Charset
from captcha_rt.model import load_model
from captcha_rt_export.errors import RunError
from captcha_rt_export.export import export_run
from captcha_rt_export.run import Run
from captcha_rt_train.cli.options import folder_beside
from captcha_rt_train.data.samples import characters_of, with_recipe
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.choosing import TRUNK, choose
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fitting import Fit, fit
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.own import preset_of, train_own
from captcha_rt_train.training.planning import plan
from captcha_rt_train.training.train import train

SHORT = ("--minutes", "0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small pictures; their names are the labels."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    write_digits(folder, 40, seed=3)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> subprocess.CompletedProcess:
    """The command without an option but the time; its run lies beside the folder."""
    program = [sys.executable, "-m", "captcha_rt", "train", folder, *SHORT]
    return subprocess.run(program, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(folder: Path, trained: subprocess.CompletedProcess) -> Run:
    """The finished run."""
    assert trained.returncode == 0, trained.stderr
    return Run(folder.parent / "mine-run")


def test_it_says_what_it_chose_and_how_good_it_is(
    trained: subprocess.CompletedProcess, run: Run
) -> None:
    """Choices with their reasons on stderr; the verdict and the next command on stdout."""
    for what in ("as it is, the general model reads", "charset: ", "channels: ", "input: "):
        assert what in trained.stderr
    lines = trained.stdout.splitlines()
    assert lines[0].startswith("reads ")
    assert "of 8 pictures that it never saw" in lines[0]
    assert "after learning from 32" in lines[0]
    assert any("with half as many pictures it reads" in line for line in lines)
    assert lines[-1] == f"next: captcha-rt solve PICTURE --model {run.onnx_file}"
    page = run.report_file.read_text("utf-8")
    assert lines[0] in page


def test_the_model_file_reads_what_was_held_back(run: Run) -> None:
    """The runtime reads most of it; the accuracy in the model is the one before it saw all."""
    manifest = load_model(run.onnx_file).manifest
    accuracy = manifest.accuracy["validation"]
    assert accuracy["pictures"] == 8
    assert manifest.training["trained_on_all"] is True
    assert manifest.training["pictures"] == {"training": 32, "validation": 8, "test": 0}
    solver = Solver(run.onnx_file)
    with run.split_file.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "validation"]
    right = sum(solver.solve(row["path"]).text == row["label"] for row in rows)
    assert right >= 6
    assert run.model_file.exists()


def test_a_later_export_keeps_the_accuracy_measured_before(run: Run, tmp_path: Path) -> None:
    """The network has learned the pictures held back since: in 8 bits, they measure nothing."""
    shutil.copytree(run.folder, tmp_path / "run")
    copy = Run(tmp_path / "run")
    told = {"validation": {**run.manifest.accuracy["validation"], "exact_match": 0.125}}
    copy.write_manifest(replace(run.manifest, accuracy=told))
    report = export_run(copy, tmp_path / "model.onnx", int8=True)
    assert report.manifest.accuracy == told


def test_what_was_chosen_is_a_preset(run: Run) -> None:
    """It starts from the trunk, says why in comments, and is read again."""
    preset = load_preset(str(run.preset_file))
    assert (preset.start, preset.network, preset.decoder) == ("slim", "compact", "ctc")
    assert "# channels: " in run.preset_file.read_text("utf-8")


def test_the_preset_trains_again_with_a_changed_line(
    command, run: Run, folder: Path, tmp_path: Path
) -> None:
    """`--preset FILE` takes the file of a run."""
    file = tmp_path / "mine.toml"
    text = run.preset_file.read_text("utf-8")
    changed = 'batch_size = 16\nseed = 7\ntest = 0.1\nlicence = "MIT"'
    file.write_text(text.replace("batch_size = 32", changed), "utf-8")
    options = ("--preset", file, "--epochs", "2")
    result = command("train", folder, "-o", tmp_path / "run", *options)
    assert result.returncode == 0, result.stderr
    later = Run(tmp_path / "run")
    manifest = later.manifest
    assert (manifest.training["batch_size"], manifest.training["seed"]) == (16, 7)
    assert (manifest.training["pictures"]["test"], manifest.licence) == (4, "MIT")
    kept = preset_of(later)  # so that `--from` can go on
    assert (kept.settings.batch_size, kept.settings.epochs) == (16, 2)
    assert replace(kept, name="mine", settings=load_preset(str(file)).settings) == load_preset(
        str(file)
    )
    assert manifest.training["start"] == "slim"
    assert manifest.accuracy["validation"]["character_error_rate"] < 0.5


def test_the_next_run_gets_another_folder(command, run: Run, folder: Path) -> None:
    """A finished run is never overwritten: the next one is numbered; by name it is refused."""
    before = run.onnx_file.read_bytes()
    result = command("train", folder, "-o", run.folder)
    assert result.returncode == 2
    assert "holds a finished run" in result.stderr
    assert run.onnx_file.read_bytes() == before


def test_a_killed_training_goes_on(folder: Path, tmp_path: Path) -> None:
    """The same command goes on with what was chosen and trained, and ends with a model."""
    pictures = tmp_path / "mine"
    shutil.copytree(folder, pictures)
    run = Run(tmp_path / "mine-run")
    program = [sys.executable, "-m", "captcha_rt", "train", pictures, *SHORT]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not run.history():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.kill()
    before = run.history()
    chosen = run.preset_file.read_bytes()
    again = subprocess.run(program, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"going on with the run in {run.folder}, of the small network" in again.stderr
    assert run.history()[: len(before)] == before
    assert run.preset_file.read_bytes().splitlines()[0] == chosen.splitlines()[0]
    assert run.onnx_file.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the signal")
def test_ctrl_c_keeps_what_was_trained(interrupt, folder: Path, tmp_path: Path) -> None:
    """The checkpoint of the last epoch is there; other options than at the start are refused."""
    run = Run(tmp_path / "run")
    stopped = interrupt(run.folder, folder, *SHORT)
    assert stopped.returncode == 130
    assert (
        f"stopped: the same command goes on from the last epoch in {run.folder}" in stopped.stderr
    )
    assert list(run.checkpoints.glob("*.weights.h5"))
    for option, before, changes in (
        ("--seed 1", "with 0", {"seed": 1}),
        ("--charset 0123456789", "without it", {"characters": "0123456789"}),
        ("--test 0.2", "with 0.0", {"test": 0.2}),
        ("--validation 0.3", "with 0.2", {}),
    ):
        base = load_preset(TRUNK)
        job = Job(folder, run, base, replace(base.settings, **changes))
        with pytest.raises(RunError, match=f"was started {before}, not with {option}: "):
            train_own(job, 0.1, None if changes else 0.3)
    larger = run.preset_file.read_text("utf-8").replace('start = "slim"', 'start = "general"')
    run.preset_file.write_text(larger, "utf-8")
    with pytest.raises(RunError, match="was started without it, not with --small: "):
        train_own(Job(folder, run, base, base.settings, small=True), 0.1)


def test_hard_pictures_are_read_by_the_larger_network(command, tmp_path: Path) -> None:
    """It is trained, exported and described like the small one, in the same files."""
    folder, rng = tmp_path / "mine", np.random.default_rng(0)
    write_digits(folder, 40, seed=6)
    for path in folder.glob("*.png"):
        picture = cv2.imread(str(path))
        for x in range(0, picture.shape[1], 7):
            cv2.line(picture, (x, 0), (int(x + rng.integers(-9, 10)), 99), (0, 0, 0), 2)
        cv2.imwrite(str(path), picture)
    result = command("train", folder, *SHORT)
    assert result.returncode == 0, result.stderr
    assert "network: the larger one" in result.stderr
    run = Run(tmp_path / "mine-run")
    facts = load_model(run.onnx_file).manifest.training
    assert (facts["start"], facts["layers"]) == ("general", load_preset("general").layers)
    assert load_preset(str(run.preset_file)).start == "general"
    assert facts["parameters"] > 1_000_000


def test_it_goes_on_from_an_earlier_run(command, run: Run, tmp_path: Path) -> None:
    """`--from RUN` learns new pictures, with characters that the run didn't have, and the old."""
    new = tmp_path / "more"
    labels = write_digits(new, 24, seed=4)
    (new / f"{labels[0]}.png").rename(new / f"x{labels[0][1:]}.png")
    result = command("train", new, "-o", tmp_path / "run", "--from", run.folder, *SHORT)
    assert result.returncode == 0, result.stderr
    line = next(text for text in result.stdout.splitlines() if "earlier run held back" in text)
    assert line.startswith("of the 8 pictures")
    later = Run(tmp_path / "run")
    manifest = later.manifest
    assert "x" in manifest.charset.characters
    assert manifest.accuracy["validation earlier held back"]["pictures"] == 8
    assert manifest.accuracy["validation earlier held back"]["exact_match"] >= 0.7
    assert manifest.training["earlier"] == "mine-run"
    assert manifest.training["preset"] == "run"  # as a stopped run is gone on with
    sources = {row["source"] for row in csv.DictReader(later.split_file.open(newline=""))}
    assert sources == {"new", "earlier", "earlier held back"}


def test_what_somebody_chose_to_validate_is_no_training_data(
    command, folder: Path, tmp_path: Path
) -> None:
    """No last training then; the run is that of the network, which `export` takes."""
    write_digits(tmp_path / "held", 8, seed=9, length=4)
    options = ("--validation", tmp_path / "held", "-o", tmp_path / "run")
    result = command("train", folder, *options, *SHORT)
    assert result.returncode == 0, result.stderr
    assert "once more" not in result.stdout
    assert "8 are held back" in result.stderr
    manifest = Run(tmp_path / "run").manifest
    assert manifest.scores == "logits"
    assert "trained_on_all" not in manifest.training
    exported = command("export", tmp_path / "run", "-o", tmp_path / "again.onnx")
    assert exported.returncode == 0, exported.stderr
    again = command("train", folder, *options[:2], "--from", tmp_path / "run")
    assert again.returncode == 2
    assert "--from takes a folder" in again.stderr.splitlines()[-1]


def test_too_few_pictures_are_refused(command, tmp_path: Path) -> None:
    """One line that says how many are needed, and how to label them."""
    write_digits(tmp_path / "few", 6, seed=1)
    result = command("train", tmp_path / "few", *SHORT)
    assert result.returncode == 2
    assert "6 labelled pictures are too few" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "few-run").exists()


def test_a_refused_start_leaves_no_choice(command, tmp_path: Path) -> None:
    """Pictures that show nothing are refused; others in their place are chosen for anew."""
    folder = tmp_path / "mine"
    labels = write_digits(folder, 24, seed=1)
    for level, label in enumerate(labels, 200):
        cv2.imwrite(str(folder / f"{label}.png"), np.full((32, 72), level, np.uint8))
    refused = command("train", folder, *SHORT)
    assert (refused.returncode, "plain" in refused.stderr) == (2, True), refused.stderr
    for label in labels:
        (folder / f"{label}.png").unlink()
    write_digits(folder, 24, seed=2, length=3)
    result = command("train", folder, *SHORT)
    assert "going on" not in result.stderr
    assert "3 characters" in result.stderr


def test_a_start_that_is_no_trunk_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """With the name mended, the same command trains."""
    preset = replace(load_preset(TRUNK), start="genral")
    run = Run(tmp_path / "run")
    with pytest.raises(TrainingError, match="no trunk 'genral'"):
        train(Job(folder, run, preset, preset.settings))
    assert not run.folder.exists()


def test_an_earlier_run_without_new_pictures(command, run: Run, folder: Path, tmp_path) -> None:
    """The verdict says that none is new; a few new ones are too few to measure."""
    options = ("--from", run.folder, "-o", tmp_path / "run", *SHORT)
    result = command("train", folder, *options)
    assert "none of which is new" in result.stdout.splitlines()[0]
    assert "never saw" not in result.stdout
    assert "you may not need to train" not in result.stderr
    few = tmp_path / "few"
    write_digits(few, 2, seed=7)
    refused = command("train", few, *options[:2], "-o", tmp_path / "other")
    assert refused.returncode == 2
    assert "2 new pictures are too few" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "other").exists()
    base = load_preset(TRUNK)
    job = Job(folder, Run(tmp_path / "other"), base, base.settings, small=True, earlier=run)
    with pytest.raises(TrainingError, match="leave out --small"):
        train_own(job, 0.1)


def test_the_run_of_a_linked_folder_stands_beside_the_link(folder: Path, tmp_path: Path) -> None:
    """As the guide's commands name it."""
    (tmp_path / "link").symlink_to(folder)
    assert folder_beside(tmp_path / "link", "-run") == tmp_path / "link-run"
    assert folder_beside(tmp_path / "x" / ".." / "link", "-run") == tmp_path / "link-run"


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Epochs]:
    """Trains on labels that have nothing to do with the pictures, with any settings."""
    folder = tmp_path_factory.mktemp("noise")
    write_digits(folder, 24, seed=5)
    shown = read_dataset(folder, load_preset(TRUNK).recipe)
    rng = np.random.default_rng(0)
    # The pictures held back have letters of their own, so that none is guessed by chance.
    letters = ["абвг"] * 18 + ["дежз"] * 6
    texts = ["".join(rng.choice(list(some), 4)) for some in letters]
    samples = [replace(s, label=text) for s, text in zip(shown.samples, texts, strict=True)]
    charset = Charset(characters_of(samples), blank=0)
    dataset = replace(shown, samples=tuple(samples), charset=charset)
    preset = choose(dataset, "noise", 1, seed=0).preset
    planned = plan(with_recipe(dataset, preset.recipe), preset)
    parts = {"training": planned.dataset.samples[:18], "validation": planned.dataset.samples[18:]}

    def train(run: Path, **changes: float) -> Epochs:
        settings = replace(preset.settings, batch_size=4, epoch_steps=2, epochs=30, **changes)
        return fit(planned.build(planned.length), Fit(planned.manifest, parts, settings, Run(run)))

    return train


def test_a_network_that_stands_on_its_plateau_is_stopped(noise, tmp_path: Path) -> None:
    """With labels that have nothing to do with the pictures, training ends after 6 epochs."""
    epochs = noise(tmp_path / "run", plateau=6)
    assert epochs.stuck
    assert epochs.done == 6


def test_a_network_that_is_out_of_minutes_stays_as_it_is(noise, tmp_path: Path) -> None:
    """A run that is gone on with trains it for what is left of its share: here nothing."""
    first = noise(tmp_path / "run", minutes=0.0001)
    assert first.done == 1
    again = noise(tmp_path / "run", minutes=0.0001)
    assert again.history == Run(tmp_path / "run").history()
    assert again.done == 1
