"""The documents' networks, layer by layer as they print them.

Each is the plain inference graph, from the recipe's tensor to logits: the CTC loss is given to
`compile` and is no layer of the model. Nothing here is bound to one Keras backend.
"""

from collections.abc import Callable

import keras
from keras import layers


def crnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Document 004's network: two convolutions, a dense layer, two bidirectional LSTMs.

    The document's softmax is left to the decoder, since the loss works on logits.

    Args:
        input_shape: `(W, H, 1)`, width first; 200 x 50 in the document.
        classes: The number of classes, the blank included.

    Returns:
        A model from `(N, W, H, 1)` float32 in 0..1 to logits `(N, W // 4, classes)`.
    """
    width, height, _ = input_shape
    image = keras.Input(input_shape, name="image")
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal"
        )(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Reshape((width // 4, height // 4 * 64))(x)
    x = layers.Dense(64, activation="relu", name="features")(x)
    x = layers.Dropout(0.2)(x)
    for units in (128, 64):
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True, dropout=0.25))(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="crnn")


def with_local_head(model: keras.Model) -> keras.Model:
    """Adds a second set of logits to train on, made of the layer `features` alone.

    A bidirectional LSTM may learn to remember the whole picture and to say all of it at its first
    time steps: it fits the training pictures slowly and reads no others. Features see some twenty
    columns, so that a CTC loss on them can only put a character where it stands; the recurrent
    layers then find it there. Source: J. Lee and S. Watanabe, "Intermediate Loss Regularization
    for CTC-based Speech Recognition" (ICASSP 2021).

    Args:
        model: A network with a layer `features`, `(N, T, units)`, and logits `(N, T, classes)`.

    Returns:
        A model of the same layers with two outputs: the logits, and those of the features.
    """
    features = model.get_layer("features").output
    local = layers.Dense(model.output_shape[-1], name="local")(features)
    return keras.Model(model.inputs, [model.output, local], name=f"{model.name}-in-training")


NETWORKS: dict[str, Callable[[tuple[int, ...], int], keras.Model]] = {"crnn": crnn}
