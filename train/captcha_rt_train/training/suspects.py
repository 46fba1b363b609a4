"""Finds labels that are probably wrong: a network that never saw the picture contradicts them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import keras

from captcha_rt.files import write_atomically
from captcha_rt.labels import AUTO
from captcha_rt_export.run import Run
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.data.visibility import check_visible
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import Preset
from captcha_rt_train.training.calibration import fit_temperature
from captcha_rt_train.training.ensemble import ENSEMBLE
from captcha_rt_train.training.fitting import Fit, fit, predict
from captcha_rt_train.training.job import Observer
from captcha_rt_train.training.planning import Plan, plan

MIN_CONFIDENCE: Final = 0.5
"""The lowest confidence with which a network contradicts a label, in 0..1."""

SUSPECTS_FILE: Final = "suspects.csv"
"""The name of the list in the folder of the search."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that a network contradicts.

    Attributes:
        picture: The picture's path below its folder; with several sources `SOURCE/PATH`.
        label: The picture's label.
        shown: The text that the network reads.
        confidence: The network's confidence, in 0..1.
    """

    picture: str
    label: str
    shown: str
    confidence: float


def find_suspects(
    source: Path,
    folder: Path,
    preset: Preset,
    *,
    folds: int = 4,
    epochs: int = 12,
    labels: str = AUTO,
    observer: Observer | None = None,
) -> list[Suspect]:
    """Compares each label with the prediction of a network that was trained on the other folds.

    The networks train for a few epochs only: long enough to read, too short to learn wrong labels
    by heart. The networks are wrong, too, so a person has to look at each suspect. If the picture
    shows what the network reads, the row belongs in a file of corrections (`data.corrections`).

    Args:
        source: A folder of labelled pictures, or a TOML file of sources.
        folder: The folder to train the networks in; a stopped search continues there.
        preset: The preset to train; not an ensemble.
        folds: The number of folds that the pictures are cut into, at least 2.
        epochs: The number of epochs of each network.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        observer: Where the training reports its progress.

    Returns:
        The suspects, the highest confidence first. They are also written to `suspects.csv` in
        `folder`, with the columns of a file of corrections and the confidence.

    Raises:
        FolderError: If a path is not a folder, or a folder holds no pictures.
        LabelError: If the labels don't have the given form, or fit several forms.
        TrainingError: If there are fewer pictures than folds, or the preset is an ensemble.
    """
    observer = observer or Observer()
    if preset.network == ENSEMBLE:
        raise TrainingError("an ensemble has no network that reads whole texts; use another preset")
    dataset = read_dataset(
        source, preset.recipe, labels=labels, blank=preset.blank, watch=observer.watch
    )
    if len(dataset.samples) < folds or folds < 2:
        raise TrainingError(f"{len(dataset.samples)} pictures can't be cut into {folds} folds")
    check_visible(dataset.samples, preset)
    planned = plan(dataset, preset)
    settings = replace(preset.settings, epochs=epochs, patience=epochs)
    suspects: list[Suspect] = []
    for fold, held_back in enumerate(_cut(planned.dataset.samples, folds), 1):
        names = {sample.name for sample in held_back}
        parts = {
            "training": [s for s in planned.dataset.samples if s.name not in names],
            "validation": held_back,
        }
        run = Run(folder / f"fold-{fold}")
        task = Fit(planned.manifest, parts, settings, run, observer=observer)
        suspects += _find_contradicted(planned, task)
    suspects.sort(key=lambda suspect: -suspect.confidence)
    sources = {sample.name: sample.source for sample in dataset.samples}
    folder_name = source.resolve().name
    _write(folder / SUSPECTS_FILE, [(sources[s.picture] or folder_name, s) for s in suspects])
    return suspects


def _find_contradicted(planned: Plan, task: Fit) -> list[Suspect]:
    """Trains a network, and lists the labels that it contradicts in the validation part."""
    keras.utils.set_random_seed(task.settings.seed)
    model = planned.build(planned.length)
    fit(model, task)
    held_back = task.parts["validation"]
    temperature = fit_temperature(model, task.manifest, held_back)
    calibrated = replace(task.manifest, temperature=temperature)
    return [
        Suspect(prediction.path, prediction.truth, prediction.text, prediction.confidence)
        for prediction in predict(model, calibrated, held_back)
        if prediction.text != prediction.truth and prediction.confidence >= MIN_CONFIDENCE
    ]


def _cut(samples: Sequence[Sample], folds: int) -> list[list[Sample]]:
    """Cuts samples into folds; neighbours, often labelled together, go into different folds."""
    return [list(samples[fold::folds]) for fold in range(folds)]


def _write(path: Path, suspects: Sequence[tuple[str, Suspect]]) -> None:
    """Writes the suspects, each with the name of its source or folder."""
    with (
        write_atomically(path) as partial_path,
        partial_path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("data", "picture", "label", "shown", "confidence"))
        for data, suspect in suspects:
            name = Path(suspect.picture).name
            writer.writerow((data, name, suspect.label, suspect.shown, f"{suspect.confidence:.4f}"))
