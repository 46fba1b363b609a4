"""One training run: a folder that holds all of it, from the split to the trained model.

RUN/
├── run.json        the settings; a resumed run must have the same
├── pictures.csv    which picture is in which part of the split
├── history.csv     a row an epoch
├── curves.png      the same, to look at
├── checkpoint/     the last epoch's weights and the best
├── model.keras     the plain inference graph with the best weights
└── manifest.json   what the model is; the export puts it into the `.onnx` file
"""

import csv
import io
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.metrics import Evaluation, Reading, evaluate
from captcha_rt_train.data import Batches, Dataset, Item, Watch, drop_too_long, read_dataset, split
from captcha_rt_train.epochs import Epochs
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import NETWORKS, with_local_head
from captcha_rt_train.plots import plot_curves
from captcha_rt_train.presets import Preset, Settings


def train(
    folder: Path,
    run: Path,
    preset: Preset,
    settings: Settings,
    *,
    resume: bool = False,
    verbose: int = 0,
    watch: Watch = lambda items, _: items,
    report: Callable[[Dataset], None] = lambda _: None,
) -> Manifest:
    """Trains a preset on a folder of labelled pictures.

    Args:
        folder: The pictures; a file's stem is its label.
        run: The run's folder; made here.
        preset: What to train.
        settings: With which settings.
        resume: Goes on with the run in the folder, from its last whole epoch.
        verbose: As Keras takes it: 0 silent, 1 a bar, 2 a line an epoch.
        watch: Wraps the walk over the pictures, to show its progress.
        report: Gets the data set, with what was left out, before the first epoch.

    Returns:
        The model's description, with its measured accuracy.

    Raises:
        FolderError: If the folder is none, or holds no pictures.
        TrainingError: If no usable picture is left, or the run's folder holds a run that is not
            to be resumed, or one of other settings or pictures.
    """
    chosen = {name: value for name, value in asdict(settings).items() if name != "licence"}
    started = {"folder": folder.resolve().name, "preset": preset.name, **chosen}
    description = json.dumps(started, indent=2)
    _compare(run / "run.json", description, resume=resume)
    keras.utils.set_random_seed(settings.seed)

    dataset = read_dataset(folder, preset.recipe, characters=settings.characters, watch=watch)
    if dataset.items:
        model = NETWORKS[preset.network](dataset.input_shape, dataset.charset.classes)
        dataset = drop_too_long(dataset, model.output_shape[1])
    report(dataset)
    if not dataset.items:
        name, reason = dataset.left_out[0]
        raise TrainingError(f"no usable picture in {folder}; the first: {name}: {reason}")
    parts = split(
        dataset.items, validation=settings.validation, test=settings.test, seed=settings.seed
    )
    table = _table(parts)
    _compare(run / "pictures.csv", table, resume=resume)
    run.mkdir(parents=True, exist_ok=True)
    _write(run / "pictures.csv", table)
    _write(run / "run.json", description)

    manifest = Manifest(
        name=run.resolve().name,
        charset=dataset.charset,
        recipe=preset.recipe,
        decoder=preset.decoder,
        scores="logits",
        input=Tensor(model.inputs[0].name, (None, *dataset.input_shape)),
        output=Tensor("logits", tuple(model.output_shape)),
        licence=settings.licence,
    )
    batches = partial(
        Batches, recipe=preset.recipe, charset=dataset.charset, batch_size=settings.batch_size
    )
    validation = batches(parts["validation"])
    trained = with_local_head(model)
    trained.compile(
        keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm),
        [keras.losses.CTC(), keras.losses.CTC()],
        loss_weights=[1.0, settings.local_weight],
    )
    trained.optimizer.build(trained.trainable_variables)  # else a checkpoint's state has no place
    epochs = Epochs(
        run,
        seed=settings.seed,
        patience=settings.patience,
        exact_match=lambda: measure(model, validation, parts["validation"], manifest).exact_match,
    )
    if epochs.done < settings.epochs and not epochs.exhausted:
        trained.fit(
            batches(parts["training"], seed=settings.seed, epoch=epochs.done),
            validation_data=validation,
            initial_epoch=epochs.done,
            epochs=settings.epochs,
            callbacks=[epochs],
            verbose=verbose,
        )
    trained.load_weights(epochs.weights(epochs.best))

    plot_curves(epochs.history, epochs.best, run / "curves.png")
    manifest = replace(
        manifest,
        training={
            "document": preset.document,
            **started,
            "pictures": {part: len(items) for part, items in parts.items()},
            "left_out": len(dataset.left_out),
            "parameters": model.count_params(),
            **_facts(epochs),
        },
        accuracy={
            part: _figures(measure(model, batches(items), items, manifest))
            for part, items in parts.items()
            if part != "training" and items
        },
    )
    with write_atomically(run / "model.keras") as path:
        model.save(path, include_optimizer=False)
    _write(run / "manifest.json", manifest.to_json())
    return manifest


def measure(
    model: keras.Model, batches: Batches, items: Sequence[Item], manifest: Manifest
) -> Evaluation:
    """Reads pictures with a model in training.

    Args:
        model: From inputs to scores.
        batches: The pictures' inputs, in order.
        items: The same pictures.
        manifest: What the model is.

    Returns:
        The figures.
    """
    answers = manifest.decode(model.predict(batches, verbose=0))
    return evaluate(
        [
            Reading(item.path.name, item.label, text, decoded.confidence)
            for item, (text, decoded) in zip(items, answers, strict=True)
        ]
    )


def _facts(epochs: Epochs) -> dict[str, Any]:
    backend = keras.backend.backend()
    return {
        "epochs_trained": epochs.done,
        "best_epoch": epochs.best,
        "seconds": round(sum(row["seconds"] for row in epochs.history)),
        "backend": backend,
        "versions": {name: version(name) for name in ("captcha-rt-train", "keras", backend)},
        "python": platform.python_version(),
        "finished": datetime.now(UTC).date().isoformat(),
    }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "pictures": evaluation.total,
        "exact_match": evaluation.exact_match,
        "interval": evaluation.interval,
        "character_error_rate": evaluation.character_error_rate,
    }


def _table(parts: dict[str, list[Item]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "label", "part"))
    writer.writerows(
        (item.path.resolve(), item.label, part) for part, items in parts.items() for item in items
    )
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as partial_path:
        partial_path.write_text(text, "utf-8")


def _compare(path: Path, text: str, *, resume: bool) -> None:
    """Refuses a file of another run, and one of the same that is not to be resumed."""
    if not path.exists():
        return
    if not resume:
        raise TrainingError(
            f"{path.parent} holds a run; go on with it by --resume, or choose another folder"
        )
    if path.read_text("utf-8") != text:
        raise TrainingError(
            f"can't resume: {path} says otherwise; the settings must be the same, and the "
            "pictures lie where they lay"
        )
