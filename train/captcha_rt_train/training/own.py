"""Trains a reader of one's own captchas, without a preset: from a folder to a model file.

What is chosen is written as a preset beside the run. With few pictures, those that were held back
to measure the network are too dear to be left out: the same training is then done once more with
all of them, and the model keeps the accuracy that was measured before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from shlex import quote
from typing import Any, Final

import keras

from captcha_rt.labels import AUTO
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Prediction, evaluate
from captcha_rt_export.errors import RunError
from captcha_rt_export.run import TRAINING, Run
from captcha_rt_train.data.earlier import EARLIER, HELD_BACK, NEW
from captcha_rt_train.data.samples import Dataset, Sample, with_recipe
from captcha_rt_train.data.sources import is_sources_file
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.lock import alone_in
from captcha_rt_train.presets import Preset, load_preset
from captcha_rt_train.training.choosing import LARGER, TRUNK, choose, epoch_steps, go_on_from
from captcha_rt_train.training.delivering import as_it_is, deliver
from captcha_rt_train.training.doubts import describe_doubts
from captcha_rt_train.training.ensemble import Network
from captcha_rt_train.training.epochs import NOTHING
from captcha_rt_train.training.fitting import predict_scores
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.preparing import (
    Prepared,
    nothing_usable,
    prepare,
    read,
    save_preset,
)
from captcha_rt_train.training.train import finish, fit_network, measure

FEWEST: Final = 20
"""The least number of labelled pictures."""

FEWEST_NEW: Final = 5
"""The least number of new ones among them, if an earlier run is gone on from and there are any."""

_OLD: Final = EARLIER, HELD_BACK  # sources of pictures that an earlier run had

_FEW: Final = 500  # fewer pictures are all trained on in the end
_SHOWS: Final = 100  # pictures held back that show what twice as many would bring about
_PLATEAU: Final = 300  # steps after which a network that reads nothing is stuck
# How the minutes are shared between the training, the one with half as many pictures, and the one
# with all.
_SHARES: Final = {"few": (0.4, 0.2, 0.4), "many": (0.75, 0.25, 0.0)}

_COMMENTS: Final = """What `captcha-rt train` chose, and why. Change a line, and train again with
captcha-rt train FOLDER -o ANOTHER_RUN --preset THIS_FILE"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a training without a preset came to.

    Attributes:
        manifest: The description of the model file, with its accuracy.
        verdict: How good the model is, in plain words, a line each.
    """

    manifest: Manifest
    verdict: tuple[str, ...]


def train_own(job: Job, minutes: float, validation: float | None = None) -> Result:
    """Chooses how to train on labelled pictures, trains, exports and measures.

    A run that was stopped is gone on with, with what was chosen then.

    Args:
        job: The data, the run and the observer; preset and settings are chosen anew, but for the
            settings' seed, charset, licence and fractions.
        minutes: The time that the training may take, reading and export apart.
        validation: The fraction of the pictures to hold back; None leaves it to the number.

    Returns:
        The model's description and the verdict. The run's folder holds the preset, the report,
        `model.keras` and `model.onnx`.

    Raises:
        FolderError, LabelError, CharsetError: As `train.train` does.
        TrainingError: If there are too few pictures, none can be used, Keras doesn't run on
            TensorFlow, or another process trains in the folder.
        RunError: If the folder holds a finished run, or one of other pictures.
    """
    with alone_in(job.run.folder):
        return _train_alone(job, minutes, validation)


def _train_alone(job: Job, minutes: float, validation: float | None) -> Result:
    """`train_own` in a folder in which no other process trains."""
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            "a training without a preset exports its model, for which it has to run on TensorFlow: "
            "unset KERAS_BACKEND, or name a --preset"
        )
    if job.run.finished:
        raise RunError(f"{job.run.folder} holds a finished run: choose another folder with -o")
    if job.earlier is not None and (job.validation is not None or is_sources_file(job.source)):
        raise TrainingError(
            "--from takes a folder, of which it holds pictures back itself: no --validation of "
            "another source, and no TOML file of sources"
        )
    if job.earlier is not None and job.small:
        raise TrainingError("--from RUN goes on with the run's network: leave out --small")
    job = replace(job, resume=True, cleaned=True)
    chosen, dataset = _load_or_choose(job, minutes, validation)
    job = replace(job, preset=chosen, settings=chosen.settings)
    try:
        prepared = prepare(job, dataset)
    except RunError as error:
        raise RunError(
            f"{job.run.folder} holds a stopped run of other pictures or options ({error}): choose "
            "another folder with -o, or delete it"
        ) from error
    count = sum(map(len, prepared.parts.values()))
    main, half, whole = (minutes * share for share in _SHARES["few" if count < _FEW else "many"])
    job, network = _fit(job, prepared, main)
    prepared = replace(prepared, settings=_as_trained(job, prepared.settings))
    measured = measure(job, prepared, [network], network.model)
    part = "test" if prepared.parts["test"] else "validation"
    found = evaluate(_unseen(measured.predictions[part], prepared.parts[part]))
    verdict = _verdict(found, prepared, part)
    if job.earlier is not None:
        verdict += _remembered(job.earlier, measured.manifest)
    model = network.model
    verdict += _doubted(job, prepared, model, measured.manifest)
    if "only_answer" not in measured.manifest.training:
        verdict += _learning_curve(job, prepared, found, part, half)
        again: Callable[[], keras.Model] | None = None
        if whole and job.validation is None:  # what somebody chose to validate is no training data
            again = partial(_fit_all, job, prepared, whole)
        model, measured, lines = deliver(job, prepared, model, measured, again)
        verdict += lines
    finish(job, prepared, [network], model, measured, verdict)
    if job.preset.start != chosen.start or job.settings.position_weight:  # another way was needed
        settings = replace(job.settings, minutes=chosen.settings.minutes, plateau=0)
        _write_preset(job.run, replace(job.preset, settings=settings), ())
    return Result(measured.manifest, tuple(verdict))


def _load_or_choose(
    job: Job, minutes: float, validation: float | None
) -> tuple[Preset, Dataset | None]:
    """The preset that a stopped run has, or a new one, which is written, and its data set."""
    file = job.run.preset_file
    # Without settings, the training was refused, or stopped before it began: it is chosen anew.
    if file.exists() and job.run.settings() is not None:
        preset = replace(load_preset(str(file)), name=job.run.name)
        _check_options(job, preset, validation)
        network = {TRUNK: ", of the small network", LARGER: ", of the larger network"}
        which = network.get(preset.start, "")
        job.observer.say(f"going on with the run in {job.run.folder}{which}")
        settings = replace(preset.settings, licence=job.settings.licence)
        return replace(preset, settings=settings), None
    if job.run.settings() is not None:
        raise RunError(f"{job.run.folder} holds a run of a preset: choose another folder with -o")
    preset = preset_of(job.earlier) if job.earlier else load_preset(TRUNK)
    dataset = read(replace(job, preset=preset))
    _check_number(job, dataset)
    own = tuple(sample for sample in dataset.samples if sample.source not in _OLD)
    if own:
        job.observer.say(as_it_is(replace(dataset, samples=own)))
    seed = job.settings.seed
    if job.earlier is None:
        choice = choose(dataset, job.run.name, minutes, seed, small=job.small)
    else:
        choice = go_on_from(job.earlier.model_file, preset, dataset, minutes, seed)
    for reason in choice.reasons:
        job.observer.say(reason)
    settings = replace(
        choice.preset.settings,
        test=job.settings.test,
        characters=job.settings.characters,
        licence=job.settings.licence,
        validation=validation or choice.preset.settings.validation,
    )
    chosen = replace(choice.preset, name=job.run.name, settings=settings)
    _write_preset(job.run, chosen, choice.reasons)
    return chosen, with_recipe(dataset, chosen.recipe)


def _check_number(job: Job, dataset: Dataset) -> None:
    """Checks that there are enough pictures; after an earlier run, enough new ones, or none.

    Raises:
        TrainingError: If there are too few.
    """
    new = sum(sample.source == NEW for sample in dataset.samples)
    found, what, fewest = len(dataset.samples), "labelled pictures", FEWEST
    if found >= fewest and 0 < new < FEWEST_NEW:
        found, what, fewest = new, "new pictures", FEWEST_NEW
    if found >= fewest:
        return
    job.observer.report(dataset)
    if not dataset.samples and dataset.skipped:
        raise nothing_usable(job, dataset)
    how = f", with `captcha-rt label {quote(str(job.source))}`" if job.source.is_dir() else ""
    raise TrainingError(
        f"{found} {what} are too few to train on: label at least {fewest}, better 200{how}"
    )


def _check_options(job: Job, preset: Preset, validation: float | None) -> None:
    """Checks that the options with which a stopped run is gone on with are those of its start.

    Raises:
        RunError: If one is another.
    """
    chosen = preset.settings
    held_back = validation or chosen.validation
    given = {
        f"--seed {job.settings.seed}": (job.settings.seed, chosen.seed),
        f"--charset {job.settings.characters}": (job.settings.characters, chosen.characters),
        f"--test {job.settings.test}": (job.settings.test, chosen.test),
        f"--validation {held_back}": (held_back, chosen.validation),
        "--small": (True if job.small and preset.start == LARGER else None, None),
    }
    for option, (now, before) in given.items():
        if now != before:
            was = "without it" if before is None else f"with {before}"
            raise RunError(
                f"{job.run.folder} holds a stopped run that was started {was}, not with "
                f"{option}: give the same options, choose another folder with -o, or delete it"
            )


def preset_of(run: Run) -> Preset:
    """What a finished run was trained with."""
    if run.preset_file.exists():
        return load_preset(str(run.preset_file))
    return load_preset(str(run.manifest.training.get("preset", "")))


def _write_preset(run: Run, preset: Preset, reasons: Sequence[str]) -> None:
    """Writes a preset into the run's folder; without reasons, those of the file stay."""
    comments = "\n".join((_COMMENTS, "", *reasons))
    if not reasons and run.preset_file.exists():
        lines = run.preset_file.read_text("utf-8").splitlines()
        comments = "\n".join(line[2:] for line in lines if line.startswith("#"))
    save_preset(run, preset, comments)


