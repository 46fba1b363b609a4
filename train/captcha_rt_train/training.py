"""One training run: a folder that holds all of it, from the split to the trained model.

RUN/
├── run.json        the settings; a resumed run must have the same
├── pictures.csv    which picture is in which part of the split
├── history.csv     a row an epoch
├── checkpoint/     the last epoch's weights and the best
├── start/ ...      of an ensemble: history.csv and checkpoint/ of the network for all digits,
├── digit-1/ ...    and of each digit's
├── report.html     all of it to look at
├── report/         its pictures
├── model.keras     the plain inference graph with the best weights
└── manifest.json   what the model is; the export puts it into the `.onnx` file
"""

import csv
import io
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras

from captcha_rt.errors import InstallationError
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.metrics import Reading, figures
from captcha_rt.progress import Watch
from captcha_rt_train.calibration import fit_temperature
from captcha_rt_train.data import (
    Dataset,
    Item,
    drop_misfits,
    read_dataset,
    split,
    text_length,
)
from captcha_rt_train.ensemble import Network, train_digits
from captcha_rt_train.epochs import Epochs
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.fitting import fit, read
from captcha_rt_train.mix import read_mix, read_sources
from captcha_rt_train.networks import NETWORKS, merge
from captcha_rt_train.presets import Preset, Settings
from captcha_rt_train.report import Curves, write_report

Parts = dict[str, list[Item]]


def train(
    folder: Path,
    run: Path,
    preset: Preset,
    settings: Settings,
    *,
    labels: str = "auto",
    digit: int | None = None,
    resume: bool = False,
    tensorboard: Path | None = None,
    verbose: int = 0,
    watch: Watch = lambda items, _: items,
    report: Callable[[Dataset], None] = lambda _: None,
) -> Manifest | None:
    """Trains a preset on labelled pictures.

    Args:
        folder: The pictures, with their labels in any form that `read_labels` knows; or a TOML
            file that names several folders and generators (`mix`).
        run: The run's folder; made here.
        preset: What to train.
        settings: With which settings.
        labels: The form of the labels.
        digit: Of an ensemble, trains the network of this digit (from 1) alone, and anew if it
            was trained (unless `resume`); the seed and the settings of training then count
            for it alone, while the split is the run's.
        resume: Goes on with the run in the folder, from its last whole epoch.
        tensorboard: Where TensorBoard's logs go, if anywhere.
        verbose: As Keras takes it: 0 silent, 1 a bar, 2 a line an epoch.
        watch: Wraps the walk over the pictures, to show its progress.
        report: Gets the data set, with what was left out, before the first epoch.

    Returns:
        The model's description, with its measured accuracy; None as long as digits of an
        ensemble are missing.

    Raises:
        FolderError: If the folder is none, or holds no pictures.
        LabelError: If the labels have another form, or could be read in several.
        InstallationError: If TensorBoard's logs are wanted and it isn't installed.
        TrainingError: If no usable picture is left, the run's folder holds a run that is not
            to be resumed, or one of other settings or pictures, or there is no such digit.
    """
    if tensorboard is not None and find_spec("tensorboard") is None:
        raise InstallationError(
            'TensorBoard is not installed: pip install "captcha-rt-train[tensorboard]"'
        )
    if digit is not None and preset.network != "ensemble":
        raise TrainingError(f"preset {preset.name!r} is one network for all digits")
    chosen = {name: value for name, value in asdict(settings).items() if name != "licence"}
    started = {
        "folder": folder.resolve().name,
        "preset": preset.name,
        "recipe": preset.recipe.to_json(),
        "labels": labels,
        **({"layers": preset.layers} if preset.layers else {}),
        **({"sources": read_sources(folder)} if folder.is_file() else {}),
        **chosen,
    }
    started = _compare_settings(run / "run.json", started, digit=digit, resume=resume)

    wanted: dict[str, Any] = {
        "characters": settings.characters,
        "blank": preset.blank,
        "watch": watch,
    }
    if folder.is_file():
        dataset = read_mix(folder, preset.recipe, seed=settings.seed, **wanted)
    else:
        dataset = read_dataset(folder, preset.recipe, labels=labels, **wanted)
    if dataset.items:
        dataset, build, manifest = plan(dataset, preset)
    report(dataset)
    if not dataset.items:
        name, reason = dataset.left_out[0]
        raise TrainingError(f"no usable picture in {folder}; the first: {name}: {reason}")
    manifest = replace(manifest, name=run.resolve().name, licence=settings.licence)
    length = text_length(dataset, preset.decoder)
    if digit is not None and not 1 <= digit <= length:
        raise TrainingError(f"no digit {digit}; the texts have digits 1 to {length}")
    parts = split(
        dataset,
        validation=settings.validation,
        test=settings.test,
        seed=started["seed"],
    )
    table = _table(parts)
    _compare(run / "pictures.csv", table, resume=resume or digit is not None)
    run.mkdir(parents=True, exist_ok=True)
    _write(run / "pictures.csv", table)
    _write(run / "run.json", json.dumps(started, indent=2))

    if preset.network == "ensemble":
        if digit is not None and not resume and (run / f"digit-{digit}").exists():
            shutil.rmtree(run / f"digit-{digit}")
        # Of one digit alone, the settings are its own; all else is trained by the run's.
        chosen = {name: started[name] for name in chosen}
        others = Settings(**chosen, licence=settings.licence)
        networks = train_digits(
            build,
            manifest,
            parts,
            others,
            {n: settings if n == digit else others for n in range(1, length + 1)},
            run,
            only=digit,
            verbose=verbose,
            logs=tensorboard,
        )
        if not all(network.epochs.finished for network in networks):
            return None
        model = merge([network.model for network in networks])
    else:
        keras.utils.set_random_seed(settings.seed)
        model = build(length)
        epochs = fit(
            model,
            manifest,
            parts,
            settings,
            run,
            counts={source: share.epoch for source, share in dataset.shares.items()},
            verbose=verbose,
            tensorboard=tensorboard,
        )
        networks = [Network("", model, epochs)]

    manifest = replace(manifest, temperature=fit_temperature(model, manifest, parts["validation"]))
    readings = {
        part: read(model, manifest, items)
        for part, items in parts.items()
        if part != "training" and items
    }
    manifest = replace(
        manifest,
        training={
            "document": preset.document,
            **{name: value for name, value in started.items() if name != "recipe"},
            "label_form": dataset.form,
            "pictures": {part: len(items) for part, items in parts.items()},
            "left_out": len(dataset.left_out),
            "parameters": model.count_params(),
            **_facts([network.epochs for network in networks]),
        },
        accuracy=_accuracy(parts, readings),
    )
    _write_report(run, manifest, networks, model, dataset, readings)
    with write_atomically(run / "model.keras") as path:
        model.save(path, include_optimizer=False)
    _write(run / "manifest.json", manifest.to_json())
    return manifest


