"""Trains a preset on a data set, and writes the run's folder."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import keras

from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, only_answer, summarize
from captcha_rt_export.run import Run
from captcha_rt_train.data.samples import Dataset
from captcha_rt_train.lock import alone_in
from captcha_rt_train.report import Curves, write_report
from captcha_rt_train.training.calibration import fit_temperature
from captcha_rt_train.training.ensemble import (
    ENSEMBLE,
    Network,
    Parts,
    check_digit,
    observe,
    train_ensemble,
)
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fitting import Fit, fit, predict
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.planning import Plan
from captcha_rt_train.training.preparing import Prepared, prepare, save_preset
from captcha_rt_train.training.trunk import start_from


def train(job: Job) -> Manifest | None:
    """Trains a preset on labelled pictures.

    Args:
        job: What to train, on what, and where.

    Returns:
        The model's description, with its measured accuracy; None if some digits of an ensemble
        are not trained yet. The facts of a training that learned nothing hold `only_answer`: what
        the network answers every picture with.

    Raises:
        FolderError: If a path is not a folder, or a folder holds no pictures.
        LabelError: If the labels don't have the given form, or fit several forms.
        CharsetError: If the characters of the settings are no charset.
        TrainingError: If no usable picture is left, the network can't be built for the pictures,
            there is no such digit, or another process trains in the folder.
        RunError: If the run's folder holds a run that is not to be resumed, or a run with other
            settings or another split.
    """
    check_digit(job)
    with alone_in(job.run.folder):
        prepared = prepare(job)
        networks, model = _fit(job, prepared)
        if model is None:
            return None
        measured = measure(job, prepared, networks, model)
        finish(job, prepared, networks, model, measured)
        return measured.manifest


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a trained network reads what was held back from training.

    Attributes:
        manifest: The description, with the temperature, the facts about the training and the
            accuracy.
        predictions: The predictions for each part that was held back.
    """

    manifest: Manifest
    predictions: Mapping[str, Sequence[Prediction]]


def measure(
    job: Job, prepared: Prepared, networks: Sequence[Network], model: keras.Model
) -> Measured:
    """Calibrates a trained model, and reads what was held back from training."""
    dataset, parts = prepared.planned.dataset, prepared.parts
    manifest = _calibrate(model, prepared.planned.manifest, parts)
    predictions = _predict(model, manifest, parts)
    training = _describe_training(job, prepared.settings, dataset, parts, networks, model)
    described = replace(
        manifest,
        training=training | _describe_failure(predictions),
        accuracy=_measure(parts, predictions),
    )
    return Measured(described, predictions)


def finish(
    job: Job,
    prepared: Prepared,
    networks: Sequence[Network],
    model: keras.Model,
    measured: Measured,
    verdict: Sequence[str] = (),
) -> None:
    """Writes the report, the model and, last of all, the description.

    Args:
        job: The training.
        prepared: What it started from.
        networks: The networks with their histories.
        model: The model to save.
        measured: How well the networks read what was held back.
        verdict: Lines in plain words for the top of the report.
    """
    dataset, manifest = prepared.planned.dataset, measured.manifest
    _write_report(job.run, manifest, networks, model, dataset, measured.predictions, verdict)
    if not job.run.preset_file.exists():  # so that `--from` can go on, whatever file it came from
        preset = replace(job.preset, settings=job.settings)
        save_preset(job.run, preset, f"What this run was trained with: the preset {preset.name}.")
    _save(job.run, model, manifest)


def _fit(job: Job, prepared: Prepared) -> tuple[list[Network], keras.Model | None]:
    """Trains the network or networks; returns no model if some are not trained yet."""
    if job.preset.network == ENSEMBLE:
        return train_ensemble(job, prepared.planned, prepared.parts, prepared.settings)
    network = fit_network(job, prepared.planned, prepared.parts, job.run)
    return [network], network.model


def fit_network(job: Job, planned: Plan, parts: Parts, run: Run) -> Network:
    """Trains one network, from the preset's trunk if it names one.

    Args:
        job: The training, with its preset and settings.
        planned: The network for the data set.
        parts: The samples to train on, `training`, and to measure the epochs on, `validation`.
        run: The folder of the network's history and weights.
    """
    keras.utils.set_random_seed(job.settings.seed)
    model = planned.build(planned.length)
    start_from(job.preset, model, planned.manifest.charset, job.settings.seed)
    counts = {name: source.epoch for name, source in planned.dataset.settings.items()}
    observer = job.observer if run == job.run else observe(job, run)
    task = Fit(planned.manifest, parts, job.settings, run, counts=counts, observer=observer)
    return Network("", model, fit(model, task))


