"""Trains one network on one split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Prediction, evaluate
from captcha_rt_export.run import Run
from captcha_rt_train.data.augmentation import Augmentation
from captcha_rt_train.data.batches import Batches
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.data.targets import TARGETS, encode_labels
from captcha_rt_train.networks import with_local_head, with_position_head
from captcha_rt_train.presets import Settings
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.job import Observer

_LAST_RATE: Final = 0.01
"""Where the learning rate falls, its last value is this share of the first."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What one network is trained on.

    Attributes:
        manifest: The network's description.
        parts: The split; `training` and `validation` are used.
        settings: How to train.
        run: The folder of its history and weights.
        window: The columns that its labels depend on, as `Augmentation` takes them.
        counts: For some sources, the number of their pictures in an epoch.
        observer: Where it reports its progress.
    """

    manifest: Manifest
    parts: Mapping[str, Sequence[Sample]]
    settings: Settings
    run: Run
    window: tuple[float, float] | None = None
    counts: Mapping[str, int | None] = field(default_factory=dict)
    observer: Observer = field(default_factory=Observer)


@dataclass(frozen=True, slots=True)
class _Head:
    """A network with one more output that only training uses, or without."""

    model: keras.Model
    losses: list[keras.losses.Loss]
    weights: list[float]


def fit(model: keras.Model, task: Fit, *, train: bool = True) -> Epochs:
    """Trains a network from where its history ends, and leaves it with its best weights.

    Args:
        model: From inputs to logits, as the manifest says.
        task: What it is trained on.
        train: False only loads what was trained before.

    Returns:
        What happened in the epochs.
    """
    settings = task.settings
    epochs = _continue(model, task)
    head = _add_head(model, task)
    batches = _training_batches(task, outputs=len(head.model.outputs), epoch=epochs.done)
    _compile(head, task, steps=len(batches) * settings.epochs)
    if train and not epochs.finished:
        callbacks: list[keras.callbacks.Callback] = [epochs]
        if task.observer.tensorboard is not None:
            callbacks.append(keras.callbacks.TensorBoard(task.observer.tensorboard))
        head.model.fit(
            batches,
            initial_epoch=epochs.done,
            epochs=settings.epochs,
            callbacks=callbacks,
            verbose=task.observer.verbose,
        )
    epochs.load_best(head.model)
    return epochs


def predict(
    model: keras.Model, manifest: Manifest, samples: Sequence[Sample], batch_size: int = 64
) -> list[Prediction]:
    """Reads samples with a Keras model.

    Args:
        model: From inputs to scores, as the manifest says.
        manifest: Its description.
        samples: The samples, at least one.
        batch_size: The pictures of a run.

    Returns:
        What was read of each sample, beside its label.
    """
    scores = model.predict(Batches(samples, manifest, batch_size=batch_size), verbose=0)
    return _decode(samples, manifest, scores)


def _decode(
    samples: Sequence[Sample], manifest: Manifest, scores: NDArray[np.float32]
) -> list[Prediction]:
    return [
        Prediction(sample.name, sample.label, text, decoded.confidence)
        for sample, (text, decoded) in zip(samples, manifest.decode(scores), strict=True)
    ]


def _continue(model: keras.Model, task: Fit) -> Epochs:
    """The network's history, with a measure on the validation pictures."""
    samples, manifest, settings = task.parts["validation"], task.manifest, task.settings
    target = TARGETS[manifest.decoder]
    loss = target.loss()
    batches = Batches(samples, manifest, batch_size=settings.batch_size)
    truth = target.rows(encode_labels(samples, manifest))

    def measure() -> tuple[float, Evaluation]:
        scores = model.predict(batches, verbose=0)
        return float(loss(truth, scores)), evaluate(_decode(samples, manifest, scores))

    return Epochs(
        task.run,
        seed=settings.seed,
        most=settings.epochs,
        patience=settings.patience,
        monitor=settings.monitor,
        measure=measure,
    )


def _add_head(model: keras.Model, task: Fit) -> _Head:
    """Adds the head that the settings ask for."""
    settings = task.settings
    target = TARGETS[task.manifest.decoder]
    loss = target.loss()
    if settings.local_weight:
        trained = with_local_head(model)
        return _Head(trained, [loss, loss], [1.0, settings.local_weight])
    if settings.position_weight:
        length = max(len(sample.label) for sample in task.parts["training"])
        trained = with_position_head(model, length)
        return _Head(trained, [loss, TARGETS["position"].loss()], [1.0, settings.position_weight])
    return _Head(model, [loss], [1.0])


def _training_batches(task: Fit, *, outputs: int, epoch: int) -> Batches:
    settings = task.settings
    return Batches(
        task.parts["training"],
        task.manifest,
        batch_size=settings.batch_size,
        outputs=outputs,
        augmentation=Augmentation(
            strength=settings.augmentation,
            curves=settings.curves,
            noise=settings.noise,
            after_steps=settings.augment_after,
            warm_up=settings.warm_up,
            window=task.window,
        ),
        repeat=settings.repeat,
        counts=task.counts,
        seed=settings.seed,
        epoch=epoch,
    )


def _compile(head: _Head, task: Fit, *, steps: int) -> None:
    """Gives the network its losses and optimizer; `steps` are those of all epochs."""
    settings = task.settings
    rate: Any = settings.learning_rate
    if settings.falling_rate:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps, _LAST_RATE)
    head.model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=settings.clip_norm),
        head.losses,
        loss_weights=head.weights,
        metrics=["accuracy"] if TARGETS[task.manifest.decoder].has_accuracy else None,
    )
    # An optimizer that isn't built could not load a checkpoint's state.
    head.model.optimizer.build(head.model.trainable_variables)
