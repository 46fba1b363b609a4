"""Trains one network on one split."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
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
from captcha_rt_train.data.splicing import align
from captcha_rt_train.data.targets import TARGETS, encode_labels
from captcha_rt_train.networks import with_local_head, with_position_head
from captcha_rt_train.presets import Settings
from captcha_rt_train.training.averaging import WeightAverage
from captcha_rt_train.training.doubts import SURE, contradict, spare_rare
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fast import fast_copy
from captcha_rt_train.training.interrupts import kept_back
from captcha_rt_train.training.job import Observer

_LAST_RATE: Final = 0.01
"""The last value of a falling learning rate, as a fraction of its first value."""

_PREDICTED: Final = 64  # pictures in a batch of which nothing is learned

_KEPT: Final = 0.99
"""How much of the weights' average stays in a step: a short training's average is a short one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What one network is trained on, and how.

    Attributes:
        manifest: The network's description.
        parts: The split's samples by part; `training` and `validation` are used.
        settings: How to train.
        run: The folder of the network's history and weights.
        window: The columns that the labels depend on, as `Augmentation` takes them.
        counts: The number of samples in an epoch by source, as `Batches` takes it.
        observer: Where the training reports its progress.
    """

    manifest: Manifest
    parts: Mapping[str, Sequence[Sample]]
    settings: Settings
    run: Run
    window: tuple[float, float] | None = None
    counts: Mapping[str, int | None] = field(default_factory=dict)
    observer: Observer = field(default_factory=Observer)


@dataclass(frozen=True, slots=True)
class _Trainable:
    """A network as it is trained: with one more output that only training uses, or without.

    Losses and weights belong to the outputs, in order.
    """

    model: keras.Model
    losses: list[keras.losses.Loss]
    weights: list[float]


def fit(model: keras.Model, task: Fit, *, train: bool = True) -> Epochs:
    """Trains a network after the last epoch of its history.

    The model gets the weights of the best epoch, or, with the setting `averaged`, the average of
    the weights over the last steps.

    Args:
        model: A new model from inputs to logits, as the manifest says. Its weights are changed.
        task: What the network is trained on, and how.
        train: Whether to train; False only loads the best weights of earlier epochs.

    Returns:
        The history of the epochs.
    """
    settings = task.settings
    network = fast_copy(model, bfloat16=settings.bfloat16)
    trainable = _add_head(network, task)
    done = len(task.run.history())
    batches = _training_batches(task, outputs=len(trainable.model.outputs), epoch=done)
    average = None
    if settings.averaged:
        average = WeightAverage(task.run, network, done * len(batches), _KEPT)
    epochs = _load_epochs(network, task, average)
    _compile(trainable, task, steps=len(batches) * settings.epochs)
    if train and not epochs.finished:
        callbacks: list[keras.callbacks.Callback] = [epochs]
        if average is not None:
            callbacks.insert(0, average)
        if not task.observer.verbose:
            left = settings.epochs - epochs.done
            callbacks.append(_Steps(task.observer, left * len(batches)))
        if settings.spliced or settings.left_out:
            callbacks.append(_Looking(network, task, batches))
        if task.observer.tensorboard is not None:
            callbacks.append(keras.callbacks.TensorBoard(task.observer.tensorboard))
        with kept_back() as interrupts:
            trainable.model.fit(
                batches,
                initial_epoch=epochs.done,
                epochs=settings.epochs,
                callbacks=[*callbacks, interrupts],
                shuffle=False,  # the batches are shuffled, and in a resumed run the same
                verbose=task.observer.verbose,
            )
    if average is not None and epochs.done:
        model.set_weights(average.weights)
    else:
        epochs.load_best(trainable.model)
        model.set_weights(network.get_weights())
    return epochs


def predict(model: keras.Model, manifest: Manifest, samples: Sequence[Sample]) -> list[Prediction]:
    """Reads samples with a Keras model.

    Args:
        model: A model from inputs to scores, as the manifest says.
        manifest: The model's description.
        samples: The samples, at least one.

    Returns:
        A prediction for each sample, in order.
    """
    return _decode(samples, manifest, predict_scores(model, manifest, samples))


def predict_scores(
    model: keras.Model, manifest: Manifest, samples: Sequence[Sample]
) -> NDArray[np.float32]:
    """The scores that a Keras model gives samples; arguments are those of `predict`."""
    with kept_back():
        scores = model.predict(Batches(samples, manifest, batch_size=_PREDICTED), verbose=0)
    return np.asarray(scores)


def _decode(
    samples: Sequence[Sample], manifest: Manifest, scores: NDArray[np.float32]
) -> list[Prediction]:
    return [
        Prediction(sample.name, sample.label, text, decoded.confidence)
        for sample, (text, decoded) in zip(samples, manifest.decode(scores), strict=True)
    ]


class _Steps(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Shows the progress, a step after the other."""

    def __init__(self, observer: Observer, total: int) -> None:
        super().__init__()
        self._steps = iter(observer.follow(iter(range(total)), total))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        next(self._steps, None)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        next(self._steps, None)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if isinstance(self._steps, Generator):
            self._steps.close()  # the bar of a training that stops early goes away


