"""Trains a preset on a data set, and writes the run's folder."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, only_answer, summarize
from captcha_rt_export.run import Run, SampleFile
from captcha_rt_train.data.duplicates import skip_duplicates
from captcha_rt_train.data.earlier import add_earlier
from captcha_rt_train.data.samples import Dataset, split
from captcha_rt_train.data.sources import is_sources_file, parse_sources, read_dataset
from captcha_rt_train.data.visibility import check_visible
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.report import Curves, write_report
from captcha_rt_train.training.calibration import fit_temperature
from captcha_rt_train.training.ensemble import (
    ENSEMBLE,
    Network,
    Parts,
    check_digit,
    check_settings,
    train_ensemble,
)
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fitting import Fit, fit, predict
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.planning import Plan, plan
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
            or there is no such digit.
        RunError: If the run's folder holds a run that is not to be resumed, or a run with other
            settings or another split.
    """
    check_digit(job)
    prepared = prepare(job)
    networks, model = _fit(job, prepared)
    if model is None:
        return None
    measured = measure(job, prepared, networks, model)
    finish(job, prepared, networks, model, measured)
    return measured.manifest


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training starts from.

    Attributes:
        settings: The run's settings, as `run.json` stores them.
        planned: The network for the data set.
        parts: The samples of `training`, `validation` and `test`.
    """

    settings: Mapping[str, Any]
    planned: Plan
    parts: Parts


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


def prepare(job: Job) -> Prepared:
    """Reads and splits the samples, plans the network, and writes settings and split.

    Raises:
        FolderError, LabelError, CharsetError, TrainingError, RunError: As `train` does.
    """
    run_settings = check_settings(job, _describe_settings(job))
    planned = _plan(job, read(job))
    # A digit that is trained alone may have its own seed, but it has the run's split.
    parts = split(
        planned.dataset,
        validation=job.settings.validation,
        test=job.settings.test,
        seed=run_settings["seed"],
    )
    _start_run(job, run_settings, parts)
    return Prepared(run_settings, planned, parts)


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
    _save(job.run, model, manifest)


def _describe_settings(job: Job) -> dict[str, Any]:
    """The job's settings as `run.json` stores them; a resumed run must have the same settings."""
    preset = job.preset
    settings = {name: value for name, value in asdict(job.settings).items() if name != "licence"}
    return {
        "folder": job.source.resolve().name,
        "preset": preset.name,
        "recipe": preset.recipe.to_json(),
        "labels": job.labels,
        **({"layers": preset.layers} if preset.layers else {}),
        **({"start": preset.start, "letters": preset.letters} if preset.start else {}),
        **({"validated_on": Path(job.validation).name} if job.validation else {}),
        **({"fold_case": True} if job.fold_case else {}),
        **({"earlier": job.earlier.name} if job.earlier else {}),
        **({"sources": parse_sources(job.source)} if is_sources_file(job.source) else {}),
        **settings,
    }


def read(job: Job) -> Dataset:
    """Reads a job's pictures with its preset's recipe, and those of an earlier run.

    Raises:
        FolderError, LabelError, CharsetError, TrainingError: As `train` does.
        ExportError: If the earlier run's list of pictures can't be read.
    """
    recipe = job.preset.recipe
    dataset = read_dataset(
        job.source,
        recipe,
        labels=job.labels,
        characters=job.settings.characters,
        blank=job.preset.blank,
        seed=job.settings.seed,
        watch=job.observer.watch,
        validation=job.validation,
        fold_case=job.fold_case,
    )
    if job.earlier is not None:
        dataset = add_earlier(dataset, job.earlier, recipe, watch=job.observer.watch)
    return skip_duplicates(dataset) if job.without_copies else dataset


def _plan(job: Job, dataset: Dataset) -> Plan:
    """Plans the network, and reports the data set that the network will learn."""
    if dataset.samples:
        check_visible(dataset.samples, job.preset)
    planned = plan(dataset, job.preset) if dataset.samples else None
    dataset = planned.dataset if planned else dataset
    job.observer.report(dataset)
    if planned is None or not dataset.samples:
        name, reason = dataset.skipped[0]
        raise TrainingError(f"no usable picture in {job.source}; the first: {name}: {reason}")
    if job.digit is not None and not 1 <= job.digit <= planned.length:
        raise TrainingError(f"no digit {job.digit}; the texts have digits 1 to {planned.length}")
    named = replace(planned.manifest, name=job.run.name, licence=job.settings.licence)
    return replace(planned, manifest=named)


def _start_run(job: Job, run_settings: Mapping[str, Any], parts: Parts) -> None:
    """Checks and writes the split, and writes the settings."""
    files = [
        SampleFile(
            sample.path.resolve() if sample.path else Path(sample.name),
            sample.label,
            part,
            sample.source,
        )
        for part, samples in parts.items()
        for sample in samples
    ]
    job.run.check_split(files, resume=job.resume or job.digit is not None)
    job.run.write_split(files)
    job.run.write_settings(run_settings)


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
    task = Fit(planned.manifest, parts, job.settings, run, counts=counts, observer=job.observer)
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