def _fit(job: Job, prepared: Prepared, minutes: float) -> tuple[Job, Network]:
    """Trains; where the network stands on CTC's plateau, once more in another way.

    A softmax for each place learns from the first step on. Where even that doesn't help after the
    trunk, the trunk is what hinders.
    """
    attempts: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("", {}, job.preset.start),
        ("position", {"position_weight": 1.0, "warm_up": 2}, job.preset.start),
        ("scratch", {"position_weight": 1.0, "warm_up": 6, "learning_rate": 0.002}, ""),
    )
    attempt, network = job, None
    held_back = sum(len(samples) for part, samples in prepared.parts.items() if part != TRAINING)
    learned = len(prepared.parts[TRAINING])
    job.observer.say(f"training on {learned} pictures; {held_back} are held back to measure it")
    for name, changes, start in attempts:
        if network is not None:
            minutes -= sum(row["seconds"] for row in network.epochs.history) / 60
            if minutes <= 0:
                break
            job.observer.say("the network reads nothing yet: training it in another way")
        plateau = math.ceil(_PLATEAU / epoch_steps(learned))
        settings = replace(job.settings, plateau=plateau, minutes=minutes, **changes)
        if name == "scratch":
            settings = replace(settings, plateau=2 * plateau, epochs=2 * settings.epochs)
        attempt = replace(job, preset=replace(job.preset, start=start), settings=settings)
        run = job.run.network(name) if name else job.run
        network = fit_network(attempt, prepared.planned, prepared.parts, run)
        if network.epochs.history[-1]["val_accuracy"] >= NOTHING:
            break
    assert network is not None  # noqa: S101  (there are attempts)
    return attempt, network


