"""Reads, splits and plans what a training starts from, and writes the beginning of its run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from captcha_rt.files import write_atomically
from captcha_rt_export.int8 import CALIBRATION_SAMPLES
from captcha_rt_export.run import TRAINING, Run, SampleFile
from captcha_rt_export.spread import spread
from captcha_rt_train.data.duplicates import hash_pixels, skip_duplicates
from captcha_rt_train.data.earlier import add_earlier
from captcha_rt_train.data.lengths import skip_far_longer
from captcha_rt_train.data.samples import Dataset, Sample, split
from captcha_rt_train.data.sources import is_sources_file, parse_sources, read_dataset
from captcha_rt_train.data.visibility import check_visible
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import Preset, write_preset
from captcha_rt_train.training.ensemble import Parts, check_settings
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.planning import Plan, plan
from captcha_rt_train.training.trunk import start_from


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


def prepare(job: Job, dataset: Dataset | None = None) -> Prepared:
    """Reads and splits the samples, plans the network, and writes settings and split.

    Args:
        job: The training.
        dataset: The samples, if `read` was called before; prepared by the preset's recipe.

    Raises:
        FolderError, LabelError, CharsetError, TrainingError, RunError: As `train` does.
    """
    run_settings = check_settings(job, _describe_settings(job))
    planned = _plan(job, read(job) if dataset is None else dataset)
    if job.preset.start:  # a start that is refused leaves nothing in the folder
        start_from(job.preset, planned.build(planned.length), planned.manifest.charset, seed=0)
    # A digit that is trained alone may have its own seed, but it has the run's split.
    parts = split(
        planned.dataset,
        validation=job.settings.validation,
        test=job.settings.test,
        seed=run_settings["seed"],
    )
    _start_run(job, run_settings, parts)
    return Prepared(run_settings, planned, parts)


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
        dataset = add_earlier(
            dataset,
            job.earlier,
            recipe,
            job.source,
            characters=job.settings.characters,
            fold_case=job.fold_case,
            watch=job.observer.watch,
        )
    return skip_far_longer(skip_duplicates(dataset)) if job.cleaned else dataset


def nothing_usable(job: Job, dataset: Dataset) -> TrainingError:
    """The error of a data set without a usable picture: with the first one's reason."""
    name, reason = dataset.skipped[0]
    return TrainingError(f"no usable picture in {job.source}; the first: {name}: {reason}")


def save_preset(run: Run, preset: Preset, comments: str) -> None:
    """Writes a preset into the run's folder, which is created if needed."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(run.preset_file) as path:
        path.write_text(write_preset(preset, comments), "utf-8")


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


def _plan(job: Job, dataset: Dataset) -> Plan:
    """Plans the network, and reports the data set that the network will learn."""
    if dataset.samples:
        check_visible(dataset.samples, job.preset)
    planned = plan(dataset, job.preset) if dataset.samples else None
    dataset = planned.dataset if planned else dataset
    job.observer.report(dataset)
    if planned is None or not dataset.samples:
        raise nothing_usable(job, dataset)
    if job.digit is not None and not 1 <= job.digit <= planned.length:
        raise TrainingError(f"no digit {job.digit}; the texts have digits 1 to {planned.length}")
    named = replace(planned.manifest, name=job.run.name, licence=job.settings.licence)
    return replace(planned, manifest=named)


def _start_run(job: Job, run_settings: Mapping[str, Any], parts: Parts) -> None:
    """Checks and writes the split, and writes the settings and some of the drawn pictures."""
    files = [
        SampleFile(
            sample.path.resolve() if sample.path else Path(sample.name),
            sample.label,
            part,
            sample.source,
            hash_pixels(sample.picture).hex() if sample.path else "",
        )
        for part, samples in parts.items()
        for sample in samples
    ]
    job.run.check_split(files, resume=job.resume or job.digit is not None)
    job.run.write_split(files)
    job.run.write_settings(run_settings)
    keep_drawn(job.run, parts[TRAINING])


def keep_drawn(run: Run, training: Sequence[Sample]) -> None:
    """Writes some training pictures into the run's folder, if all of them were drawn.

    An export in 8 bits measures ranges on them: drawn pictures have no files.
    """
    if any(sample.path for sample in training):
        return
    run.drawn.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(spread(training, CALIBRATION_SAMPLES)):
        channels = sample.picture.shape[2]
        order = [2, 1, 0, 3][:channels] if channels > 1 else [0]  # OpenCV's: blue first
        png = cv2.imencode(".png", sample.picture[:, :, order])[1]
        (run.drawn / f"{number:03}.png").write_bytes(png.tobytes())