def plan(
    dataset: Dataset, preset: Preset
) -> tuple[Dataset, Callable[[int], keras.Model], Manifest]:
    """The pictures that fit a preset's network, how to build it, and what it will be.

    Args:
        dataset: At least one picture.
        preset: What is to be trained on them.

    Returns:
        The pictures with room for their labels; a function from the number of characters to a new
        network; and the description of the model, still without figures.

    Raises:
        TrainingError: If the network can't be built for such pictures.
    """
    length = text_length(dataset, preset.decoder)
    shape = dataset.tensor_shape[1:] if preset.decoder == "glyph" else dataset.tensor_shape

    def build(classes: int, places: int) -> keras.Model:
        return NETWORKS[preset.network](shape, places, classes, **preset.layers)

    try:
        model = build(dataset.charset.classes, length)
    except ValueError as error:
        raise TrainingError(
            f"preset {preset.name!r} can't read {length} characters from inputs of {shape}: {error}"
        ) from error
    places = model.output_shape[1] if preset.decoder == "ctc" else length
    dataset = drop_misfits(dataset, preset.decoder, places)
    classes = dataset.charset.classes
    output = (None, classes) if preset.decoder == "glyph" else (None, places, classes)
    manifest = Manifest(
        name=preset.name,
        charset=dataset.charset,
        recipe=preset.recipe,
        decoder=preset.decoder,
        scores="logits",
        input=Tensor(model.inputs[0].name, (None, *shape)),
        output=Tensor("logits", output),
    )
    return dataset, partial(build, classes), manifest


def _write_report(
    run: Path,
    manifest: Manifest,
    networks: Sequence[Network],
    model: keras.Model,
    dataset: Dataset,
    readings: Mapping[str, Sequence[Reading]],
) -> None:
    """Writes the page on the run, with the misread pictures of the part that was held back most."""
    part = "test" if "test" in readings else "validation"
    misread = {reading.path for reading in readings[part] if reading.text != reading.truth}
    lines: list[str] = []
    model.summary(print_fn=lines.append, expand_nested=True)
    write_report(
        run,
        manifest,
        [Curves(n.name, n.epochs.history, n.epochs.best) for n in networks],
        [item.label for item in dataset.items],
        readings[part],
        {item.name: item.picture for item in dataset.items if item.name in misread},
        part,
        "\n".join(lines),
    )


def _facts(networks: Sequence[Epochs]) -> dict[str, Any]:
    """What is known when all is done; a number a network where an ensemble has several."""
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


def _accuracy(parts: Parts, readings: Mapping[str, Sequence[Reading]]) -> dict[str, dict[str, Any]]:
    """The figures of each part that was held back, and of a mix those of each of its sources."""
    found: dict[str, dict[str, Any]] = {}
    for part, texts in readings.items():
        found[part] = figures(texts)
        sources = [item.source for item in parts[part]]
        for source in filter(None, dict.fromkeys(sources)):
            its = [text for text, name in zip(texts, sources, strict=True) if name == source]
            found[f"{part} {source}"] = figures(its)
    return found


def _table(parts: Parts) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "label", "part", "source"))
    writer.writerows(
        (item.path.resolve() if item.path else item.name, item.label, part, item.source)
        for part, items in parts.items()
        for item in items
    )
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as partial_path:
        partial_path.write_text(text, "utf-8")


def _compare_settings(
    path: Path, started: dict[str, Any], *, digit: int | None, resume: bool
) -> dict[str, Any]:
    """Refuses the settings of another run; of one digit alone only those of the data count."""
    if digit is None or not path.exists():
        _compare(path, json.dumps(started, indent=2), resume=resume)
        return started
    before: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for name in ("folder", "preset", "recipe", "labels", "validation", "test", "characters"):
        if before[name] != started[name]:
            raise TrainingError(
                f"can't train digit {digit} alone: {path} says {name} {before[name]!r}, "
                f"not {started[name]!r}"
            )
    return before


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
