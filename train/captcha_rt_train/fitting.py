"""Trains one network on one split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Reading, evaluate
from captcha_rt_train.data import Batches, Item, encode_labels
from captcha_rt_train.epochs import Epochs
from captcha_rt_train.networks import with_local_head, with_position_head
from captcha_rt_train.presets import Settings

_LAST_RATE = 0.01  # what a falling learning rate comes down to, of the first


def fit(
    model: keras.Model,
    manifest: Manifest,
    parts: Mapping[str, Sequence[Item]],
    settings: Settings,
    folder: Path,
    *,
    window: tuple[float, float] | None = None,
    counts: Mapping[str, int | None] | None = None,
    verbose: int = 0,
    tensorboard: Path | None = None,
    train: bool = True,
) -> Epochs:
    """Trains a network, from where its history ends, and leaves it with its best weights.

    Args:
        model: From inputs to logits, as the manifest says.
        manifest: What it is.
        parts: The split; `training` and `validation` are used.
        settings: How to train.
        folder: Where the history and the weights lie.
        window: The columns that the labels depend on, as `Batches` takes them.
        counts: How many pictures of a mix's sources an epoch has, as `Batches` takes them.
        verbose: As Keras takes it.
        tensorboard: Where TensorBoard's logs go, if anywhere.
        train: False only takes up what was trained.

    Returns:
        What happened in the epochs.
    """
    ctc = manifest.decoder == "ctc"
    loss = (
        keras.losses.CTC() if ctc else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    validation = Batches(parts["validation"], manifest, batch_size=settings.batch_size)
    truth = encode_labels(parts["validation"], manifest)
    if manifest.decoder == "glyph":
        truth = truth.ravel()

    def measure() -> tuple[float, Evaluation]:
        scores = model.predict(validation, verbose=0)
        return float(loss(truth, scores)), evaluate(
            _readings(parts["validation"], manifest, scores)
        )

    epochs = Epochs(
        folder,
        seed=settings.seed,
        most=settings.epochs,
        patience=settings.patience,
        monitor=settings.monitor,
        measure=measure,
    )
    trained, losses, weights = model, [loss], [1.0]
    if settings.local_weight:
        trained, losses, weights = with_local_head(model), [loss] * 2, [1.0, settings.local_weight]
    elif settings.position_weight:
        length = max(len(item.label) for item in parts["training"])
        trained = with_position_head(model, length)
        losses.append(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        weights.append(settings.position_weight)
    batches = Batches(
        parts["training"],
        manifest,
        batch_size=settings.batch_size,
        outputs=len(trained.outputs),
        augmentation=settings.augmentation,
        curves=settings.curves,
        noise=settings.noise,
        warm_up=settings.warm_up,
        augment_after=settings.augment_after,
        window=window,
        repeat=settings.repeat,
        counts=counts,
        seed=settings.seed,
        epoch=epochs.done,
    )
    rate: Any = settings.learning_rate
    if settings.falling_rate:
        rate = keras.optimizers.schedules.CosineDecay(
            rate, len(batches) * settings.epochs, _LAST_RATE
        )
    trained.compile(
        keras.optimizers.Adam(rate, global_clipnorm=settings.clip_norm),
        losses,
        loss_weights=weights,
        metrics=None if ctc else ["accuracy"],
    )
    trained.optimizer.build(trained.trainable_variables)  # else a checkpoint's state has no place
    if train and not epochs.finished:
        callbacks: list[keras.callbacks.Callback] = [epochs]
        if tensorboard is not None:
            callbacks.append(keras.callbacks.TensorBoard(tensorboard))
        trained.fit(
            batches,
            initial_epoch=epochs.done,
            epochs=settings.epochs,
            callbacks=callbacks,
            verbose=verbose,
        )
    if epochs.done:
        trained.load_weights(epochs.weights(epochs.best))
    return epochs


def read(
    model: keras.Model, manifest: Manifest, items: Sequence[Item], batch_size: int = 64
) -> list[Reading]:
    """Reads pictures with a Keras model.

    Args:
        model: From inputs to scores, as the manifest says.
        manifest: What it is.
        items: The pictures.
        batch_size: So many at once.

    Returns:
        What was read of each, beside its label.
    """
    scores = model.predict(Batches(items, manifest, batch_size=batch_size), verbose=0)
    return _readings(items, manifest, scores)


def _readings(
    items: Sequence[Item], manifest: Manifest, scores: NDArray[np.float32]
) -> list[Reading]:
    return [
        Reading(item.name, item.label, text, decoded.confidence)
        for item, (text, decoded) in zip(items, manifest.decode(scores), strict=True)
    ]
