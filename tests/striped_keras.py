"""Tiny Keras networks that read grey stripes, as `striped` draws them.

Each reads every picture right without training: what stands before, between and after its layers is
what a test puts there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from striped import HEIGHT, WIDTH, Dress

Change = Callable[[Any], Any]

ORDER = Dress().order
"""The characters in the order of the classes; the blank is the last class."""
STEPS = "steps"
"""The name of the layer of a grey level for each time step, `(N, 32, 1)`."""


def same(x: Any) -> Any:
    """Changes nothing."""
    return x


def reader(
    *,
    shape: tuple[int | None, ...] = (HEIGHT, WIDTH, 1),
    first: Change = same,
    between: Change = same,
    last: Change = same,
    end: str | None = "softmax",
    order: str = ORDER,
    **settings: Any,
) -> Any:
    """A network from a picture to a class for each column.

    Args:
        shape: The picture's axes, `(H, W, 1)`.
        first: What is done to the picture, in 0..1 after it.
        between: What is done to the grey level of each column, `(N, T, 1)`.
        last: What is done to the scores.
        end: The activation of the scores.
        order: As for `Dress`.
        **settings: Settings of the input layer.
    """
    image = layers.Input(shape, name="image", **settings)
    rows = layers.AveragePooling2D((HEIGHT, 1))(first(image))
    steps = layers.Reshape((-1, 1), name=STEPS)(rows)
    scores = _dense(end, order)(between(steps))
    return keras.Model(image, last(scores))


def _dense(end: str | None, order: str) -> Any:
    """The layer that finds the nearest level, `(N, T, 1)` -> `(N, T, C)`."""
    levels = np.asarray(Dress(order=order).levels, np.float32)
    return layers.Dense(
        len(levels),
        activation=end,
        name="scores",
        kernel_initializer=keras.initializers.Constant((400 * levels)[None]),
        bias_initializer=keras.initializers.Constant(-200 * levels**2),
    )


def passing(kind: str) -> Any:
    """A `GRU` or `LSTM` whose gates let everything pass: `(N, T, 1)` -> the same."""
    layer = getattr(layers, kind)(1, activation="linear", return_sequences=True)
    layer.build((None, None, 1))
    kernel, inner, bias = (np.zeros_like(weights) for weights in layer.get_weights())
    kernel[0, 2] = 1
    if kind == "GRU":  # the update gate keeps nothing
        bias[0, 0] = -100
    else:  # input, forget, cell, output
        bias[[0, 1, 3]] = 100, -100, 100
    layer.set_weights([kernel, inner, bias])
    return layer


def save(model: Any, path: Path) -> Path:
    """Saves a model in the form that the suffix names; without a suffix as a SavedModel."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return path
