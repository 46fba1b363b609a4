"""The form of TFLite (LiteRT): a run's network in float32, with its description in the file.

TFLite's own metadata are files in a zip archive at the end of the model, which its interpreters
pass over. The description of the model is such a file.
"""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt_export.errors import ExportError
from captcha_rt_export.to.keras_model import (
    DESCRIPTION,
    add_description,
    check,
    end_in_probabilities,
    load_run,
)
from captcha_rt_export.to.source import Source, Taken


def write(source: Source, out: Path) -> Taken:
    """Writes the `.tflite` file.

    It takes one picture at a time, or the glyphs of one: an LSTM can't be converted with an open
    batch, and phones read one picture at a time.

    Args:
        source: A finished run.
        out: The `.tflite` file; it appears whole or not at all.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If the source is no finished run, the network can't be converted, or TFLite
            reads other texts.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the file can't be written.
    """
    original = load_run(source, "tflite")
    batch = original.manifest.glyphs or 1
    converted = _convert(end_in_probabilities(original, batch), original.described)
    with write_atomically(out) as path:
        path.write_bytes(converted)
        add_description(path, original.described)
        usage = f"recipe and charset for your program: unzip -p {out} {DESCRIPTION}"
        found = _run(path, original.rows, batch)
        return check(original, found, path, "TFLite's interpreter", usage)


def _convert(network: keras.Model, manifest: Manifest) -> bytes:
    """Converts a network with a fixed batch; its signature has the names of the description."""
    [image] = network.inputs
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serve",
        lambda x: {manifest.output.name: network(x, training=False)},
        [keras.InputSpec(shape=image.shape, dtype="float32", name=manifest.input.name)],
    )
    try:
        with TemporaryDirectory() as folder:  # what the network remembers is only saved that way
            archive.write_out(folder, verbose=False)
            converted: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    except Exception as error:  # the converter raises errors of many kinds
        reason = (str(error).splitlines() or [""])[0]
        raise ExportError(f"TFLite's converter refuses the network: {reason}") from error
    return converted


def _run(path: Path, rows: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Runs the file's network with TFLite's interpreter."""
    with warnings.catch_warnings():  # it names another package, which has the same interpreter
        warnings.simplefilter("ignore", UserWarning)
        network: Any = tf.lite.Interpreter(model_path=str(path), num_threads=1)
    network.allocate_tensors()
    [image], [scores] = network.get_input_details(), network.get_output_details()
    found = []
    for start in range(0, len(rows), batch):
        network.set_tensor(image["index"], rows[start : start + batch])
        network.invoke()
        found.append(network.get_tensor(scores["index"]))
    return np.concatenate(found)
