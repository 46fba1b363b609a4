"""Pictures as people have them: wrong suffixes and none, palettes, several sizes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_train.data.description import describe
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.generators.kaptcha import write_samples

RECIPE = Recipe((Grey(over_white=True), Resize(50, 200), Scale()))


def palette(picture: Image.Image) -> Image.Image:
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


ODD = {
    "PNG as .jpg": (".jpg", "PNG", None),
    "GIF as .png": (".png", "GIF", None),
    "BMP as .jpeg": (".jpeg", "BMP", None),
    "WebP as .gif": (".gif", "WEBP", None),
    "PNG without a suffix": ("", "PNG", None),
    "PNG of a program": (".php", "PNG", None),
    "palette": (".png", "PNG", palette),
    "palette in a GIF": (".gif", "GIF", palette),
    "grey with alpha": (".png", "PNG", lambda picture: picture.convert("LA")),
    "large": (".png", "PNG", lambda picture: picture.resize((300, 75))),
    "small": (".png", "PNG", lambda picture: picture.resize((160, 40))),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many pictures as there are odd kinds, in grey PNGs."""
    folder = tmp_path_factory.mktemp("plain")
    write_samples(folder, len(ODD), seed=1)
    return folder


def test_odd_files_are_read_as_plain_ones(plain: Path, tmp_path: Path) -> None:
    """All kinds in one folder: each picture has its label, and looks as the plain PNG."""
    for file, (suffix, form, change) in zip(sorted(plain.iterdir()), ODD.values(), strict=True):
        picture = Image.open(file).convert("L" if suffix == ".gif" else "RGB")
        options = {"lossless": True} if form == "WEBP" else {}
        path = tmp_path / f"{file.stem}{suffix}"
        (change(picture) if change else picture).save(path, format=form, **options)
    expected, found = read_dataset(plain, RECIPE), read_dataset(tmp_path, RECIPE)
    assert found.skipped == ()
    assert [s.label for s in found.samples] == [s.label for s in expected.samples]
    for kind, odd, right in zip(ODD, found.samples, expected.samples, strict=True):
        difference = np.abs(odd.tensor - right.tensor).mean()
        assert difference < (0.04 if kind in ("large", "small") else 0.01), kind
    description = describe(tmp_path)
    assert (description.pictures, description.unreadable) == (len(ODD), ())
    assert description.formats["no suffix RGB"] == 1
    assert description.sizes == {"200 x 50": 9, "300 x 75": 1, "160 x 40": 1}


@pytest.mark.parametrize("name", ["train", "suspects", "dataset"])
def test_a_mistyped_folder_is_one_line(command, name: str) -> None:
    """Before TensorFlow is loaded, which prints lines of its own."""
    done = command(name, "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "captcha-rt: not a folder: nowhere\n"
