"""The form of Keras: a run's network in a `.keras` file, with its description inside.

A `.keras` file is a zip archive. The description of the model is one more file in it, so that
recipe and charset can't get lost; Keras passes over it.
"""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from captcha_rt.decoders import to_probabilities
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt_export.errors import ExportError
from captcha_rt_export.export import describe_probabilities, load_keras
from captcha_rt_export.parity import PROBABILITY_TOLERANCE, prepare
from captcha_rt_export.to.source import Source, Taken, compare

DESCRIPTION: Final = "captcha_rt.json"
"""The file in the archive that holds the description of the model."""


def write(source: Source, out: Path) -> Taken:
    """Writes the `.keras` file.

    The network ends in a softmax, as the documents' networks do, and as `keras.ops.ctc_decode` and
    people expect: training leaves it out. The temperature is applied before.

    Args:
        source: A finished run.
        out: The `.keras` file; it appears whole or not at all.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If the source is no finished run, or the file reads other texts.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the file can't be written.
    """
    if out.suffix != ".keras":
        raise ExportError(f"Keras only loads files that end in .keras, not {out.name}")
    model, manifest, samples = load_run(source, "keras")
    rows = manifest.batch(prepare(samples, manifest))
    described = describe(manifest, source)
    ended = end_in_probabilities(model, manifest)
    with write_atomically(out) as path:
        ended.save(path)
        add_description(path, described)
        loaded = keras.models.load_model(path)
        found = loaded.predict(rows, batch_size=64, verbose=0)
        same, only, difference = check(model, manifest, found, described, rows, samples, "the file")
        size = path.stat().st_size
    return Taken(
        name=described.name,
        size=size,
        pictures=len(samples),
        same=same,
        checked=f"keras.models.load_model, largest difference {difference:.1e} in probability,",
        usage=f'keras.models.load_model("{out}"); recipe and charset: unzip -p {out} {DESCRIPTION}',
        only_answer=only,
    )


def load_run(source: Source, form: str) -> tuple[keras.Model, Manifest, list[Path]]:
    """Loads a run's network as it was trained, its description, and the pictures to check on."""
    run = source.finished_run(form)
    return load_keras(run), run.manifest, source.samples()


def describe(manifest: Manifest, source: Source) -> Manifest:
    """The description of the network that `end_in_probabilities` makes."""
    return describe_probabilities(replace(manifest, name=source.name or manifest.name))


def end_in_probabilities(
    model: keras.Model, manifest: Manifest, batch: int | None = None
) -> keras.Model:
    """Makes a network of plain Keras layers that ends in probabilities.

    Args:
        model: A run's network.
        manifest: Its description.
        batch: The size of the batch; None leaves it open.
    """
    [scores] = model.outputs
    if manifest.scores == "logits":
        if manifest.temperature != 1:
            scores = layers.Rescaling(1 / manifest.temperature, name="temperature")(scores)
        scores = layers.Softmax(name="probabilities")(scores)
    ended = keras.Model(model.inputs, scores, name="captcha_reader")
    if batch is None:
        return ended
    [image] = ended.inputs
    fixed = keras.Input(batch_shape=(batch, *image.shape[1:]), name=image.name)
    copy = keras.models.clone_model(ended, input_tensors=[fixed])
    copy.set_weights(ended.get_weights())
    return copy


def add_description(path: Path, manifest: Manifest) -> None:
    """Adds the description to a zip archive, or a zip archive with it to the end of a file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(DESCRIPTION, manifest.to_json())


def check(
    model: keras.Model,
    manifest: Manifest,
    found: NDArray[np.float32],
    described: Manifest,
    rows: NDArray[np.float32],
    samples: list[Path],
    who: str,
) -> tuple[int, str | None, float]:
    """Compares probabilities with those of a run's network, and the texts.

    Args:
        model: The run's network.
        manifest: Its description.
        found: The probabilities of the new network for `rows`.
        described: The description of the new network.
        rows: The input, of all pictures.
        samples: The pictures.
        who: Who made the probabilities, for the message.

    Returns:
        The number of equal texts, the only text if there is just one, and the largest difference of
        a probability.

    Raises:
        ExportError: If a text differs, or a probability by 1e-5 or more.
    """
    scores = model.predict(rows, batch_size=64, verbose=0)
    wanted = to_probabilities(scores, manifest.scores, manifest.temperature)
    difference = float(np.abs(found - wanted).max())
    if not difference < PROBABILITY_TOLERANCE:
        raise ExportError(
            f"{who} differs from the run's network by {difference:.2e} in probability "
            f"(allowed: {PROBABILITY_TOLERANCE})"
        )
    same, only = compare(
        [text for text, _ in described.decode(found)],
        [text for text, _ in manifest.decode(scores)],
        samples,
        least=1,
        who=who,
    )
    return same, only, difference
