"""Document 001's ensemble: one network for each digit, trained one after the other or alone."""

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

ENSEMBLE: Final = "ensemble"
"""The name of the network, as presets have it."""

_START_EPOCHS: Final = 2
"""The network for all digits trains this many times the epochs of a digit's network."""

_DIGIT_RATE: Final = 0.5
"""The learning rate of a digit's network, as a share of that of the network for all digits."""

# A digit trained alone must see the same data as the run's other digits.
_DATA_SETTINGS: Final = (
    *("folder", "preset", "recipe", "labels"),
    *("validation", "test", "characters"),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network: a model's only one, or one of an ensemble.

    Attributes:
        name: `digit 3` in an ensemble, else empty.
        model: The network with its best weights.
        epochs: How it was trained.
    """

    name: str
    model: keras.Model
    epochs: Epochs


def check_digit(job: Job) -> None:
    """Checks that only a digit of an ensemble is to be trained alone.

    Raises:
        TrainingError: If a digit is named, and the preset is no ensemble.
    """
    if job.digit is not None and job.preset.network != ENSEMBLE:
        raise TrainingError(f"preset {job.preset.name!r} is one network for all digits")


def check_settings(job: Job, settings: dict[str, Any]) -> dict[str, Any]:
    """Checks that the settings are those of the run; for one digit alone, those of the data.

    Args:
        job: The training.
        settings: The settings that it is started with.

    Returns:
        The run's settings.

    Raises:
        RunError: If the folder holds another run, or one that is not to be resumed.
    """
    started = job.run.settings()
    if job.digit is None or started is None:
        job.run.check_settings(settings, resume=job.resume)
        return settings
    for name in _DATA_SETTINGS:
        if started[name] != settings[name]:
            raise RunError(
                f"can't train digit {job.digit} alone: {job.run.settings_file} says {name} "
                f"{started[name]!r}, not {settings[name]!r}"
            )
    return started


def train_ensemble(
    job: Job, planned: Plan, parts: Parts, started: Mapping[str, Any]
) -> tuple[list[Network], keras.Model | None]:
    """Trains the digits' networks one after the other, or only one of them.

    The document had thousands of pictures. With some hundred, a network that learns one digit
    alone sees too few of each: it read 97 to 99 % of the validation digits, so that the six
    together read 90 % of the texts. Hence two additions. All networks start from one that learned
    all digits at once, since a digit looks the same at each place. And each network sees its
    digit, plus one digit's width on each side, among other pictures' digits. From whole pictures
    it learned which picture has which digit, and read 2 of 88 first digits wrong; now it reads
    all of them.

    Args:
        job: The training.
        planned: Network and description of the ensemble.
        parts: The split.
        started: The settings that the run was started with.

    Returns:
        The networks in the order of the digits, and the merged one; None as long as some of them
        are not trained.

    Raises:
        TrainingError: If there is no such digit.
    """
    if job.digit is not None and not job.resume:
        _digit_run(job, job.digit).remove()
    # The licence is no setting of the training, and may change.
    names = asdict(job.settings).keys() - {"licence"}
    settings = Settings(**{n: started[n] for n in names}, licence=job.settings.licence)
    together = _train_start(job, planned, parts, settings)
    networks = [
        _train_digit(
            *(job, planned, parts, together, digit),
            job.settings if digit == job.digit else settings,
        )
        for digit in range(1, planned.length + 1)
    ]
    if not all(network.epochs.finished for network in networks):
        return networks, None
    return networks, merge([network.model for network in networks])


def _train_start(job: Job, planned: Plan, parts: Parts, settings: Settings) -> keras.Model:
    """Trains the network for all digits."""
    keras.utils.set_random_seed(settings.seed)
    model = planned.build(planned.length)
    epochs = _START_EPOCHS * settings.epochs
    settings = replace(settings, epochs=epochs, patience=epochs)
    run = job.run.network("start")
    fit(model, Fit(planned.manifest, parts, settings, run, observer=_observe(job, run)))
    return model


def _train_digit(
    job: Job, planned: Plan, parts: Parts, together: keras.Model, digit: int, settings: Settings
) -> Network:
    """Trains the network of one digit; it is only loaded if another one is trained alone."""
    run = _digit_run(job, digit)
    keras.utils.set_random_seed(settings.seed)
    model = planned.build(1)
    _copy_digit(together, model, digit - 1)
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
        observer=_observe(job, run),
    )
    epochs = fit(model, task, train=job.digit in (None, digit))
    return Network(f"digit {digit}", model, epochs)


def _digit_run(job: Job, digit: int) -> Run:
    return job.run.network(f"digit-{digit}")


def _observe(job: Job, run: Run) -> Observer:
    """The job's observer, with a folder of its own for the logs of one network."""
    logs = job.observer.tensorboard
    return replace(job.observer, tensorboard=logs and logs / run.folder.name)


def _copy_digit(start: keras.Model, model: keras.Model, place: int) -> None:
    """Copies the weights of the network for all digits; of the head only one digit's classes."""
    *shared, kernel, bias = start.get_weights()
    classes = model.output_shape[-1]
    columns = slice(place * classes, (place + 1) * classes)
    model.set_weights([*shared, kernel[:, columns], bias[columns]])
