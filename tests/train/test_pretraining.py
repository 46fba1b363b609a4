"""`captcha-rt pretrain`: a general model, on a small network and few pictures."""

from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from captcha_rt_export.errors import RunError
from captcha_rt_export.run import Run
from captcha_rt_train.data.drawn import DrawnBatches
from captcha_rt_train.data.pool import draw_pool
from captcha_rt_train.data.real import read_real
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators import simplecaptcha
from captcha_rt_train.generators.mixture.batch import LENGTH, draw_batch
from captcha_rt_train.generators.mixture.faces import CHARACTERS
from captcha_rt_train.presets import Preset, load_preset
from captcha_rt_train.training.pretraining import Pretraining, plan_general, pretrain
from captcha_rt_train.training.trunk import Trunk, load_trunk
from captcha_rt_train.trunks import TRUNKS

LAYERS = {
    "rows": [[6, 5, 2, 2], [8, 3, 2, 2], [8, 3, 2, 1]],
    "columns": [[12, 1, 1], [12, 5, 1]],
}


@pytest.fixture(scope="module")
def small() -> Preset:
    """The preset with a small network and two epochs."""
    preset = load_preset("general")
    return replace(preset, layers=LAYERS, settings=replace(preset.settings, epochs=2))


@pytest.fixture(scope="module")
def whole(small: Preset, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training of two epochs without a stop."""
    run = Run(tmp_path_factory.mktemp("runs") / "whole")
    pretrain(job(run, small, faces))
    return run


def job(run: Run, preset: Preset, faces: Path, **values: object) -> Pretraining:
    few = {"steps": 3, "batch_size": 8, "validation": 10, "drawn": 128}
    return Pretraining(run, preset, faces, **{**few, **values})


def losses(run: Run) -> list[tuple[float, float]]:
    return [(row["loss"], row["val_loss"]) for row in run.history()]


def test_a_batch_knows_where_the_characters_stand(small: Preset, faces: Path) -> None:
    """Pictures as the recipe makes them, labels of its charset, places from left to right."""
    manifest = plan_general(small).manifest
    drawn = draw_batch(faces, manifest, (0, 1), 40)
    assert drawn.pictures.shape == (40, 48, 192, 3)
    assert drawn.labels.shape == drawn.columns.shape == (40, LENGTH)
    marked = characters = 0
    for picture, labels, columns in zip(*drawn, strict=True):
        text = manifest.charset.decode(c for c in labels if c)
        assert set(text) <= set(CHARACTERS)
        assert (np.diff(columns[: len(text)]) > -0.02).all()
        assert ((columns >= -0.02) & (columns <= 1.02)).all()
        ink = np.abs(picture.astype(int) - np.median(picture, axis=(0, 1))).max(axis=2) > 40
        marked += sum(
            ink[:, max(round(x * 192) - 8, 0) : round(x * 192) + 9].any()
            for x in columns[: len(text)]
        )
        characters += len(text)
    assert marked > 0.9 * characters  # pale letters have less ink
    again = draw_batch(faces, manifest, (0, 1), 40)
    assert (again.pictures == drawn.pictures).all()


def test_a_stopped_training_goes_on_as_if_it_was_not(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """After the minutes are over, `--resume` gives the losses of an uninterrupted training."""
    run = Run(tmp_path / "stopped")
    stopped = pretrain(job(run, small, faces, minutes=0))
    assert stopped.training["epochs_trained"] == 1
    done = pretrain(job(run, small, faces, resume=True))
    assert done.training["epochs_trained"] == 2
    assert done.training["pictures"] == 2 * 3 * 8
    assert np.allclose(losses(run), losses(whole), rtol=1e-3)


def test_an_average_of_another_epoch_is_not_used(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """After a kill between an average and its row, the one before serves; else none is made up."""
    run = Run(tmp_path / "killed")
    pretrain(job(run, small, faces, minutes=0))
    run.average_file.rename(run.folder / "before-average.npz")
    np.savez(run.average_file, steps=6)
    pretrain(job(run, small, faces, resume=True))
    assert np.allclose(losses(run), losses(whole), rtol=1e-3)
    run.average_file.write_bytes(run.average_file.read_bytes()[:1000])
    (run.folder / "before-average.npz").unlink()
    with pytest.raises(RunError, match="can't resume"):
        pretrain(job(run, small, faces, resume=True))
    run.average_file.unlink()
    with pytest.raises(RunError, match="can't resume"):
        pretrain(job(run, small, faces, resume=True))


def test_numbers_out_of_range_are_refused(small: Preset, faces: Path) -> None:
    """The error names the number."""
    for values in (
        {"minutes": -1},
        {"minutes": float("nan")},
        {"seed": 2**32},
        {"steps": 0},
        {"drawn": 0},
    ):
        with pytest.raises(TrainingError, match="not"):
            job(Run(Path("none")), small, faces, **values)


def test_the_trunk_is_the_model(whole: Run) -> None:
    """Half precision of the averaged weights, with all that is needed to go on."""
    trunk = load_trunk(whole.folder / "trunk.npz")
    assert (trunk.preset, trunk.characters, trunk.pictures) == ("general", CHARACTERS, 2 * 3 * 8)
    model = keras.models.load_model(whole.model_file, compile=False)
    for weight, kept in zip(model.get_weights(), trunk.weights, strict=True):
        assert kept.dtype == np.float16
        assert np.allclose(weight, kept, rtol=1e-3, atol=1e-6)
    assert model.outputs[0].dtype == "float32"
    assert whole.manifest.accuracy["validation"]["pictures"] == 10


def test_another_machine_goes_on_from_a_trunk(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """The epochs that are done count; the pictures that follow are others."""
    trunk = load_trunk(whole.folder / "trunk.npz")
    longer = replace(small, settings=replace(small.settings, epochs=3))
    run = Run(tmp_path / "second")
    manifest = pretrain(job(run, longer, faces, start=trunk))
    assert manifest.training["epochs_trained"] == 3
    assert len(run.history()) == 1
    other = replace(longer, layers={**LAYERS, "columns": [[10, 1, 1]]})
    with pytest.raises(TrainingError, match="weights of other shapes"):
        pretrain(job(Run(tmp_path / "other"), other, faces, start=trunk))
    with pytest.raises(TrainingError, match="reads the characters"):
        pretrain(job(Run(tmp_path / "abc"), longer, faces, start=replace(trunk, characters="abc")))
    with pytest.raises(TrainingError, match=r"has seen 48 pictures, .* nothing is left to train"):
        pretrain(job(Run(tmp_path / "done"), small, faces, start=trunk))
    changed = replace(trunk, weights=tuple(weight + 1 for weight in trunk.weights))
    with pytest.raises(RunError, match=r"run\.json differs"):
        pretrain(job(run, longer, faces, start=changed, halfway=True, resume=True))


def test_the_learning_rate_rises_anew(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """With `restart` the last epochs change the weights more; stopped ones go on as if not."""
    trunk = replace(load_trunk(whole.folder / "trunk.npz"), pictures=20 * 3 * 8)
    longer = replace(small, settings=replace(small.settings, epochs=22))
    moved = {}
    for restart in (False, True):
        run = Run(tmp_path / str(restart))
        pretrain(job(run, longer, faces, start=trunk, restart=restart))
        ends = zip(trunk.weights, load_trunk(run.trunk_file).weights, strict=True)
        kernels = [(first, last) for first, last in ends if first.ndim > 1]
        moved[restart] = np.mean([np.abs(last - first).mean() for first, last in kernels])
    assert moved[True] > 4 * moved[False], moved
    stopped = Run(tmp_path / "stopped")
    for resume in (False, True):
        minutes = None if resume else 0
        again = job(
            stopped, longer, faces, start=trunk, restart=True, resume=resume, minutes=minutes
        )
        pretrain(again)
    assert np.allclose(losses(stopped), losses(run), rtol=1e-3)
    with pytest.raises(RunError, match=r"run\.json differs"):
        pretrain(job(run, longer, faces, start=trunk, resume=True))
    with pytest.raises(TrainingError, match="name a trunk"):
        job(run, small, faces, restart=True)


def test_a_training_ends_halfway(small: Preset, faces: Path, whole: Run, tmp_path: Path) -> None:
    """Between the trunk that it started from and its end; also of a training that is finished."""
    trunk = load_trunk(whole.folder / "trunk.npz")
    longer = replace(small, settings=replace(small.settings, epochs=3))
    run = Run(tmp_path / "second")
    pretrain(job(run, longer, faces, start=trunk))
    end = load_trunk(run.trunk_file)
    manifest = pretrain(job(run, longer, faces, start=trunk, halfway=True, resume=True))
    assert manifest.training["halfway_from"] == 2
    middle = load_trunk(run.trunk_file)
    assert middle.pictures == 3 * 3 * 8
    for first, kept, last in zip(trunk.weights, middle.weights, end.weights, strict=True):
        assert np.allclose(kept, (first.astype(np.float32) + last) / 2, atol=2e-3, rtol=2e-3)
    assert any((a != b).any() for a, b in zip(middle.weights, end.weights, strict=True))
    with pytest.raises(TrainingError, match="name a trunk"):
        job(run, small, faces, halfway=True)


def test_a_network_may_have_more_than_its_start(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """Residual convolutions, which change nothing at first and keep their ends halfway."""
    trunk = load_trunk(whole.folder / "trunk.npz")
    deeper = replace(
        small, layers={**LAYERS, "residuals": [2, 3]}, settings=replace(small.settings, epochs=3)
    )
    planned = plan_general(deeper)
    model = planned.build(planned.length)
    plain = plan_general(small).build(planned.length)
    for network in (model, plain):
        trunk.load_into(network, CHARACTERS)
    pictures = np.random.default_rng(0).random((2, 48, 192, 3), np.float32)
    assert np.allclose(model(pictures), plain(pictures), atol=1e-5)
    run = Run(tmp_path / "deeper")
    pretrain(job(run, deeper, faces, start=trunk))
    end = load_trunk(run.trunk_file)
    pretrain(job(run, deeper, faces, start=trunk, halfway=True, resume=True))
    middle = load_trunk(run.trunk_file)
    firsts = trunk.weights_for(model)
    assert sum(first is None for first in firsts) == 2 * 5  # a kernel, and a normalisation
    for first, kept, last in zip(firsts, middle.weights, end.weights, strict=True):
        expected = last if first is None else (first + last) / 2
        assert np.allclose(kept, expected, atol=2e-3, rtol=2e-3)
    with pytest.raises(TrainingError, match="weights of other shapes"):
        end.load_into(plain, CHARACTERS)


def test_a_training_is_not_mixed_with_another(small: Preset, faces: Path, whole: Run) -> None:
    """The folder is resumed with the same settings, or refused."""
    with pytest.raises(RunError, match="--resume"):
        pretrain(job(whole, small, faces))
    with pytest.raises(RunError):
        pretrain(job(whole, small, faces, seed=1, resume=True))
    assert len(whole.history()) == 2


def test_what_is_refused_leaves_no_run(
    small: Preset, faces: Path, whole: Run, tmp_path: Path
) -> None:
    """A teacher of other layers, and a pool of another seed: the next try needs no --resume."""
    run = Run(tmp_path / "run")
    with pytest.raises(TrainingError, match="same layers"):
        pretrain(job(run, small, faces, teacher=load_trunk(TRUNKS["general"])))
    with pytest.raises(TrainingError, match="other settings"):
        pretrain(job(run, small, faces, seed=1, pool=whole.pool))
    assert run.settings() is None
    pretrain(job(run, small, faces, minutes=0, pool=whole.pool))
    with pytest.raises(RunError, match=r"run\.json differs"):
        pretrain(job(run, small, faces, resume=True))
    assert not run.pool.exists()


def test_what_is_no_trunk_is_refused(tmp_path: Path) -> None:
    """A file that isn't there, others than a trunk, one without weights, and a damaged one."""
    (tmp_path / "text.npz").write_text("no trunk")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04" + bytes(40))
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(tmp_path / "other.npz", preset="general")
    for name in ("none", "text", "other", "damaged", "array"):
        with pytest.raises(TrainingError, match="can't read the trunk"):
            load_trunk(tmp_path / f"{name}.npz")
    trunk = Trunk("general", CHARACTERS, 0, 1, (np.ones((2, 3), np.float32),))
    trunk.save(tmp_path / "whole.npz")
    assert load_trunk(tmp_path / "whole.npz").weights[0].tolist() == [[1, 1, 1]] * 2


def test_the_command_says_what_is_missing(command, tmp_path: Path) -> None:
    """Faces that aren't there, and a preset that no drawn picture fits, in the last line."""
    result = command("pretrain", "-o", tmp_path / "run", "--faces", tmp_path / "none.npz")
    assert result.returncode == 2
    assert "can't read the faces" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    options = ("--faces", tmp_path / "none.npz", "--preset", "crnn")
    result = command("pretrain", "-o", tmp_path / "run", *options)
    assert result.returncode == 2
    assert "ends with the steps 'fit' and 'scale'" in result.stderr


def test_real_pictures_are_mixed_in(small: Preset, faces: Path, tmp_path: Path) -> None:
    """One in 16 is a real one of the training part, changed; where its characters stand is open."""
    folder = tmp_path / "real"
    folder.mkdir()
    for number in range(8):
        label, picture = simplecaptcha.generate(np.random.default_rng(number))
        cv2.imwrite(str(folder / f"{label}.png"), picture)
    (folder / "äöü.png").write_bytes((folder / f"{label}.png").read_bytes())
    manifest = plan_general(small).manifest
    real = read_real(folder, manifest, small.settings)
    assert [name for name, _ in real.skipped] == ["äöü.png"]
    assert len(real) == 7
    chosen = real.choose((0, 1), 20)
    assert chosen.pictures.shape == (20, 48, 192, 3)
    assert (chosen.columns == -1).all()
    assert (real.choose((0, 1), 20).pictures == chosen.pictures).all()
    texts = {manifest.charset.decode(c for c in row if c) for row in chosen.labels}
    assert texts < {path.stem for path in folder.iterdir()}
    pool = draw_pool(tmp_path / "pool", faces, manifest, seed=0, drawn=128)
    batches = DrawnBatches(pool, batch_size=32, steps=1, time_steps=48, seed=0, epoch=0, real=real)
    inputs, target = batches[0]
    assert inputs.shape == (32, 48, 192, 3)
    assert ((target["times"] == -1).all(axis=1).nonzero()[0] == [30, 31]).all()
    mixed = {manifest.charset.decode(c for c in row if c) for row in target["labels"][30:]}
    assert mixed < {path.stem for path in folder.iterdir()}
    run = Run(tmp_path / "run")
    trained = pretrain(job(run, small, faces, real=real))
    assert trained.training["real"] == 7
    assert all(np.isfinite(loss) for row in losses(run) for loss in row)
