"""Archives where a folder of labelled pictures may stand: `train`, `dataset`, TOML, validation."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.archives import unpack
from captcha_rt.errors import ArchiveError
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_export.run import Run
from captcha_rt_train.data import sources
from captcha_rt_train.data.samples import split
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTCHA_RT_CACHE", str(tmp_path_factory.mktemp("cache")))


def pack(file: Path, *texts: str, **others: str) -> Path:
    """Writes a zip of pictures of these names, each with a content of its own, and other files."""
    with zipfile.ZipFile(file, "w") as archive:
        for level, text in enumerate(texts):
            picture = cv2.imencode(".png", np.full((8, 24), level, np.uint8))[1].tobytes()
            archive.writestr(f"{file.stem}/{text}.png", picture)
        for name, content in others.items():
            archive.writestr(f"{file.stem}/{name.replace('_', '.')}", content)
    return file


def test_an_archive_is_read_as_its_folder(tmp_path: Path) -> None:
    """Samples are named as in the folder; a note says where they are."""
    file = pack(tmp_path / "x.zip", "ab", "cd", "ef")
    dataset = read_dataset(file, RECIPE)
    assert [(sample.name, sample.label) for sample in dataset.samples] == [
        ("ab.png", "ab"),
        ("cd.png", "cd"),
        ("ef.png", "ef"),
    ]
    assert dataset.form == "stem"
    assert dataset.notes[0] == f"{file} is unpacked in {unpack(file).folder}"


def test_archives_in_a_toml_file(tmp_path: Path) -> None:
    """`folder` may name an archive, relative to the TOML file."""
    pack(tmp_path / "x.zip", "ab", "cd")
    pack(tmp_path / "y.zip", "1", "2", labels_csv="file,label\n1.png,ef\n2.png,gh\n")
    config = tmp_path / "two.toml"
    config.write_text('[x]\nfolder = "x.zip"\n[y]\nfolder = "y.zip"\nlabels = "labels.csv"\n')
    dataset = read_dataset(config, RECIPE)
    assert [sample.label for sample in dataset.samples] == ["ab", "cd", "ef", "gh"]
    assert [note.split(" is ")[0] for note in dataset.notes] == [
        f"x: {tmp_path / 'x.zip'}",
        f"y: {tmp_path / 'y.zip'}",
    ]


@pytest.mark.parametrize("validation", ["y.zip", "y", "val.csv"])
def test_what_validates(tmp_path: Path, validation: str) -> None:
    """Another archive, a folder, or a label file in the archive."""
    lists = {"train_csv": "file,label\nab,ab\ncd,cd\n", "val_csv": "file,label\nef,ef\ngh,gh\n"}
    if validation == "val.csv":
        file = pack(tmp_path / "x.zip", "ab", "cd", "ef", "gh", **lists)
        dataset = read_dataset(file, RECIPE, labels="train.csv", validation=validation)
    else:
        file = pack(tmp_path / "x.zip", "ab", "cd")
        zipfile.ZipFile(pack(tmp_path / "y.zip", "ef", "gh")).extractall(tmp_path)
        dataset = read_dataset(file, RECIPE, validation=str(tmp_path / validation))
    parts = split(dataset, validation=0.1, test=0, seed=0)
    found = {part: [sample.label for sample in samples] for part, samples in parts.items()}
    assert found == {"test": [], "validation": ["ef", "gh"], "training": ["ab", "cd"]}


def test_an_archive_does_not_validate_itself(tmp_path: Path) -> None:
    """As a folder doesn't. What can't be unpacked is named with the option."""
    file = pack(tmp_path / "x.zip", "ab", "cd")
    with pytest.raises(TrainingError, match="neither a fraction, nor another folder"):
        read_dataset(file, RECIPE, validation=str(file))
    damaged = tmp_path / "y.zip"
    damaged.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(TrainingError, match=r"--validation .*y\.zip: .* is damaged"):
        read_dataset(file, RECIPE, validation=str(damaged))
    with pytest.raises(ArchiveError, match="is damaged"):
        read_dataset(damaged, RECIPE)


@pytest.mark.parametrize("validation", ["folder", "list"])
def test_labels_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validation: str
) -> None:
    """The labels of what validates are not read a second time; its problems are still listed."""
    read: list[tuple[Path, str]] = []
    real = sources.read_labels

    def count(folder: Path, form: str, **options):
        read.append((folder, form))
        return real(folder, form, **options)

    monkeypatch.setattr(sources, "read_labels", count)
    rows = "file,label\nef.png,ef\nno.png,x\n"
    folder = unpack(pack(tmp_path / "x.zip", "ab", "cd", "ef", val_csv=rows)).folder
    held_back = folder / "val.csv"
    if validation == "folder":
        held_back = unpack(pack(tmp_path / "y.zip", "ef", val_csv=rows)).folder
    dataset = read_dataset(folder, RECIPE, labels="stem", validation=str(held_back))
    assert len(read) == len(set(read)) == 2
    names = [name for name, _ in dataset.skipped]
    assert names == (["validation/val.csv:3"] if validation == "list" else [])


def test_a_run_on_an_archive(command, sample_folder: Path, tmp_path: Path) -> None:
    """It can be continued; its pictures are there for `export`. `dataset` reads archives, too."""
    file = Path(shutil.make_archive(str(tmp_path / "pictures"), "gztar", sample_folder))
    found = json.loads(command("dataset", file, "--json").stdout)
    assert (found["pictures"], found["form"]) == (40, "stem")
    run = tmp_path / "run"
    line = ["train", file, "-o", run, "--preset", "crnn", "--batch-size", "20"]
    done = command(*line, "--epochs", "1")
    assert done.returncode == 1, done.stderr  # it has learned nothing
    assert "\nlabels: from the file names; 40 pictures\n" in f"\n{done.stderr}"
    assert f"{file} is unpacked in" in done.stderr
    samples = Run(run).samples()
    assert {sample.path.parent for sample in samples} == {unpack(file).folder}
    assert all(sample.path.is_file() for sample in samples)
    done = command(*line, "--epochs", "1", "--resume")
    assert done.returncode == 1, done.stderr