def _as_trained(job: Job, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run's settings, with those that another way of training has changed."""
    changed = {"start": job.preset.start} if "start" in settings else {}
    for name in ("epochs", "learning_rate", "position_weight", "warm_up"):
        changed[name] = getattr(job.settings, name)
    return {**settings, **changed}


def _verdict(found: Evaluation, prepared: Prepared, part: str) -> list[str]:
    """How good the network is, and what it confuses."""
    low, high = found.interval
    learned = len(prepared.parts["training"])
    which = "that it never saw"
    if all(sample.source == HELD_BACK for sample in prepared.parts[part]):
        which = "that the earlier run held back, none of which is new"
    lines = [
        f"reads {found.exact_match:.1%} of {found.total} pictures {which} "
        f"({low:.1%} to {high:.1%}), after learning from {learned}"
    ]
    if found.confusions:
        worst = ", ".join(
            f"{_named(c.truth)} as {_named(c.read)} ({c.count})" for c in found.confusions[:6]
        )
        lines.append(f"most often misread: {worst}")
    return lines


def _named(character: str) -> str:
    """A character as a line shows it; none of them is empty."""
    return (repr(character) if character.isspace() else character) or "nothing"


def _unseen(predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Sequence[Prediction]:
    """The predictions without those for what an earlier run may have learned in the end."""
    new = [p for p, s in zip(predictions, samples, strict=True) if s.source != HELD_BACK]
    return new or predictions


def _remembered(earlier: Run, manifest: Manifest) -> list[str]:
    """What is still read of the pictures that the earlier run held back."""
    before = earlier.manifest.accuracy.get("validation")
    now = manifest.accuracy.get(f"validation {HELD_BACK}")
    if before is None or now is None:
        return ["none of the pictures that the earlier run held back is there to compare"]
    seen = earlier.manifest.training.get("trained_on_all")
    return [
        f"of the {now['pictures']} pictures that the earlier run held back it reads "
        f"{now['exact_match']:.1%}; the earlier model read {before['exact_match']:.1%} of "
        f"{before['pictures']}{', before it learned from these, too' if seen else ''}"
    ]


def _doubted(job: Job, prepared: Prepared, model: keras.Model, manifest: Manifest) -> list[str]:
    """Which labels the network contradicts after learning from them, and how to look at them."""
    samples = [s for s in prepared.parts[TRAINING] if s.path and s.source not in _OLD]
    if not samples:
        return []
    scores = predict_scores(model, manifest, samples)
    labels = "" if job.labels == AUTO else f" --labels {quote(job.labels)}"
    command = f"captcha-rt suspects {quote(str(job.source))}{labels}"
    command += " --fold-case" if job.fold_case else ""
    return describe_doubts(samples, manifest, scores, command)


def _learning_curve(
    job: Job, prepared: Prepared, found: Evaluation, part: str, minutes: float
) -> list[str]:
    """What twice as many pictures would bring about, from what half as many do."""
    training = prepared.parts["training"]
    halved = replace(prepared, parts={**prepared.parts, "training": list(training[::2])})
    epochs = max(1, job.settings.epochs // 2)
    settings = replace(job.settings, minutes=minutes, epochs=epochs, plateau=0)
    job = replace(job, settings=settings)
    job.observer.say("training on half of the pictures, to see what more would bring about")
    network = fit_network(job, halved.planned, halved.parts, job.run.network("half"))
    measured = measure(job, halved, [network], network.model)
    before = evaluate(_unseen(measured.predictions[part], halved.parts[part]))
    line = f"with half as many pictures it reads {before.exact_match:.1%}"
    errors, more = 1 - found.exact_match, 1 - before.exact_match
    if not found.errors:
        return [f"{line}; there is nothing left to be won that {found.total} pictures could show"]
    low, high = found.interval
    if found.total < _SHOWS and low <= before.exact_match <= high:
        return [f"{line}; {found.total} pictures are too few to show what more would bring about"]
    if more <= errors:
        return [f"{line}: more pictures of the same kind may not help; look at those misread"]
    expected = 1 - errors * max(errors / more, 0.3)
    return [f"{line}; with twice as many, about {expected:.0%} are to be expected"]


def _fit_all(job: Job, prepared: Prepared, minutes: float) -> keras.Model:
    """Trains on the pictures held back too."""
    everything = [*prepared.parts["training"], *prepared.parts["validation"]]
    job.observer.say(f"training once more, on all {len(everything)} pictures")
    settings = replace(job.settings, minutes=minutes, plateau=0)
    network = fit_network(
        replace(job, settings=settings),
        prepared.planned,
        {**prepared.parts, "training": everything},
        job.run.network("all"),
    )
    return network.model
