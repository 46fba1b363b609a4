"""`pretrain` with JAX: pictures that its device changes, and epochs that run there as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt_train.data.augmentation import Augmentation
from captcha_rt_train.data.pool import BATCH, Pool, change, draw_pool, order
from captcha_rt_train.data.real import SHARE, RealPictures
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.pretraining import plan_general

jax = pytest.importorskip("jax", reason="the second backend is not installed")
from captcha_rt_train.data import jax_pool  # noqa: E402

TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import keras
import numpy as np
from captcha_rt_export.run import Run
from captcha_rt_train.data.augmentation import Augmentation
from captcha_rt_train.data.real import RealPictures
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.fast import has_bfloat16
from captcha_rt_train.training.pretraining import Pretraining, pretrain

if __name__ == "__main__":
    assert keras.backend.backend() == "jax" and not has_bfloat16()
    faces, folder = map(Path, sys.argv[1:])
    preset = load_preset("general")
    layers = {"rows": [[6, 5, 2, 2], [8, 3, 2, 2], [8, 3, 2, 1]], "columns": [[12, 1, 1]]}
    preset = replace(preset, layers=layers, settings=replace(preset.settings, epochs=2))
    pictures = np.random.default_rng(0).integers(0, 256, (9, 48, 192, 3), np.uint8)
    labels = np.arange(72, dtype=np.int32).reshape(9, 8) % 60 + 1
    real = RealPictures(((pictures, labels),), Augmentation())

    def train(name, **values):
        job = Pretraining(Run(folder / name), preset, faces, drawn=128, pool=folder / "pool",
                          real=real, steps=12, batch_size=16, validation=10, **values)
        return pretrain(job)

    train("whole")
    train("stopped", minutes=0)
    manifest = train("stopped", resume=True)
    rows = [[(row["loss"], row["val_loss"]) for row in Run(folder / name).history()]
            for name in ("whole", "stopped")]
    print(json.dumps({"rows": rows, "pictures": manifest.training["pictures"]}))
"""


