"""The form of Keras: a run's network in a `.keras` file, with its description inside.

A `.keras` file is a zip archive. The description of the model is one more file in it, so that
recipe and charset can't get lost; Keras passes over it.
"""

import zipfile
from dataclasses import dataclass, replace
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
from captcha_rt_export.parity import allowed_probability, prepare
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
    original = load_run(source, "keras")
    ended = end_in_probabilities(original)
    with write_atomically(out) as path:
        ended.save(path)
        add_description(path, original.described)
        found = keras.models.load_model(path).predict(original.rows, batch_size=64, verbose=0)
        usage = (
            f'keras.models.load_model("{out}"); recipe and charset: unzip -p {out} {DESCRIPTION}'
        )
        return check(original, found, path, "keras.models.load_model", usage)


@dataclass(frozen=True)
class Original:
    """A run's network as it was trained, and the pictures to check on.

    Attributes:
        model: The network.
        manifest: Its description.
        described: The description of the network that `end_in_probabilities` makes of it.
        samples: The pictures.
        rows: All of them as the network takes them.
    """

    model: keras.Model
    manifest: Manifest
    described: Manifest
    samples: list[Path]
    rows: NDArray[np.float32]


def load_run(source: Source, form: str) -> Original:
    """Loads a run's network, and prepares the pictures."""
    run = source.finished_run(form)
    manifest, samples = run.manifest, source.samples()
    described = describe_probabilities(replace(manifest, name=source.name or manifest.name))
    rows = manifest.batch(prepare(samples, manifest))
    return Original(load_keras(run), manifest, described, samples, rows)


def end_in_probabilities(original: Original, batch: int | None = None) -> keras.Model:
    """Makes a network of plain Keras layers that ends in probabilities.

    Args:
        original: A run's network.
        batch: The size of the batch; None leaves it open.
    """
    model, manifest = original.model, original.manifest
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
    original: Original, found: NDArray[np.float32], path: Path, who: str, usage: str
) -> Taken:
    """Compares the probabilities and texts of a file with those of the run's network.

    Args:
        original: The run's network.
        found: The probabilities that the file gives for `original.rows`.
        path: The file, under the name with which it is written.
        who: Who computed them, for people.
        usage: What to type next.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If a text differs, or a probability by more than rounding explains.
    """
    manifest, described = original.manifest, original.described
    scores = original.model.predict(original.rows, batch_size=64, verbose=0)
    wanted = to_probabilities(scores, manifest.scores, manifest.temperature)
    difference = float(np.abs(found - wanted).max())
    allowed = allowed_probability(scores, manifest)
    if not difference < allowed:
        raise ExportError(
            f"{who} differs from the run's network by {difference:.2e} in probability "
            f"(allowed: {allowed:.2g})"
        )
    same, only = compare(
        [text for text, _ in described.decode(found)],
        [text for text, _ in manifest.decode(scores)],
        original.samples,
        least=1,
        who=who,
    )
    return Taken(
        name=described.name,
        size=path.stat().st_size,
        pictures=len(original.samples),
        same=same,
        checked=f"{who}, largest difference {difference:.1e} in probability,",
        usage=usage,
        only_answer=only,
    )
