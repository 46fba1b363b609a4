"""Labels that are probably wrong: those that a network contradicts which never saw the picture."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from captcha_rt.files import write_atomically
from captcha_rt.progress import Watch
from captcha_rt_train.calibration import fit_temperature
from captcha_rt_train.data import Dataset, Item, read_dataset, text_length
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.fitting import fit, read
from captcha_rt_train.presets import Preset
from captcha_rt_train.training import plan


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that a network contradicts.

    Attributes:
        picture: The picture, from the folder on.
        label: Its label.
        shown: What the network reads.
        confidence: How sure it is, in 0..1.
    """

    picture: str
    label: str
    shown: str
    confidence: float


def find_suspects(
    folder: Path,
    run: Path,
    preset: Preset,
    *,
    folds: int = 4,
    epochs: int = 12,
    sure: float = 0.5,
    labels: str = "auto",
    verbose: int = 0,
    watch: Watch = lambda items, _: items,
) -> list[Suspect]:
    """Trains a network on all folds but one, for each fold, and compares it with the labels there.

    Networks are trained for a few epochs only: long enough to read, too short to learn the wrong
    labels of others by heart. A list to look at, and not to believe: where the picture shows what
    the network reads, the row belongs into a file of corrections (`mix`).

    Args:
        folder: The pictures, with their labels.
        run: Where the folds are trained; what is trained there already is taken up.
        preset: What to train.
        folds: In so many parts the pictures are cut, at random.
        epochs: Each network is trained so long.
        sure: The smallest confidence, in 0..1, with which a label is contradicted.
        labels: The form of the labels.
        verbose: As Keras takes it.
        watch: Wraps the walk over the pictures, to show its progress.

    Returns:
        The suspects, the surest first; also written to `suspects.csv` in the run's folder, in the
        columns of a file of corrections.

    Raises:
        FolderError: If the folder is none, or holds no pictures.
        LabelError: If the labels have another form, or could be read in several.
        TrainingError: If there are fewer pictures than folds, or the preset is an ensemble.
    """
    if preset.network == "ensemble":
        raise TrainingError("an ensemble has no network that reads a whole text; take another one")
    dataset = read_dataset(folder, preset.recipe, labels=labels, blank=preset.blank, watch=watch)
    if len(dataset.items) < folds or folds < 2:
        raise TrainingError(f"{len(dataset.items)} pictures can't be cut into {folds} folds")
    suspects = _contradicted(dataset, run, preset, folds, epochs, sure, verbose)
    _write(run / "suspects.csv", folder.resolve().name, suspects)
    return suspects


def _contradicted(
    dataset: Dataset,
    run: Path,
    preset: Preset,
    folds: int,
    epochs: int,
    sure: float,
    verbose: int,
) -> list[Suspect]:
    dataset, build, manifest = plan(dataset, preset)
    settings = replace(preset.settings, epochs=epochs, patience=epochs)
    suspects = []
    for fold, held_back in enumerate(_cut(dataset.items, folds), 1):
        names = {item.name for item in held_back}
        parts = {
            "training": [item for item in dataset.items if item.name not in names],
            "validation": held_back,
        }
        keras.utils.set_random_seed(settings.seed)
        model = build(text_length(dataset, preset.decoder))
        fit(model, manifest, parts, settings, run / f"fold-{fold}", verbose=verbose)
        warm = replace(manifest, temperature=fit_temperature(model, manifest, held_back))
        suspects += [
            Suspect(reading.path, reading.truth, reading.text, reading.confidence)
            for reading in read(model, warm, held_back)
            if reading.text != reading.truth and reading.confidence >= sure
        ]
    return sorted(suspects, key=lambda suspect: -suspect.confidence)


def _cut(items: Sequence[Item], folds: int) -> list[list[Item]]:
    """The folds: neighbours, which were labelled one after the other, come into different ones."""
    return [list(items[fold::folds]) for fold in range(folds)]


def _write(path: Path, data: str, suspects: Sequence[Suspect]) -> None:
    with (
        write_atomically(path) as partial_path,
        partial_path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("data", "picture", "label", "shown", "confidence"))
        for suspect in suspects:
            name = Path(suspect.picture).name
            writer.writerow((data, name, suspect.label, suspect.shown, f"{suspect.confidence:.4f}"))
