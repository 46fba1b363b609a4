"""Pictures that are drawn in advance, and changed each time they are seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from captcha_rt.manifest import Manifest
from captcha_rt_train.data.pool import BATCH, change, draw_pool
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.batch import draw_batch
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.pretraining import plan_general


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Recipe and charset of the general model."""
    return plan_general(load_preset("general")).manifest


def test_a_stopped_drawing_goes_on(faces: Path, manifest: Manifest, tmp_path: Path) -> None:
    """What was drawn stays, a batch that was half written is drawn again, and all are the same."""

    def stop(batches, total: int):
        assert total == 3
        yield next(batches)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_pool(tmp_path, faces, manifest, seed=7, drawn=300, watch=stop)
    with (tmp_path / "labels.npy").open("ab") as file:
        file.write(b"half of a row")
    drawn = []

    def count(batches, total: int):
        assert total == 2
        for batch in batches:
            drawn.append(batch[0])
            yield batch

    pool = draw_pool(tmp_path, faces, manifest, seed=7, drawn=300, watch=count)
    assert drawn == [1, 2]  # the first batch was there
    assert len(pool) == 3 * BATCH
    for number in range(3):
        batch = draw_batch(faces, manifest, (7, number), BATCH)
        part = slice(number * BATCH, (number + 1) * BATCH)
        assert (pool.pictures[part] == batch.pictures).all()
        assert (pool.labels[part] == batch.labels).all()
        assert (pool.columns[part] == batch.columns).all()
    again = draw_pool(tmp_path, faces, manifest, seed=7, drawn=300)
    assert (again.pictures == pool.pictures).all()


def test_pictures_of_other_settings_are_refused(
    faces: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """Another seed, another number of pictures, and a damaged description."""
    draw_pool(tmp_path, faces, manifest, seed=0, drawn=1)
    with pytest.raises(TrainingError, match=r"other settings \(seed\): name another folder"):
        draw_pool(tmp_path, faces, manifest, seed=1, drawn=1)
    with pytest.raises(TrainingError, match=r"\(pictures\)"):
        draw_pool(tmp_path, faces, manifest, seed=0, drawn=BATCH + 1)
    settings = json.loads((tmp_path / "pool.json").read_text())
    assert settings["pictures"] == BATCH
    drawn = bytearray((tmp_path / "pictures.npy").read_bytes())
    drawn[-1] ^= 1  # as if it had been drawn in another way
    (tmp_path / "pictures.npy").write_bytes(drawn)
    with pytest.raises(TrainingError, match="another version of the mixture"):
        draw_pool(tmp_path, faces, manifest, seed=0, drawn=1)
    (tmp_path / "pool.json").write_text("{")
    with pytest.raises(TrainingError, match="other settings"):
        draw_pool(tmp_path, faces, manifest, seed=0, drawn=1)


def test_each_turn_shows_every_picture_once_and_changed(
    faces: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """The same for the same seed, in whatever batches; the next turn has another order."""
    pool = draw_pool(tmp_path, faces, manifest, seed=0, drawn=BATCH)
    turns = [pool.choose(3, turn * BATCH, BATCH) for turn in range(2)]
    rows = sorted(map(tuple, pool.labels.tolist()))
    for turn in turns:
        assert sorted(map(tuple, turn.labels.tolist())) == rows
    assert (turns[0].labels != turns[1].labels).any()
    across = pool.choose(3, BATCH - 4, 8)
    assert (across.labels[:4] == turns[0].labels[-4:]).all()
    assert (across.labels[4:] == turns[1].labels[:4]).all()
    again = pool.choose(3, BATCH - 4, 8)
    assert (again.pictures == across.pictures).all()
    assert (pool.choose(4, BATCH - 4, 8).pictures != across.pictures).any()


def test_characters_are_followed_through_a_change() -> None:
    """A bar at each place is still there, within two pixels, in the changed picture."""
    rng = np.random.default_rng(0)
    columns = np.array([0.2, 0.45, 0.8], np.float32)
    picture = np.full((48, 192, 3), 255, np.uint8)
    for column in columns:
        left = round(float(column) * 192) - 2
        picture[10:38, left : left + 5] = 0
    seen = set()
    for _ in range(200):
        changed, places = change(picture, columns, rng)
        assert changed.shape == picture.shape
        row = changed[24].astype(int).mean(axis=1)
        ink = np.abs(row - np.median(row))
        for place in places:
            x = round(float(place) * 192)
            assert ink[max(x - 2, 0) : x + 3].max() > 0.5 * ink.max()
        seen.add(changed.tobytes())
    assert len(seen) == 200