class _Looking(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells the batches before each epoch what the network sees in the training pictures.

    Where the characters stand, so that pictures can be spliced; and which labels the network
    contradicts. Those are left out of the epoch: a network learns what many labels say before it
    learns a wrong one by heart. A picture that it learns to read as its label comes back.
    """

    def __init__(self, network: keras.Model, task: Fit, batches: Batches) -> None:
        super().__init__()
        self._network = network
        self._task = task
        self._samples = task.parts["training"]
        self._batches = batches
        self._inputs = Batches(self._samples, task.manifest, batch_size=task.settings.batch_size)
        charset = task.manifest.charset
        self._blank = charset.blank or 0
        self._labels = [charset.encode(sample.label) for sample in self._samples]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Looks at the pictures for an epoch, also for the first one of a resumed training."""
        if not epoch:
            return
        scores = self._network.predict(self._inputs, verbose=0)
        settings = self._task.settings
        if settings.spliced:
            self._batches.locate(align(scores, self._labels, self._blank))
        if settings.left_out:
            _, wrong = contradict(self._samples, self._task.manifest, scores)
            doubted = spare_rare([s.label for s in self._samples], wrong >= SURE)
            few = doubted.sum() <= settings.left_out * len(doubted)
            self._batches.leave_out(np.flatnonzero(doubted & few))


def repeats(pictures: int, steps: int, batch_size: int) -> int:
    """How often an epoch uses each picture, so that it has at least so many steps."""
    return max(1, -(-steps * batch_size // pictures))


def _load_epochs(model: keras.Model, task: Fit, average: WeightAverage | None) -> Epochs:
    """The network's epochs so far; further ones are measured on the validation samples."""
    samples, manifest, settings = task.parts["validation"], task.manifest, task.settings
    target = TARGETS[manifest.decoder]
    loss = target.loss()
    batches = Batches(samples, manifest, batch_size=settings.batch_size)
    truth = target.loss_labels(encode_labels(samples, manifest))

    def measure() -> tuple[float, Evaluation]:
        with average.applied() if average else nullcontext():
            scores = model.predict(batches, verbose=0)
        if average is not None:
            average.save()
        return float(loss(truth, scores)), evaluate(_decode(samples, manifest, scores))

    return Epochs(
        task.run,
        seed=settings.seed,
        max_epochs=settings.epochs,
        patience=settings.patience,
        monitor=settings.monitor,
        measure=measure,
        plateau=settings.plateau,
        minutes=settings.minutes,
    )


def _add_head(model: keras.Model, task: Fit) -> _Trainable:
    """Adds the head that the settings ask for, if they ask for one."""
    settings = task.settings
    target = TARGETS[task.manifest.decoder]
    loss = target.loss()
    if settings.local_weight:
        two_heads = with_local_head(model)
        return _Trainable(two_heads, [loss, loss], [1.0, settings.local_weight])
    if settings.position_weight:
        length = max(len(sample.label) for sample in task.parts["training"])
        two_heads = with_position_head(model, length)
        losses = [loss, TARGETS["position"].loss()]
        return _Trainable(two_heads, losses, [1.0, settings.position_weight])
    return _Trainable(model, [loss], [1.0])


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
            spliced=settings.spliced,
            after_steps=settings.augment_after,
            warm_up=settings.warm_up,
            window=task.window,
        ),
        repeat=max(
            settings.repeat,
            repeats(len(task.parts["training"]), settings.epoch_steps, settings.batch_size),
        ),
        counts=task.counts,
        seed=settings.seed,
        epoch=epoch,
    )


def _compile(trainable: _Trainable, task: Fit, *, steps: int) -> None:
    """Sets the losses and the optimizer; `steps` is the number of steps in all epochs together."""
    settings = task.settings
    rate: Any = settings.learning_rate
    if settings.falling_rate:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps, _LAST_RATE)
    trainable.model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=settings.clip_norm),
        trainable.losses,
        loss_weights=trainable.weights,
        metrics=["accuracy"] if TARGETS[task.manifest.decoder].has_accuracy else None,
    )
    # Only an optimizer that is built can load a checkpoint's state.
    trainable.model.optimizer.build(trainable.model.trainable_variables)