@pytest.fixture(scope="module")
def pool(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A batch of drawn pictures."""
    manifest = plan_general(load_preset("general")).manifest
    return draw_pool(tmp_path_factory.mktemp("pool"), faces, manifest, seed=0, drawn=BATCH)


def test_pictures_are_changed_as_opencv_does(pool: Pool) -> None:
    """Moved, blurred, made smaller for a while, and the median: within OpenCV's rounding."""
    pictures = np.asarray(pool.pictures[:24])
    levels = jax.numpy.asarray(pictures, np.float32)
    count = len(pictures)
    matrices = jax_pool._placements(pictures.shape, pool.columns[:count], jax.random.key(0))
    sigmas = np.linspace(0.3, 1, count, dtype=np.float32)
    factors = np.linspace(0.5, 0.9, count, dtype=np.float32)
    cubic = np.arange(count) % 2 == 0
    moved = np.asarray(jax_pool._warp(levels, matrices))
    blurred = np.asarray(jax_pool.blur(levels, sigmas))
    shrunk = np.asarray(jax_pool.shrink(levels, factors, cubic))
    middle = np.asarray(jax_pool.median(levels))
    for n, picture in enumerate(pictures):
        expected = cv2.warpAffine(
            picture,
            np.asarray(matrices[n], np.float64),
            picture.shape[1::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=picture[0, 0].tolist(),
        )
        # OpenCV moves by whole thirty-seconds of a pixel in older versions.
        assert np.abs(moved[n] - expected).mean() < 1
        expected = cv2.GaussianBlur(picture, (0, 0), float(sigmas[n]))
        assert np.abs(blurred[n] - expected).max() < 3
        size = [round(length * float(factors[n])) for length in picture.shape[1::-1]]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        how = cv2.INTER_CUBIC if cubic[n] else cv2.INTER_LINEAR
        expected = cv2.resize(small, picture.shape[1::-1], interpolation=how)
        assert np.abs(shrunk[n] - expected).max() < 3
        assert (middle[n] == cv2.medianBlur(picture, 3)).all()


def test_characters_are_followed_through_a_change() -> None:
    """A bar at each place is still there, within two pixels; nothing of a real picture leaves."""
    picture = np.full((48, 192, 3), 255, np.uint8)
    columns = np.zeros((100, 4), np.float32)
    columns[:, :3] = 0.2, 0.45, 0.8
    for column in columns[0, :3]:
        left = round(float(column) * 192) - 2
        picture[10:38, left : left + 5] = 0
    pictures = np.repeat(picture[None], len(columns), axis=0)
    together = jax.jit(jax_pool.change)
    changed, places = map(np.asarray, together(pictures, columns, jax.random.key(0)))
    assert ((changed == np.rint(changed)) & (changed >= 0) & (changed <= 255)).all()
    assert len({one.tobytes() for one in changed}) == len(changed)
    for one, standing in zip(changed, places[:, :3], strict=True):
        row = one[24].mean(axis=1)
        ink = np.abs(row - np.median(row))
        for place in standing:
            x = round(float(place) * 192)
            assert ink[max(x - 2, 0) : x + 3].max() > 0.5 * ink.max()
    again, _ = map(np.asarray, together(pictures, columns, jax.random.key(0)))
    assert (again == changed).all()
    unknown = np.full_like(columns, -1)
    assert (np.asarray(together(pictures, unknown, jax.random.key(0))[1]) == -1).all()
    matrices = np.asarray(jax_pool._placements(pictures.shape, unknown, jax.random.key(1)))
    assert matrices[:, 0, 0].max() <= 1  # no real picture is widened


def test_pictures_change_as_much_as_with_numpy(pool: Pool) -> None:
    """Level, contrast, grain, colours, and the places: means and spreads of 640 changes."""
    pictures, columns = np.asarray(pool.pictures[:32]), np.asarray(pool.columns[:32])

    def facts(changed: np.ndarray, places: np.ndarray) -> list[float]:
        levels = changed.astype(np.float32)
        grain = np.abs(np.diff(levels, axis=1)).mean()
        colour = np.ptp(levels.mean(axis=(0, 1)))
        standing = places[places > 0]
        spread = np.ptp(standing) if len(standing) else 0
        return [levels.mean(), levels.std(), grain, colour, places.mean(), spread]

    rng = np.random.default_rng(0)
    plain = [
        facts(*change(*row, rng)) for _ in range(20) for row in zip(pictures, columns, strict=True)
    ]
    together = jax.jit(jax_pool.change)
    ours = [
        facts(*row)
        for n in range(20)
        for row in zip(
            *map(np.asarray, together(pictures, columns, jax.random.key(n))), strict=True
        )
    ]
    one, other = np.array(plain), np.array(ours)
    error = np.hypot(one.std(axis=0), other.std(axis=0)) / np.sqrt(len(one))
    assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all()
    assert np.allclose(one.std(axis=0), other.std(axis=0), rtol=0.1)


def test_the_sequence_is_that_of_the_other_backends(pool: Pool) -> None:
    """Each picture once in a turn, in the same order; one in 16 is real, each source as often."""
    plain = jax_pool.JaxPool.load(pool, None)
    turn = plain.choose(3, 0, 4, 32)
    assert (turn.ravel() == order(len(pool), 3, 0)).all()
    assert (plain.choose(3, 2, 4, 32)[:2] == turn[2:]).all()  # wherever it begins
    assert sorted(plain.choose(3, 2, 4, 32)[2:].ravel()) != sorted(turn[:2].ravel())
    sources = tuple((pool.pictures[:n], pool.labels[:n]) for n in (5, 50))
    real = RealPictures(sources, Augmentation())
    mixed = jax_pool.JaxPool.load(pool, real)
    chosen = mixed.choose(3, 0, 50, 4 * SHARE)
    assert (mixed.choose(3, 20, 1, 4 * SHARE)[0] == chosen[20]).all()
    numbers = chosen[:, -4:]
    assert ((numbers >= 0) & (numbers < 55)).all()
    assert 0.3 < (numbers < 5).mean() < 0.7
    inputs, labels, columns = mixed.take(chosen[0], jax.random.key(0))
    assert inputs.shape == (4 * SHARE, 48, 192, 3)
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert (np.asarray(labels[:-4]) == pool.labels[chosen[0, :-4]]).all()
    assert (np.asarray(labels[-4:]) == np.concatenate([r for _, r in sources])[numbers[0]]).all()
    assert (np.asarray(columns[-4:]) == -1).all()


def test_a_stopped_training_goes_on_as_if_it_was_not(faces: Path, tmp_path: Path) -> None:
    """With JAX, too, real pictures included; and the losses fall."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(script), str(faces), str(tmp_path / "runs")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    whole, stopped = told["rows"]
    assert np.allclose(whole, stopped, rtol=1e-3)
    assert whole[1][0] < whole[0][0]
    assert whole[1][1] < whole[0][1]
    assert told["pictures"] == 2 * 12 * 16
