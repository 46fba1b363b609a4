"""Exports a Keras model to one checked model file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from captcha_rt.files import write_atomically
from captcha_rt.labels import pictures_of
from captcha_rt.manifest import Manifest
from captcha_rt.model import attach
from captcha_rt_export.convert import check_graph, convert, operators, with_softmax
from captcha_rt_export.errors import ExportError
from captcha_rt_export.int8 import (
    Int8Report,
    Int8Samples,
    choose_calibration,
    choose_form,
)
from captcha_rt_export.parity import Parity, check_parity, prepare
from captcha_rt_export.run import Run

if TYPE_CHECKING:  # Keras takes seconds to load, and models of other origin don't need it
    import keras


@dataclass(frozen=True, slots=True)
class Report:
    """What an export made.

    Attributes:
        manifest: The model's description, as it stands in the file.
        size: The size of the file in bytes.
        operators: How often the graph holds each operator, the most frequent first.
        pictures: The number of pictures that the graph was checked on.
        parity: The largest differences from the original model.
        int8: The comparison of the 8-bit forms with the float graph; None if 8 bits were not tried.
    """

    manifest: Manifest
    size: int
    operators: dict[str, int]
    pictures: int
    parity: Parity
    int8: Int8Report | None = None


def export_model(
    model: "keras.Model",
    manifest: Manifest,
    samples: Sequence[Path],
    out: Path,
    *,
    int8: Int8Samples | None = None,
    accuracy: Mapping[str, Any] | None = None,
) -> Report:
    """Converts a Keras model, checks it against Keras on pictures, and writes the file.

    Args:
        model: The model as it is used for inference, with one input and one output.
        manifest: The model's description, with the names and shapes of the Keras model.
        samples: Picture files of the model's kind to check on, at least one.
        out: The `.onnx` file to write; it appears whole or not at all.
        int8: The samples to choose a form in 8 bits by; None keeps float32.
        accuracy: The accuracy to describe, where the network has learned from the pictures that
            were held back once; None takes the manifest's, or measures that of the 8-bit graph.

    Returns:
        What the export made.

    Raises:
        ExportError: If the graph is not fast and self-contained (`check_graph`), or answers
            differently from Keras (`check_parity`).
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
    """
    graph = convert(model)
    tensors = prepare(samples, manifest)

    def original(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model.predict(rows, batch_size=64, verbose=0))

    parity = check_parity(original, graph.SerializeToString(), manifest, tensors)
    return write_model(
        graph, manifest, out, parity=parity, pictures=len(tensors), int8=int8, accuracy=accuracy
    )


def write_model(
    graph: onnx.ModelProto,
    manifest: Manifest,
    out: Path,
    *,
    parity: Parity,
    pictures: int,
    int8: Int8Samples | None = None,
    accuracy: Mapping[str, Any] | None = None,
) -> Report:
    """Writes a graph that was checked: with a softmax at its end, in 8 bits if asked for.

    Args:
        graph: A graph that `check_parity` has compared with its original.
        manifest: The graph's description.
        out: The `.onnx` file to write; it appears whole or not at all.
        parity: What the comparison found.
        pictures: The number of pictures that were compared.
        int8: As for `export_model`.
        accuracy: As for `export_model`.

    Returns:
        What was made.

    Raises:
        ExportError: If the graph in 8 bits is not valid.
    """
    described = describe_probabilities(manifest)
    proto = _end_in_probabilities(graph, manifest)
    int8_report = None
    if int8 is not None:
        proto, described, int8_report = choose_form(proto, described, int8)
        check_graph(proto)
    if accuracy is not None:
        described = replace(described, accuracy=accuracy)
    data = attach(proto.SerializeToString(), described)
    with write_atomically(out) as path:
        path.write_bytes(data)
    return Report(
        manifest=described,
        size=len(data),
        operators=dict(operators(proto).most_common()),
        pictures=pictures,
        parity=parity,
        int8=int8_report,
    )


def export_run(
    run: Run,
    out: Path,
    *,
    pictures: Path | None = None,
    name: str | None = None,
    int8: bool = False,
    min_confidence: float = 0.0,
) -> Report:
    """Exports a run's model with `export_model`.

    Args:
        run: A finished run of `captcha-rt train`.
        out: The `.onnx` file to write.
        pictures: A folder of pictures to check on; None takes those that the run held back.
        name: The model's name in its answers; None takes the run's.
        int8: Whether the graph may compute in 8 bits (`choose_form`). Where it does, the manifest
            holds the accuracy of the 8-bit graph, measured on the pictures that the run held back,
            unless the model has learned from these, too.
        min_confidence: The confidence below which `solve` rejects an answer by default, in 0..1.

    Returns:
        What the export made.

    Raises:
        ExportError: If `export_model` refuses the model, the run is not finished or damaged, or
            its pictures are gone.
        FolderError: If `pictures` is not a folder, or holds no pictures.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
    """
    manifest = run.manifest
    manifest = replace(manifest, name=name or manifest.name, min_confidence=min_confidence)
    if pictures is not None:
        samples = pictures_of(pictures)
    else:
        samples = [sample.path for sample in run.held_back()]
    int8_samples = None
    if int8:
        int8_samples = Int8Samples(choose_calibration(run.training_samples()), run.held_back())
    # What was held back at first is no measure of a model that has learned from it since.
    accuracy = manifest.accuracy if manifest.training.get("trained_on_all") else None
    return export_model(
        load_keras(run), manifest, samples, out, int8=int8_samples, accuracy=accuracy
    )


def load_keras(run: Run) -> "keras.Model":
    """Loads a run's trained Keras model.

    Raises:
        ExportError: If the model can't be loaded.
    """
    import keras

    try:
        return keras.models.load_model(run.model_file, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"can't load the Keras model {run.model_file}: {error}") from error


def _end_in_probabilities(graph: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Appends the softmax, unless the network ends in one."""
    if manifest.scores == "probabilities":
        return graph
    return with_softmax(graph, manifest.temperature)


def describe_probabilities(manifest: Manifest) -> Manifest:
    """The description of a network of logits after a softmax was appended to it.

    Args:
        manifest: The network's description; one that ends in probabilities is returned as it is.
    """
    if manifest.scores == "probabilities":
        return manifest
    output = replace(manifest.output, name="probabilities")
    return replace(manifest, scores="probabilities", output=output)
