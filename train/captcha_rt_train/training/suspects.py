"""Finds labels that are probably wrong: a network that never saw the picture contradicts them."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import keras

from captcha_rt.files import write_atomically
from captcha_rt.labels import AUTO
from captcha_rt_export.errors import RunError
from captcha_rt_export.run import Run, SampleFile
from captcha_rt_train.data.duplicates import hash_pixels
from captcha_rt_train.data.lengths import skip_far_longer
from captcha_rt_train.data.samples import Dataset, Sample, with_recipe
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.data.visibility import check_visible
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.lock import alone_in
from captcha_rt_train.presets import Preset, load_preset
from captcha_rt_train.training.calibration import fit_temperature
from captcha_rt_train.training.choosing import TRUNK, choose
from captcha_rt_train.training.doubts import DOUBTED, contradict
from captcha_rt_train.training.ensemble import ENSEMBLE
from captcha_rt_train.training.fitting import Fit, fit, predict_scores
from captcha_rt_train.training.job import Observer
from captcha_rt_train.training.planning import Plan, plan
from captcha_rt_train.training.trunk import start_from

_EPOCHS: Final = 12  # of a preset
_MINUTES: Final = 10.0  # of all folds together, without a preset

SUSPECTS_FILE: Final = "suspects.csv"
"""The name of the list in the folder of the search."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that a network contradicts.

    Attributes:
        picture: The picture's path below its folder; with several sources `SOURCE/PATH`.
        label: The picture's label.
        shown: The text that the network reads.
        confidence: The probability that the label is wrong, in 0..1: how much likelier the
            network finds the text that it reads, if one label in 50 is wrong.
    """

    picture: str
    label: str
    shown: str
    confidence: float


def find_suspects(
    source: Path,
    folder: Path,
    preset: Preset | None = None,
    *,
    folds: int = 4,
    epochs: int | None = None,
    labels: str = AUTO,
    fold_case: bool = False,
    observer: Observer | None = None,
) -> list[Suspect]:
    """Compares each label with the prediction of a network that was trained on the other folds.

    The networks train for a few epochs only: long enough to read, too short to learn wrong labels
    by heart. The networks are wrong, too, so a person has to look at each suspect. If the picture
    shows what the network reads, the row belongs in a file of corrections (`data.corrections`).

    Args:
        source: A folder of labelled pictures, or a TOML file of sources.
        folder: The folder to train the networks in; a stopped search continues there.
        preset: The preset to train, not an ensemble; None chooses as `captcha-rt train` does.
        folds: The number of folds that the pictures are cut into, at least 2.
        epochs: The number of epochs of each network; None takes 12 of a preset, or what was chosen.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        fold_case: Whether labels are folded to lower case.
        observer: Where the training reports its progress.

    Returns:
        The suspects, the highest confidence first. They are also written to `suspects.csv` in
        `folder`, with the columns of a file of corrections and the confidence.

    Raises:
        FolderError: If a path is not a folder, or a folder holds no pictures.
        LabelError: If the labels don't have the given form, or fit several forms.
        TrainingError: If there are fewer pictures than folds, the preset is an ensemble, or another
            process trains in the folder.
        RunError: If the folder holds a run of `train`, or the pictures.
    """
    observer = observer or Observer()
    _refuse_run(Run(folder), source)
    if preset is not None and preset.network == ENSEMBLE:
        raise TrainingError("an ensemble has no network that reads whole texts; use another preset")
    if preset is None:
        shown = _read(source, load_preset(TRUNK), labels, fold_case, observer)
        shown = _without_far_longer(shown, observer)
        preset = _choose(shown, folds)
        dataset = with_recipe(shown, preset.recipe)
    else:
        epochs = epochs or _EPOCHS
        dataset = _without_far_longer(_read(source, preset, labels, fold_case, observer), observer)
    for note in dataset.notes:
        observer.say(note)
    if folds < 2 or not all(cut_folds(dataset.samples, folds)):
        raise TrainingError(f"{len(dataset.samples)} pictures can't be cut into {folds} folds")
    check_visible(dataset.samples, preset)
    planned = plan(dataset, preset)
    with alone_in(folder):
        suspects, agreed = _compare(Run(folder), preset, planned, folds, epochs, observer)
    observer.say(_judge(agreed, len(planned.dataset.samples)))
    suspects.sort(key=lambda suspect: -suspect.confidence)
    sources = {sample.name: sample.source for sample in dataset.samples}
    rows = [(sources[suspect.picture], suspect) for suspect in suspects]
    _write(folder / SUSPECTS_FILE, rows, source.resolve().name)
    return suspects


def _compare(
    run: Run, preset: Preset, planned: Plan, folds: int, epochs: int | None, observer: Observer
) -> tuple[list[Suspect], int]:
    """Trains a network for each fold; returns the suspects, and how many labels are read."""
    count = epochs or preset.settings.epochs
    settings = replace(preset.settings, epochs=count, patience=count)
    _forget_others(run, planned.dataset, replace(preset, settings=settings), folds)
    suspects: list[Suspect] = []
    agreed = 0
    for fold, held_back in enumerate(cut_folds(planned.dataset.samples, folds), 1):
        names = {sample.name for sample in held_back}
        parts = {
            "training": [s for s in planned.dataset.samples if s.name not in names],
            "validation": held_back,
        }
        observer.say(f"training on all but part {fold} of {folds}")
        network = run.network(f"fold-{fold}")
        task = Fit(planned.manifest, parts, settings, network, observer=observer)
        found, as_labelled = _find_contradicted(preset, planned, task)
        suspects += found
        agreed += as_labelled
    return suspects, agreed


def _refuse_run(run: Run, source: Path) -> None:
    """Refuses the folder of a training, whose split would be lost, and that of the pictures."""
    files = run.manifest_file, run.preset_file, run.history_file, run.model_file
    if any(file.exists() for file in files):
        raise RunError(f"{run.folder} holds a run of captcha-rt train: choose another with -o")
    if run.folder.resolve() == source.resolve():
        raise RunError(f"{run.folder} holds the pictures: choose another folder with -o")


def _read(
    source: Path, preset: Preset, labels: str, fold_case: bool, observer: Observer
) -> Dataset:
    return read_dataset(
        source,
        preset.recipe,
        labels=labels,
        blank=preset.blank,
        watch=observer.watch,
        fold_case=fold_case,
    )


def _without_far_longer(dataset: Dataset, observer: Observer) -> Dataset:
    """Leaves out labels that are far longer than the others, and names them."""
    left = skip_far_longer(dataset)
    for name, reason in left.skipped[len(dataset.skipped) :]:
        observer.say(f"probably wrong, and left out: {name}: {reason}")
    return left


def _choose(dataset: Dataset, folds: int) -> Preset:
    """What `captcha-rt train` would choose, with half as many steps for each part."""
    if not dataset.samples:
        raise TrainingError("no usable picture; `captcha-rt dataset` says why")
    chosen = choose(dataset, "suspects", _MINUTES / folds, seed=0).preset
    epochs = -(-chosen.settings.epochs // 2)
    return replace(chosen, settings=replace(chosen.settings, epochs=epochs))


def _forget_others(run: Run, dataset: Dataset, preset: Preset, folds: int) -> None:
    """Deletes the networks of an earlier search of other pictures, labels or settings."""
    files = [
        SampleFile(Path(sample.name), sample.label, f"fold-{fold}", sample.source)
        for fold, samples in enumerate(cut_folds(dataset.samples, folds), 1)
        for sample in samples
    ]
    chosen = {name: getattr(preset, name) for name in ("layers", "start", "letters")}
    facts = {**asdict(preset.settings), **chosen, "recipe": preset.recipe.to_json()}
    try:
        run.check_settings(facts, resume=True)
        run.check_split(files, resume=True)
    except RunError:
        for fold in run.folder.glob("fold-*"):
            Run(fold).remove()
    run.write_settings(facts)
    run.write_split(files)


def _judge(agreed: int, count: int) -> str:
    """How many pictures the networks read as labelled, and what that says of the others."""
    line = f"the networks read {agreed} of {count} pictures as they are labelled"
    if 2 * agreed >= count:
        return line
    return f"{line}: too few to find most wrong labels; label more pictures, and search again"


def _find_contradicted(preset: Preset, planned: Plan, task: Fit) -> tuple[list[Suspect], int]:
    """Trains a network, and compares the labels of the validation part with what it reads.

    Returns:
        The labels that it contradicts, and the number of those that it reads.
    """
    keras.utils.set_random_seed(task.settings.seed)
    model = planned.build(planned.length)
    start_from(preset, model, planned.manifest.charset, task.settings.seed)
    fit(model, task)
    held_back = task.parts["validation"]
    temperature = fit_temperature(model, task.manifest, held_back)
    manifest = replace(task.manifest, temperature=temperature)
    scores = predict_scores(model, manifest, held_back)
    read, wrong = contradict(held_back, manifest, scores)
    suspects = [
        Suspect(sample.name, sample.label, text, probability)
        for sample, text, probability in zip(held_back, read, wrong.tolist(), strict=True)
        if probability >= DOUBTED
    ]
    return suspects, sum(text == sample.label for sample, text in zip(held_back, read, strict=True))


def cut_folds(samples: Sequence[Sample], folds: int) -> list[list[Sample]]:
    """Cuts samples into folds.

    Neighbours, often labelled together, go into different folds. Copies of a picture go into one:
    a network that has learned one of them knows its label, be it right or wrong.

    Args:
        samples: The samples.
        folds: The number of folds, at least 1.

    Returns:
        The folds; with fewer different pictures than folds, some are empty.
    """
    alike: dict[bytes, list[Sample]] = {}
    for sample in samples:
        alike.setdefault(hash_pixels(sample.picture), []).append(sample)
    cut: list[list[Sample]] = [[] for _ in range(folds)]
    for copies in alike.values():
        min(cut, key=len).extend(copies)
    return cut


def _write(path: Path, suspects: Sequence[tuple[str, Suspect]], folder: str) -> None:
    """Writes the suspects, each with its source and its picture's path below that.

    Args:
        path: The file.
        suspects: The suspects, each with the name of its source; a folder by itself has none.
        folder: That folder's name.
    """
    with (
        write_atomically(path) as partial_path,
        partial_path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("data", "picture", "label", "shown", "confidence"))
        for source, suspect in suspects:
            below = suspect.picture.removeprefix(f"{source}/") if source else suspect.picture
            confidence = f"{suspect.confidence:.4f}"
            writer.writerow((source or folder, below, suspect.label, suspect.shown, confidence))