def _calibrate(model: keras.Model, manifest: Manifest, parts: Parts) -> Manifest:
    return replace(manifest, temperature=fit_temperature(model, manifest, parts["validation"]))


def _predict(model: keras.Model, manifest: Manifest, parts: Parts) -> dict[str, list[Prediction]]:
    """Reads the samples of the parts that were held back from training."""
    return {
        part: predict(model, manifest, samples)
        for part, samples in parts.items()
        if part != "training" and samples
    }


def _describe_training(
    job: Job,
    run_settings: Mapping[str, Any],
    dataset: Dataset,
    parts: Parts,
    networks: Sequence[Network],
    model: keras.Model,
) -> dict[str, Any]:
    """The manifest's facts about the training."""
    return {
        "document": job.preset.document,
        **{name: value for name, value in run_settings.items() if name != "recipe"},
        "label_form": dataset.form,
        "pictures": {part: len(samples) for part, samples in parts.items()},
        "skipped": len(dataset.skipped),
        "parameters": model.count_params(),
        **_describe_epochs([network.epochs for network in networks]),
    }


def _describe_epochs(networks: Sequence[Epochs]) -> dict[str, Any]:
    """The facts that are known at the end; an ensemble's epochs are lists, one per network."""
    done = [epochs.done for epochs in networks]
    best = [epochs.best for epochs in networks]
    backend = keras.backend.backend()
    return {
        "epochs_trained": done if len(done) > 1 else done[0],
        "best_epoch": best if len(best) > 1 else best[0],
        "seconds": round(sum(row["seconds"] for epochs in networks for row in epochs.history)),
        "backend": backend,
        "versions": {name: version(name) for name in ("captcha-rt-train", "keras", backend)},
        "python": platform.python_version(),
        "finished": datetime.now(UTC).date().isoformat(),
    }


def _describe_failure(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, str]:
    """The fact `only_answer` of a network that has learned nothing; else no fact."""
    read = [prediction for part in predictions.values() for prediction in part]
    answer = only_answer([prediction.text for prediction in read])
    if answer is None or all(prediction.truth == answer for prediction in read):
        return {}
    return {"only_answer": answer}


def _measure(
    parts: Parts, predictions: Mapping[str, Sequence[Prediction]]
) -> dict[str, dict[str, Any]]:
    """The accuracy on each part that was held back, and on each source's samples in it."""
    accuracy: dict[str, dict[str, Any]] = {}
    for part, part_predictions in predictions.items():
        accuracy[part] = summarize(part_predictions)
        sources = [sample.source for sample in parts[part]]
        for source in filter(None, dict.fromkeys(sources)):
            if source == part:  # a ready-made split, whose source is the whole part
                continue
            pairs = zip(part_predictions, sources, strict=True)
            accuracy[f"{part} {source}"] = summarize([p for p, name in pairs if name == source])
    return accuracy


def _write_report(
    run: Run,
    manifest: Manifest,
    networks: Sequence[Network],
    model: keras.Model,
    dataset: Dataset,
    predictions: Mapping[str, Sequence[Prediction]],
    verdict: Sequence[str],
) -> None:
    """Writes the report on the test part if there is one, else on the validation part."""
    part = "test" if "test" in predictions else "validation"
    misread = {p.path for p in predictions[part] if p.text != p.truth}
    lines: list[str] = []
    model.summary(print_fn=lines.append, expand_nested=True)
    write_report(
        run,
        manifest,
        curves=[Curves(n.name, n.epochs.history, n.epochs.best) for n in networks],
        labels=[sample.label for sample in dataset.samples],
        predictions=predictions[part],
        pictures={s.name: s.picture for s in dataset.samples if s.name in misread},
        part=part,
        summary="\n".join(lines),
        verdict=verdict,
    )


def _save(run: Run, model: keras.Model, manifest: Manifest) -> None:
    """Writes the model and, last of all, its description."""
    with write_atomically(run.model_file) as path:
        model.save(path, include_optimizer=False)
    run.write_manifest(manifest)
