"""The activations of a layer of a trained network, as document 002 shows them."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt_export.run import Run
from captcha_rt_train.errors import TrainingError


def activations(run: Path, rows: NDArray[np.float32], layer: str) -> NDArray[np.float32]:
    """Runs a trained network up to one of its layers.

    Args:
        run: The run's folder, with `model.keras`.
        rows: The network's input, `(N, ...)`: one picture, or its glyphs.
        layer: The layer's name, such as `conv1`; in an ensemble, whose networks all take the
            picture, `digit2/conv1a`.

    Returns:
        `(H, W, C)`, the N answers side by side along the second axis. Answers of `(N, T, C)` become
        `(T, N, C)`, those of `(N, C)` become `(1, N, C)`.

    Raises:
        TrainingError: If there is no network in the folder, it has no such layer, or it takes
            another input.
    """
    path = Run(run).model_file
    try:
        network = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"can't load the Keras model {path}: {error}") from error
    if network.input_shape[1:] != rows.shape[1:]:
        raise TrainingError(
            f"the network in {run} takes {network.input_shape[1:]}, the model's recipe makes "
            f"{rows.shape[1:]}: give the model that was exported from this run"
        )
    *outer, name = layer.split("/")
    for inner in outer:
        network = _layer(network, inner)
        if not isinstance(network, keras.Model) or network.input_shape[1:] != rows.shape[1:]:
            raise TrainingError(f"the layer {inner!r} is no network that takes the picture")
    answers = keras.Model(network.inputs, _layer(network, name).output).predict_on_batch(rows)
    if not isinstance(answers, np.ndarray):
        raise TrainingError(f"the layer {layer!r} answers with more than one tensor")
    match answers.ndim:
        case 2:
            answers = answers[:, None, None]
        case 3:
            answers = answers[:, :, None]
    return np.concatenate([*answers], axis=1, dtype=np.float32)


def _layer(network: keras.Model, name: str) -> keras.Layer:
    try:
        return network.get_layer(name)
    except ValueError:
        names = ", ".join(layer.name for layer in network.layers)
        raise TrainingError(
            f"the network {network.name} has no layer {name!r}; it has {names}"
        ) from None
