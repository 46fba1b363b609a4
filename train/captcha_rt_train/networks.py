"""The documents' networks, layer by layer as they print them, and the project's own.

Each is the plain inference graph, from the recipe's tensor to logits: the loss is given to
`compile` and is no layer of the model, and the documents' softmax is left to the decoder, since
losses work on logits. Nothing here is bound to one Keras backend.

A network is built from the shape of its input, the number of characters of a text (which a CTC
network has no use for) and the number of classes; `compact` also from its preset's layers.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers

Shape = tuple[int, ...]

# The documents leave Keras's 0.99, with which the averages lag some hundred steps behind: with
# 600 pictures the training accuracy was 0.38 after seven epochs, that of validation still 0.10.
_MOMENTUM = 0.9


def multihead(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """Document 000's network: ten convolutions, and a dense head a character.

    4,835,208 parameters at 48 x 140 x 3 with four heads of 20. The batch normalisation runs over
    the rows (axis 1), as the document's 16 and 8 parameters say. It names no dropout rate.

    Args:
        input_shape: `(H, W, C)`; 48 x 140 x 3 in the document.
        length: The number of heads.
        classes: The number of classes, with the blank for texts that are shorter.

    Returns:
        A model from `(N, H, W, C)` float32 in 0..1 to logits `(N, length, classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = image
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    for filters in (256, 512):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization(axis=1, momentum=_MOMENTUM)(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    heads = [layers.Dense(classes, name=f"digit{i}")(x) for i in range(1, length + 1)]
    return keras.Model(image, _side_by_side(heads, classes), name="multihead")


def ensemble_digit(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """One of document 001's six networks: seven convolutions and one head, 619,370 parameters.

    Args:
        input_shape: `(H, W, 1)`; 40 x 120 in the document.
        length: 1: the network reads one character, at its own place in the text. More heads make
            the network that an ensemble starts from.
        classes: The number of classes; 10 in the document.

    Returns:
        A model from `(N, H, W, 1)` float32 in 0..1 to logits `(N, length, classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = image
    for filters, convolutions in ((32, 2), (64, 2), (128, 2), (256, 1)):
        for _ in range(convolutions):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
        x = layers.MaxPooling2D(2)(x)
        if convolutions == 2:  # after the last pooling it flattens first, which is the same
            x = layers.Dropout(0.3)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(length * classes, name="digit")(x)
    x = layers.Reshape((length, classes), name="logits")(x)
    return keras.Model(image, x, name="ensemble_digit")


def merge(networks: Sequence[keras.Model]) -> keras.Model:
    """Puts networks for one character each side by side: document 001's ensemble.

    Args:
        networks: Models from one and the same input shape to logits `(N, 1, classes)`, in the
            order of the characters that they read.

    Returns:
        A model with one input, from `(N, ...)` to logits `(N, len(networks), classes)`.
    """
    image = keras.Input(networks[0].input_shape[1:], name="image")
    copies = []
    for number, network in enumerate(networks, 1):
        copy = keras.models.clone_model(network)
        copy.name = f"digit{number}"
        copy.set_weights(network.get_weights())
        copies.append(copy(image))
    merged = layers.Concatenate(axis=1, name="logits")(copies)
    return keras.Model(image, merged, name="ensemble")


def glyph(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """Document 002's network: it reads one digit picture at a time.

    The document gives two convolutions with pooling and a dense layer of 128; that they have 32
    and 64 filters of 3 x 3 is TensorFlow's CNN tutorial, which it names as its source.

    Args:
        input_shape: `(H, W, 1)` of one glyph; 23 x 15 in the document.
        length: How many glyphs a picture has; the network has no use for it.
        classes: The number of classes; 10 in the document.

    Returns:
        A model from glyphs `(N, H, W, 1)` float32 in 0..1 to logits `(N, classes)`.
    """
    del length
    image = keras.Input(input_shape, name="glyph")
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="glyph")


def steps(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """Document 003's network: two convolutions, then one time step a character.

    The columns are dealt out to as many time steps as there are characters: 5 of 7,680 values.

    Args:
        input_shape: `(W, H, 1)`, width first; 200 x 50 in the document.
        length: The number of time steps; it divides `W // 4`.
        classes: The number of classes; 19 in the document.

    Returns:
        A model from `(N, W, H, 1)` float32 in 0..1 to logits `(N, length, classes)`.

    Raises:
        ValueError: If the columns can't be dealt out evenly.
    """
    width, height, _ = input_shape
    if width // 4 % length:
        raise ValueError(f"{width // 4} columns can't be dealt out to {length} time steps")
    image, x = _two_convolutions(input_shape)
    x = layers.Reshape((length, width // 4 // length * (height // 4) * 64))(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="steps")


def crnn(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """The CTC half of document 003, the source of 004: convolutions, a dense layer, LSTMs.

    Args:
        input_shape: `(W, H, 1)`, width first; 200 x 50 in the document.
        length: No use; CTC finds it.
        classes: The number of classes, the blank included.

    Returns:
        A model from `(N, W, H, 1)` float32 in 0..1 to logits `(N, W // 4, classes)`.
    """
    del length
    features = layers.Dense(64, activation="relu", name="features")
    return _crnn(input_shape, features, layers.Dense(classes, name="logits"), "crnn")


def crnn_conv1d(input_shape: Shape, length: int, classes: int) -> keras.Model:
    """Document 004's variant: 1 x 1 convolutions in place of the two dense layers.

    They make the same connections, as the document says; arguments and result are those of
    `crnn`.
    """
    del length
    features = layers.Conv1D(64, 1, activation="relu", name="features")
    return _crnn(input_shape, features, layers.Conv1D(classes, 1, name="logits"), "crnn_conv1d")


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


def compact(
    input_shape: Shape,
    length: int,
    classes: int,
    *,
    rows: Sequence[tuple[int, int, int, int]],
    columns: Sequence[tuple[int, int, int]],
) -> keras.Model:
    """The project's own: convolutions down to one row, then along it; no recurrence, CTC.

    Args:
        input_shape: `(H, W, 1)`.
        length: No use; CTC finds it.
        classes: The number of classes, the blank included.
        rows: Of each convolution over the picture the filters, the side of its square kernel, and
            its strides down and across.
        columns: Of each convolution along the row the filters, the kernel's width and its
            dilation. The first one takes all rows that are left.

    Returns:
        A model from `(N, H, W, 1)` float32 in 0..1 to logits `(N, T, classes)`.
    """
    del length
    image = keras.Input(input_shape, name="image")
    x = image
    for filters, side, down, across in rows:
        x = _convolve(x, filters, side, strides=(down, across))
    (filters, width, dilation), *others = columns
    x = layers.ZeroPadding2D((0, width // 2 * dilation))(x)
    x = _convolve(x, filters, (x.shape[1], width), padding="valid", dilation_rate=(1, dilation))
    for filters, width, dilation in others:
        x = _convolve(x, filters, (1, width), dilation_rate=(1, dilation))
    x = layers.Reshape(x.shape[2:], name="features")(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="compact")


def with_position_head(model: keras.Model, length: int) -> keras.Model:
    """Adds logits for each character's place to train on, made of all of the layer `features`.

    CTC alone starts on a plateau: only blanks are read, and with few pictures it may stay there.
    A softmax a place, over the whole row, learns from the first step on what the characters look
    like. Alone it is the worse reader, since it knows each character at each place anew.

    Args:
        model: A network with a layer `features`, `(N, T, units)`, and logits `(N, T, classes)`.
        length: The number of places.

    Returns:
        A model of the same layers with two outputs: the logits, and `(N, length, classes)`.
    """
    classes = model.output_shape[-1]
    x = layers.Flatten()(model.get_layer("features").output)
    x = layers.Dense(length * classes)(layers.Dropout(0.2)(x))
    places = layers.Reshape((length, classes), name="places")(x)
    return keras.Model(model.inputs, [model.output, places], name=f"{model.name}-in-training")


def _convolve(
    x: keras.KerasTensor, filters: int, kernel: int | tuple[int, int], **options: object
) -> keras.KerasTensor:
    """A convolution, a batch normalisation that export folds into it, and ReLU."""
    options = {"padding": "same", **options}
    x = layers.Conv2D(filters, kernel, use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def _two_convolutions(input_shape: Shape) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The start that documents 003 and 004 share: the input, and `(N, W // 4, H // 4, 64)`."""
    image = keras.Input(input_shape, name="image")
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal"
        )(x)
        x = layers.MaxPooling2D(2)(x)
    return image, x


def _crnn(
    input_shape: Shape, features: layers.Layer, logits: layers.Layer, name: str
) -> keras.Model:
    width, height, _ = input_shape
    image, x = _two_convolutions(input_shape)
    x = layers.Reshape((width // 4, height // 4 * 64))(x)
    x = layers.Dropout(0.2)(features(x))
    for units in (128, 64):
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True, dropout=0.25))(x)
    return keras.Model(image, logits(x), name=name)


def _side_by_side(heads: Sequence[keras.KerasTensor], classes: int) -> keras.KerasTensor:
    """Heads `(N, classes)` as `(N, len(heads), classes)`."""
    rows = [layers.Reshape((1, classes))(head) for head in heads]
    return layers.Concatenate(axis=1, name="logits")(rows)


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "multihead": multihead,
    "ensemble": ensemble_digit,
    "glyph": glyph,
    "steps": steps,
    "crnn": crnn,
    "crnn-conv1d": crnn_conv1d,
    "compact": compact,
}
