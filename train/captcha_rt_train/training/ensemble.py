"""Document 001's ensemble: one network per digit. All are trained in turn, or one alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import keras

from captcha_rt.manifest import Tensor
from captcha_rt_export.errors import RunError
from captcha_rt_export.run import Run
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import merge
from captcha_rt_train.presets import Settings
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fitting import Fit, fit
from captcha_rt_train.training.job import Job, Observer
from captcha_rt_train.training.planning import Plan

Parts = Mapping[str, Sequence[Sample]]
"""The samples of the parts `training`, `validation` and `test`."""

ENSEMBLE: Final = "ensemble"
"""The ensemble's name in `networks.NETWORKS`."""

_START_EPOCHS: Final = 2
"""The epochs of the network for all digits, as a multiple of those of a digit's network."""

_DIGIT_RATE: Final = 0.5
"""A digit's network learns at this fraction of the learning rate of the network for all digits."""

# A digit that is trained alone must see the same data as the run's other digits.
_DATA_SETTINGS: Final = (
    "folder",
    "preset",
    "recipe",
    "labels",
    "validation",
    "test",
    "characters",
)


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network: a model's only network, or one of an ensemble's.

    Attributes:
        name: In an ensemble the digit, such as `digit 3`; else empty.
        model: The network with its best weights.
        epochs: The history of its training.
    """

    name: str
    model: keras.Model
    epochs: Epochs


def check_digit(job: Job) -> None:
    """Checks that a job names a digit only if its preset is an ensemble.

    Raises:
        TrainingError: If the job names a digit, and the preset is not an ensemble.
    """
    if job.digit is not None and job.preset.network != ENSEMBLE:
        raise TrainingError(f"preset {job.preset.name!r} is one network for all digits")


def check_settings(job: Job, settings: dict[str, Any]) -> dict[str, Any]:
    """Checks a job's settings against those of the run in its folder, if there is a run.

    All settings must be equal. If one digit is trained alone, only those of the data must be.

    Args:
        job: The training.
        settings: The job's settings, as `run.json` stores them.

    Returns:
        The run's settings, which the network for all digits and the other digits' networks keep.

    Raises:
        RunError: If the settings differ, or the folder holds a run that is not to be resumed.
    """
    run_settings = job.run.settings()
    if job.digit is None or run_settings is None:
        job.run.check_settings(settings, resume=job.resume)
        return settings
    for name in _DATA_SETTINGS:
        if run_settings[name] != settings[name]:
            raise RunError(
                f"can't train digit {job.digit} alone: {job.run.settings_file} says {name} "
                f"{run_settings[name]!r}, not {settings[name]!r}"
            )
    return run_settings


def train_ensemble(
    job: Job, planned: Plan, parts: Parts, run_settings: Mapping[str, Any]
) -> tuple[list[Network], keras.Model | None]:
    """Trains the digits' networks one after the other, or only the job's digit.

    The document had thousands of pictures. With some hundred, a network that learns one digit alone
    sees too few examples of each digit: each network read 97 to 99 % of the validation digits, so
    that the six together read 90 % of the texts. Two additions help. First, all networks start from
    the weights of a network that learned all digits at once, since a digit looks the same at each
    place. Second, a network sees its digit, plus one digit's width on each side, among the digits
    of other pictures. From whole pictures, the first digit's network learned which picture has
    which digit, and read 2 of 88 digits wrong; now it reads all of them.

    Args:
        job: The training.
        planned: The ensemble's plan.
        parts: The split's samples by part.
        run_settings: The run's settings, as `run.json` stores them.

    Returns:
        The networks in the order of the digits, and the model that merges them; None in place of
        the model if some networks are not trained yet.
    """
    if job.digit is not None and not job.resume:
        _digit_run(job, job.digit).remove()
    # The licence is no setting of the training, and may change.
    names = asdict(job.settings).keys() - {"licence"}
    settings = Settings(**{n: run_settings[n] for n in names}, licence=job.settings.licence)
    start = _train_start(job, planned, parts, settings)
    networks = [
        _train_digit(
            job, planned, parts, start, digit, job.settings if digit == job.digit else settings
        )
        for digit in range(1, planned.length + 1)
    ]
    if not all(network.epochs.finished for network in networks):
        return networks, None
    return networks, merge([network.model for network in networks])


def _train_start(job: Job, planned: Plan, parts: Parts, settings: Settings) -> keras.Model:
    """Trains the network for all digits, which the digits' networks start from."""
    keras.utils.set_random_seed(settings.seed)
    model = planned.build(planned.length)
    epochs = _START_EPOCHS * settings.epochs
    settings = replace(settings, epochs=epochs, patience=epochs)
    run = job.run.network("start")
    fit(model, Fit(planned.manifest, parts, settings, run, observer=observe(job, run)))
    return model


def _train_digit(
    job: Job, planned: Plan, parts: Parts, start: keras.Model, digit: int, settings: Settings
) -> Network:
    """Trains the network of one digit; only loads it if the job trains another digit alone."""
    run = _digit_run(job, digit)
    keras.utils.set_random_seed(settings.seed)
    model = planned.build(1)
    _copy_digit(start, model, digit - 1)
    length, classes = planned.length, planned.manifest.charset.classes
    task = Fit(
        manifest=replace(planned.manifest, output=Tensor("logits", (None, 1, classes))),
        parts={
            part: [replace(sample, label=sample.label[digit - 1]) for sample in samples]
            for part, samples in parts.items()
        },
        settings=replace(settings, learning_rate=_DIGIT_RATE * settings.learning_rate),
        run=run,
        window=((digit - 2) / length, (digit + 1) / length),
        observer=observe(job, run),
    )
    epochs = fit(model, task, train=job.digit in (None, digit))
    return Network(f"digit {digit}", model, epochs)


def _digit_run(job: Job, digit: int) -> Run:
    return job.run.network(f"digit-{digit}")


def observe(job: Job, run: Run) -> Observer:
    """The job's observer, but with a separate folder for the network's TensorBoard logs."""
    logs = job.observer.tensorboard
    return replace(job.observer, tensorboard=logs and logs / run.folder.name)


def _copy_digit(start: keras.Model, model: keras.Model, place: int) -> None:
    """Copies the weights of the network for all digits; from its head only one digit's classes."""
    *shared, kernel, bias = start.get_weights()
    classes = model.output_shape[-1]
    columns = slice(place * classes, (place + 1) * classes)
    model.set_weights([*shared, kernel[:, columns], bias[columns]])
