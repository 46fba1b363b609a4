"""Trains a reader of kinds that nobody trained on, on drawn pictures of many styles.

The pictures are drawn in advance, and changed anew each time the network sees them. The generator
knows where each character stands. So the loss is that of CTC, plus the cross-entropy at the time
steps of the characters' middles. Without the second part, CTC stays on its plateau, where only
blanks are read, for hundreds of thousands of pictures.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Prediction, evaluate, summarize
from captcha_rt.progress import Watch, unwatched
from captcha_rt.steps import Scale
from captcha_rt_export.run import Run
from captcha_rt_train.data.drawn import DrawnBatches
from captcha_rt_train.data.pool import Pool, draw_pool
from captcha_rt_train.data.real import RealPictures
from captcha_rt_train.data.samples import Dataset, Sample
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.batch import (
    LENGTH,
    SHORTEST,
    DrawnBatch,
    draw_batch,
    without_scale,
)
from captcha_rt_train.generators.mixture.faces import CHARACTERS, load_faces
from captcha_rt_train.lock import alone_in
from captcha_rt_train.presets import Preset, Settings, load_preset
from captcha_rt_train.training.averaging import Deadline, WeightAverage
from captcha_rt_train.training.epochs import Epochs
from captcha_rt_train.training.fast import fast_copy
from captcha_rt_train.training.interrupts import kept_back
from captcha_rt_train.training.narrowing import narrow
from captcha_rt_train.training.planning import Plan, plan
from captcha_rt_train.training.trunk import Trunk

if TYPE_CHECKING:
    from captcha_rt_train.data.jax_pool import JaxPool

STEPS: Final = 200
"""The training steps of an epoch."""

BATCH: Final = 512
"""The pictures of a training step."""

_CTC_WEIGHT: Final = 0.25
_ALIGNED: Final = 0.05  # the weight of the cross-entropy falls from 1 to this
_ALIGNED_STEPS: Final = 3000  # within this number of steps
_WARM_UP: Final = 500  # steps over which the learning rate rises
_RESTARTED: Final = 0.75  # a restarted learning rate, as a share of the preset's
_TAUGHT: Final = 4.0  # the weight of the cross-entropy to a teacher's probabilities


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What is trained, and where.

    Attributes:
        run: The folder of the training.
        preset: The preset; its recipe ends with the steps `fit` and `scale`.
        faces: The file with the faces that the pictures are drawn with.
        drawn: The number of drawn pictures, at least 1.
        pool: The folder for the drawn pictures, which several trainings may share; None is one in
            the run's folder.
        real: Labelled pictures that are mixed in.
        seed: Chooses the weights and the pictures, in `0..2**32 - 1`.
        minutes: Training stops after the epoch in which this time is over; None for no limit.
        start: A trunk to go on from; None starts with random weights.
        restart: Whether the learning rate rises anew after `start`, to three quarters of the
            preset's, and falls over the epochs that are left (Loshchilov and Hutter, SGDR, 2017).
            Else it falls over all epochs, those before `start` included, so that hardly any is left
            for new layers or other pictures.
        halfway: Whether the result has the mean of the weights of `start` and of those at the end;
            of layers that `start` lacks, those at the end.
            It reads what either has learned from, and other kinds better than the end alone
            (Wortsman et al., Robust fine-tuning of zero-shot models, 2022).
        teacher: The trunk of a better network, whose scores it learns to give. Without `start`, it
            starts with the most important filters of this one, which has the same layers, but
            wider ones. None learns from the labels alone.
        resume: Continues the training in the folder.
        verbose: As Keras takes it.
        watch: Shows the progress while pictures are drawn.
        steps: The training steps of an epoch.
        batch_size: The pictures of a step.
        validation: The number of drawn pictures that validate.

    Raises:
        TrainingError: If a number is out of range.
    """

    run: Run
    preset: Preset
    faces: Path
    drawn: int
    pool: Path | None = None
    real: RealPictures | None = None
    seed: int = 0
    minutes: float | None = None
    start: Trunk | None = None
    restart: bool = False
    halfway: bool = False
    teacher: Trunk | None = None
    resume: bool = False
    verbose: int = 0
    watch: Watch = unwatched
    steps: int = STEPS
    batch_size: int = BATCH
    validation: int = 1500

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 <= self.minutes < math.inf:
            raise TrainingError(f"minutes are at least 0, not {self.minutes}")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"a seed is in 0..{2**32 - 1}, not {self.seed}")
        if self.halfway and self.start is None:
            raise TrainingError("--halfway is between --start and the end: name a trunk")
        if self.restart and self.start is None:
            raise TrainingError("--restart is of the learning rate after --start: name a trunk")
        for name in ("drawn", "steps", "batch_size", "validation"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is at least 1, not {getattr(self, name)}")


class AlignedModel(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A network that is trained with the places of the characters.

    Attributes:
        teach: Returns the logits that it learns to give for inputs; None learns from labels alone.
            A function, since Keras would take another network for a part of this one.
    """

    teach: Callable[[Any], Any] | None = None

    def compute_loss(
        self,
        x: Any = None,  # noqa: ANN401  (tensors of any backend)
        y: Any = None,  # noqa: ANN401
        y_pred: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401, ARG002
        training: bool = True,  # noqa: ARG002
    ) -> Any:  # noqa: ANN401
        """CTC's loss, the cross-entropy at the characters' time steps, and that to a teacher.

        Args:
            x: The inputs, which a teacher reads too.
            y: `labels` and `times`, `(N, L)` int32, as `DrawnBatches` makes them, and `step`, int32
                with one axis, whose first value counts.
            y_pred: Logits `(N, T, C)` float32.
            sample_weight: Not used.
            training: Not used.
        """
        labels = y["labels"]
        ctc = keras.losses.CTC()(labels, y_pred)
        times = y["times"]
        at_middles = ops.take_along_axis(y_pred, ops.maximum(times, 0)[:, :, None], axis=1)
        each = ops.sparse_categorical_crossentropy(labels, at_middles, from_logits=True)
        # 0 is the blank, which fills the rows; of real pictures no time is known.
        there = ops.cast(ops.logical_and(labels != 0, times >= 0), each.dtype)
        aligned = ops.sum(each * there) / ops.maximum(ops.sum(there), 1)
        step = ops.cast(y["step"][0], each.dtype)
        weight = ops.maximum(1 - (1 - _ALIGNED) * step / _ALIGNED_STEPS, _ALIGNED)
        loss = _CTC_WEIGHT * ctc + weight * aligned
        if self.teach is not None:
            taught = ops.softmax(ops.stop_gradient(self.teach(x)))
            loss += _TAUGHT * ops.mean(ops.categorical_crossentropy(taught, y_pred, True))
        return loss


def pretrain(job: Pretraining) -> Manifest:
    """Trains a general model, and writes the model, its description and its trunk.

    Args:
        job: What is trained, and where.

    Returns:
        The description, with the accuracy on drawn pictures that were not trained on. The training
        may be unfinished: `training["epochs_trained"]` says how far it is.

    Raises:
        TrainingError: If the recipe does not end with `fit` and `scale`, the faces can't be read,
            the trunk is another network's, another process trains in the folder, or the memory of
            JAX's device is too small.
        RunError: If the folder holds a training with other settings, or one that is not to be
            resumed.
    """
    with alone_in(job.run.folder):
        return _pretrain_alone(job)


def _pretrain_alone(job: Pretraining) -> Manifest:
    """`pretrain` in a folder in which no other process trains."""
    settings = replace(job.preset.settings, seed=job.seed)
    planned = plan_general(job.preset)
    epoch = job.steps * job.batch_size
    seen = 0 if job.start is None else job.start.pictures
    start = seen // epoch
    if start >= settings.epochs:
        raise TrainingError(
            f"the trunk has seen {seen:,} pictures, and the {settings.epochs} epochs of the preset "
            f"{job.preset.name} have {settings.epochs * epoch:,}: nothing is left to train; name a "
            "preset with more epochs"
        )
    chosen = _describe(job, settings, start)
    job.run.check_settings(chosen, resume=job.resume)
    keras.utils.set_random_seed(job.seed)
    model = _build(planned, settings)
    if job.teacher is not None:
        teacher = _build(plan_general(load_preset(job.teacher.preset)), settings)
        job.teacher.load_into(teacher, CHARACTERS)
        if job.start is None:
            narrow(teacher, model)
        model.teach = partial(teacher.call, training=False)
    if job.start is not None:
        job.start.load_into(model, CHARACTERS)
    # The seeds of the pictures to train on start with `job.seed`.
    validation = draw_batch(job.faces, planned.manifest, (job.seed + 1, 0), job.validation)
    average = WeightAverage(job.run, model, len(job.run.history()) * job.steps)
    epochs = Epochs(
        job.run,
        seed=job.seed,
        max_epochs=settings.epochs - start,
        patience=settings.epochs,
        monitor="loss",
        measure=_measure(model, planned.manifest, average, validation),
    )
    if not epochs.finished:
        pool = _draw(job, planned)
        job.run.write_settings(chosen)  # after all that may be refused
        _fit(job, settings, planned, model, start, epochs, average, pool)
    return _save(job, planned, start, epochs, average, validation)


def plan_general(preset: Preset) -> Plan:
    """Plans the network for all characters that the mixture draws.

    Raises:
        TrainingError: If the recipe does not end with the steps `fit` and `scale`.
    """
    _, fit = without_scale(preset.recipe)
    shape = (fit.height, fit.width, 3)
    sample = Sample(None, "", "0" * LENGTH, np.zeros(shape, np.uint8), np.zeros(shape, np.float32))
    charset = Charset(CHARACTERS, blank=0)
    planned = plan(Dataset((sample,), shape, charset, (), "drawn", "drawn"), preset)
    facts = replace(planned.manifest, arithmetic=True, shortest=SHORTEST)  # sums are drawn, too
    return replace(planned, manifest=facts)


def _describe(job: Pretraining, settings: Settings, start: int) -> dict[str, Any]:
    """The settings that a run is resumed with."""
    return {
        "preset": job.preset.name,
        "recipe": job.preset.recipe.to_json(),
        "layers": job.preset.layers,
        "faces": len(load_faces(job.faces).names),
        "drawn": job.drawn,
        "pool": "" if job.pool is None else str(job.pool.resolve()),
        "real": 0 if job.real is None else len(job.real),
        "start": start,
        **({"start_weights": _digest(job.start)} if job.start else {}),
        **({"restart": True} if job.restart else {}),
        **({"teacher_weights": _digest(job.teacher)} if job.teacher else {}),
        "batch_size": job.batch_size,
        "steps": job.steps,
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "seed": job.seed,
    }


def _digest(trunk: Trunk) -> str:
    """The start of the SHA-256 of a trunk's weights, in hexadecimal: another trunk has another."""
    digest = hashlib.sha256()
    for weight in trunk.weights:
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()[:16]


def _build(planned: Plan, settings: Settings) -> AlignedModel:
    """The network as it is trained."""
    model = fast_copy(planned.build(planned.length), bfloat16=settings.bfloat16)
    return AlignedModel(model.inputs, model.outputs[0], name=model.name)


def _draw(job: Pretraining, planned: Plan) -> "Pool | JaxPool":
    """Draws the pictures to train on, or opens those that are drawn; JAX gets a copy."""
    pool = draw_pool(
        job.pool or job.run.pool,
        job.faces,
        planned.manifest,
        seed=job.seed,
        drawn=job.drawn,
        watch=job.watch,
    )
    if keras.backend.backend() != "jax":
        return pool
    from captcha_rt_train.data.jax_pool import JaxPool  # JAX is only there as Keras's backend

    return JaxPool.load(pool, job.real)


def _fit(
    job: Pretraining,
    settings: Settings,
    planned: Plan,
    model: AlignedModel,
    start: int,
    epochs: Epochs,
    average: WeightAverage,
    pool: "Pool | JaxPool",
) -> None:
    """Trains until the epochs or the minutes are over."""
    done = start + epochs.done
    _compile(model, job, settings, start, done)
    callbacks: list[keras.callbacks.Callback] = [epochs]
    if job.minutes is not None:
        callbacks.append(Deadline(job.minutes))
    until = settings.epochs - start
    with kept_back() as interrupts:
        if not isinstance(pool, Pool):
            from captcha_rt_train.training.jax_epochs import JaxEpochs

            on_device = JaxEpochs(model, pool, job.batch_size, job.steps, job.seed, average)
            on_device.fit(
                initial_epoch=epochs.done,
                epochs=until,
                first_step=done * job.steps,
                callbacks=callbacks,
                check=interrupts.check,
                verbose=job.verbose,
            )
            return
        batches = DrawnBatches(
            pool,
            batch_size=job.batch_size,
            steps=job.steps,
            time_steps=planned.manifest.output.shape[1] or 1,
            seed=job.seed,
            epoch=done,
            real=job.real,
        )
        model.fit(
            batches,
            initial_epoch=epochs.done,
            epochs=until,
            callbacks=[average, *callbacks, interrupts],
            shuffle=False,  # the batches are in an order of their own
            verbose=job.verbose,
        )


def _compile(
    model: AlignedModel, job: Pretraining, settings: Settings, start: int, done: int
) -> None:
    """Gives a model its optimizer, whose learning rate is that after the epochs that are done."""
    first, highest = 0, settings.learning_rate
    if job.restart:
        first, highest = start, _RESTARTED * highest
    total = (settings.epochs - first) * job.steps
    warm_up = min(_WARM_UP, max(1, total // 10))
    rate = keras.optimizers.schedules.CosineDecay(
        highest / warm_up,
        max(1, total - warm_up),
        alpha=0.02,
        warmup_target=highest,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=settings.clip_norm)
    model.compile(optimizer)
    optimizer.build(model.trainable_variables)  # else a checkpoint's state would have no place
    optimizer.iterations.assign((done - first) * job.steps)


def _measure(
    model: AlignedModel, manifest: Manifest, average: WeightAverage, validation: DrawnBatch
) -> Callable[[], tuple[float, Evaluation]]:
    """What `Epochs` measures: the average of the weights on the drawn validation pictures."""

    def measure() -> tuple[float, Evaluation]:
        with average.applied():
            scores = _scores(model, validation)
        average.save()
        loss = float(keras.losses.CTC()(validation.labels, scores))
        return loss, evaluate(_read(manifest, validation, scores))

    return measure


def _scores(model: keras.Model, drawn: DrawnBatch) -> NDArray[np.float32]:
    return np.asarray(model.predict(Scale()(drawn.pictures), batch_size=128, verbose=0))


def _read(manifest: Manifest, drawn: DrawnBatch, scores: NDArray[np.float32]) -> list[Prediction]:
    texts = (manifest.charset.decode(c for c in row if c) for row in drawn.labels.tolist())
    return [
        Prediction(str(number), truth, text, decoded.confidence)
        for number, (truth, (text, decoded)) in enumerate(
            zip(texts, manifest.decode(scores), strict=True)
        )
    ]


def _save(
    job: Pretraining,
    planned: Plan,
    start: int,
    epochs: Epochs,
    average: WeightAverage,
    validation: DrawnBatch,
) -> Manifest:
    """Writes the model with the averaged weights, its trunk and its description."""
    model = planned.build(planned.length)
    weights = average.weights
    if job.halfway and job.start is not None:
        ends = zip(job.start.weights_for(model), weights, strict=True)
        weights = [
            last if first is None else np.asarray((first + last) / 2, np.float32)
            for first, last in ends
        ]
    model.set_weights(weights)
    scores = _scores(model, validation)
    done = start + epochs.done
    trained = epochs.done * job.steps * job.batch_size
    pictures = trained + (0 if job.start is None else job.start.pictures)
    manifest = replace(
        planned.manifest,
        name=job.run.name,
        training={
            "preset": job.preset.name,
            "epochs_trained": done,
            "epochs": job.preset.settings.epochs,
            "pictures": pictures,
            "faces": len(load_faces(job.faces).names),
            "real": 0 if job.real is None else len(job.real),
            "parameters": model.count_params(),
            "seed": job.seed,
            **({"halfway_from": start} if job.halfway else {}),
        },
        accuracy={"validation": summarize(_read(planned.manifest, validation, scores))},
    )
    trunk = Trunk(job.preset.name, CHARACTERS, job.seed, pictures, tuple(weights))
    trunk.save(job.run.trunk_file)
    job.run.manifest_file.unlink(missing_ok=True)  # an earlier sitting's, of other weights
    with write_atomically(job.run.model_file) as path:
        model.save(path)
    job.run.write_manifest(manifest)
    return manifest
