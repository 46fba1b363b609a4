"""The activations of one layer of a trained network, as document 002 shows them."""

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
        rows: The network's input, `(N, ...)` float32: one row for the picture, or one row for each
            of its glyphs.
        layer: The layer's name, such as `conv1`; in an ensemble with the network's name before
            it, such as `digit2/conv1a`.

    Returns:
        `(H, W, C)` float32: the activations for the N rows, side by side along the second axis.
        Activations of shape `(N, T, C)` become `(T, N, C)`, those of `(N, C)` become `(1, N, C)`.

    Raises:
        TrainingError: If the folder holds no network, the network has no such layer, or the
            network takes inputs of another shape.
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
            raise TrainingError(f"the layer {inner!r} is not a network that takes the picture")
    outputs = keras.Model(network.inputs, _layer(network, name).output).predict_on_batch(rows)
    if not isinstance(outputs, np.ndarray):
        raise TrainingError(f"the layer {layer!r} has more than one output tensor")
    match outputs.ndim:
        case 2:
            outputs = outputs[:, None, None]
        case 3:
            outputs = outputs[:, :, None]
    return np.concatenate([*outputs], axis=1, dtype=np.float32)


def _layer(network: keras.Model, name: str) -> keras.Layer:
    try:
        return network.get_layer(name)
    except ValueError:
        names = ", ".join(layer.name for layer in network.layers)
        raise TrainingError(
            f"the network {network.name} has no layer {name!r}; it has {names}"
        ) from None
