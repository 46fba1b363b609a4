"""Every preset from real pictures to an answer, with the real commands."""

import csv
import json
import shutil
from itertools import islice
from pathlib import Path

import pytest

from captcha_rt import Manifest
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import Settings, load_preset, preset_names

PICTURES = 40
DATA = {
    "compact": "captcha_v2",
    "general": "captcha_v2",
    "slim": "captcha_v2",
    "multihead": "thsrc",
    "ensemble": "court",
    "glyph": "metu",
    "steps": "captcha_v2",
    "crnn": "captcha_v2",
    "crnn-conv1d": "captcha_v2",
}
PARAMETERS = {
    "compact": 146_460,
    "general": 1_357_940,
    "slim": 351_428,
    "multihead": 4_835_208,
    "ensemble": 6 * 619_370,
    "glyph": 143_114,
    "steps": 2_002_835,
    "crnn": 432_596,
    "crnn-conv1d": 432_596,
}
CHARSETS = {
    "thsrc": "234579ACFHKMNPQRTYZ",
    "court": "0123456789",
    "metu": "0123456789",
    "captcha_v2": "2345678bcdefgmnpwxy",
}


def take(source: Path, folder: Path) -> None:
    """Copies a data set's first pictures, with the labels in the same form."""
    folder.mkdir()
    table = source / "labels.csv"
    if table.exists():
        lines = table.read_text("utf-8").splitlines(keepends=True)[: PICTURES + 1]
        (folder / "labels.csv").write_text("".join(lines), "utf-8")
        (folder / "images").mkdir()
        for row in csv.DictReader(lines):
            shutil.copy(source / "images" / row["filename"], folder / "images")
    else:
        for path in islice(sorted(source.iterdir()), PICTURES):
            shutil.copy(path, folder)


@pytest.mark.parametrize("preset", sorted(DATA))
def test_a_preset_trains_exports_and_solves(
    command, captcha_data: Path, tmp_path: Path, preset: str
) -> None:
    """Each preset trains for two epochs on 40 real pictures; the export compares with Keras."""
    data = DATA[preset]
    folder, run, model = tmp_path / data, tmp_path / preset, tmp_path / "model.onnx"
    take(captcha_data / data, folder)
    options = ("--preset", preset, "--epochs", "2", "--charset", CHARSETS[data])
    if data == "metu":  # 40 file names are too few to say which of their two numbers is the label
        options += ("--labels", "stem-last")
    trained = command("train", folder, "-o", run, *options)
    assert trained.returncode in (0, 1), trained.stderr  # 1: it has learned nothing yet
    assert "40 pictures" in trained.stderr
    assert (run / "report.html").exists()
    assert len(list(run.glob("digit-*/history.csv"))) == (6 if preset == "ensemble" else 0)
    manifest = Manifest.from_json((run / "manifest.json").read_bytes())
    assert manifest.training["parameters"] == PARAMETERS[preset]
    assert manifest.training["pictures"] == {"training": 36, "validation": 4, "test": 0}

    exported = command("export", run, "-o", model)
    assert exported.returncode in (0, 1), exported.stderr
    assert "same texts" in exported.stdout

    picture = next(p for p in sorted(folder.rglob("*.*g")) if p.suffix in {".jpg", ".png"})
    asked = ("--json", "--min-confidence", "0")  # two epochs may read nothing
    solved = command("solve", picture, "--model", model, *asked)
    assert solved.returncode == 0, solved.stderr
    answer = json.loads(solved.stdout)
    assert answer["model"] == preset
    assert len(answer["characters"]) == len(answer["text"])
    assert set(answer["text"]) <= set(CHARSETS[data])
    if manifest.charset.blank is None:
        assert len(answer["text"]) == (5 if preset == "steps" else 6)


def test_there_is_a_preset_for_each_of_the_documents_systems() -> None:
    """The presets are those of documents 000 to 004 and our own."""
    assert preset_names() == sorted(DATA)
    documents = {name: load_preset(name).document for name in preset_names()}
    assert documents == {
        "compact": "",
        "general": "",
        "slim": "",
        "multihead": "000",
        "ensemble": "001",
        "glyph": "002",
        "steps": "003",
        "crnn": "004",
        "crnn-conv1d": "004",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "above 0"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"clip_norm": -1.0}, "above 0"),
        ({"augmentation": 1.5}, "augmentation, curves, noise and spliced must be in 0..1"),
        ({"curves": -0.5}, "augmentation, curves, noise and spliced must be in 0..1"),
        ({"noise": 2.0}, "augmentation, curves, noise and spliced must be in 0..1"),
        ({"position_weight": -1.0}, "at least 0"),
        ({"position_weight": 1.0, "local_weight": 1.0}, "not both"),
        ({"monitor": "luck"}, "monitor is 'luck'"),
        ({"validation": 0.0}, "leave nothing to train on"),
    ],
)
def test_settings_are_checked(values: dict[str, object], message: str) -> None:
    """The message names the settings that make no sense."""
    sensible = {
        "batch_size": 8,
        "epochs": 2,
        "patience": 2,
        "learning_rate": 0.001,
        "validation": 0.1,
    }
    with pytest.raises(TrainingError, match=message):
        Settings(**{**sensible, **values})
