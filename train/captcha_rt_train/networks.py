"""The documents' networks, layer by layer as they print them, and the project's own.

Each network is the plain inference graph, from the recipe's tensor to logits. The loss is an
argument of `compile`, not a layer of the model. The documents' softmax is left out, since losses
work on logits. Every layer with weights has a name, for `captcha-rt explain --layer`. Nothing here
depends on one Keras backend.

A network is built from its `Dimensions`; `compact` also from the layers in its preset.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import keras
from keras import layers

Shape = tuple[int, ...]

RESIDUAL: Final = "residual"
"""The names of `compact`'s residual convolutions, and of what belongs to them, begin with it."""

# The documents use Keras's default of 0.99. Then the moving averages lag some hundred steps behind:
# with 600 pictures, training accuracy was 0.38 after seven epochs, validation accuracy still 0.10.
_MOMENTUM = 0.9


class Dimensions(NamedTuple):
    """What a network is built for.

    Attributes:
        input_shape: The shape of the input without the batch axis.
        length: The number of characters that the network reads; CTC networks and
            `glyph` don't use it.
        classes: The number of classes, the blank included.
    """

    input_shape: Shape
    length: int
    classes: int


def multihead(dimensions: Dimensions) -> keras.Model:
    """Document 000's network: ten convolutions, and a dense head for each character.

    4,835,208 parameters at 48 x 140 x 3 with four heads of 20. The batch normalisation runs over
    the rows (axis 1), as the document's 16 and 8 parameters say. The document gives no dropout
    rate.

    Args:
        dimensions: An input of `(H, W, C)`, 48 x 140 x 3 in the document. The length is the number
            of heads; the classes include a blank for shorter texts.

    Returns:
        A model from `(N, H, W, C)` float32 in 0..1 to logits `(N, length, classes)`.
    """
    image = keras.Input(dimensions.input_shape, name="image")
    x = image
    for block, filters in enumerate((32, 64, 128), 1):
        x = _relu_convolution(filters, f"conv{block}a")(x)
        x = _relu_convolution(filters, f"conv{block}b", padding="valid")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    for block, filters in enumerate((256, 512), 4):
        x = _relu_convolution(filters, f"conv{block}a")(x)
        x = _relu_convolution(filters, f"conv{block}b")(x)
        x = layers.BatchNormalization(axis=1, momentum=_MOMENTUM, name=f"norm{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    classes = dimensions.classes
    numbers = range(1, dimensions.length + 1)
    heads = [layers.Dense(classes, name=f"digit{number}")(x) for number in numbers]
    return keras.Model(image, _side_by_side(heads, classes), name="multihead")


def ensemble_digit(dimensions: Dimensions) -> keras.Model:
    """One of document 001's six networks: seven convolutions and one head, 619,370 parameters.

    Args:
        dimensions: An input of `(H, W, 1)`, 40 x 120 in the document; 10 classes there. The length
            is 1, since each network reads one character at its own place in the text. With the
            length of the texts, this is the network that an ensemble starts from.

    Returns:
        A model from `(N, H, W, 1)` float32 in 0..1 to logits `(N, length, classes)`.
    """
    _, length, classes = dimensions
    image = keras.Input(dimensions.input_shape, name="image")
    x = image
    for block, (filters, convolutions) in enumerate(((32, 2), (64, 2), (128, 2), (256, 1)), 1):
        for letter in "ab"[:convolutions]:
            x = _relu_convolution(filters, f"conv{block}{letter}")(x)
        x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        if block < 4:  # the document flattens before the last dropout
            x = layers.Dropout(0.3)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(length * classes, name="digit")(x)
    x = layers.Reshape((length, classes), name="logits")(x)
    return keras.Model(image, x, name="ensemble_digit")


def merge(networks: Sequence[keras.Model]) -> keras.Model:
    """Joins networks that read one character each into one model: document 001's ensemble.

    Args:
        networks: Models from the same input shape to logits `(N, 1, classes)`, in the order of the
            characters that they read.

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


def glyph(dimensions: Dimensions) -> keras.Model:
    """Document 002's network, which reads one digit picture at a time.

    The document names two convolutions with pooling and a dense layer of 128. The 32 and 64 filters
    of 3 x 3 are those of TensorFlow's CNN tutorial, its source.

    Args:
        dimensions: An input of `(H, W, 1)`, one glyph, 23 x 15 in the document; 10 classes there.

    Returns:
        A model from glyphs `(N, H, W, 1)` float32 in 0..1 to logits `(N, classes)`.
    """
    image = keras.Input(dimensions.input_shape, name="glyph")
    x = image
    for block, filters in enumerate((32, 64), 1):
        x = _relu_convolution(filters, f"conv{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu", name="features")(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(image, layers.Dense(dimensions.classes, name="logits")(x), name="glyph")


def steps(dimensions: Dimensions) -> keras.Model:
    """Document 003's network: two convolutions, then one time step for each character.

    The columns are divided evenly into one time step per character: 5 time steps of 7,680 values.

    Args:
        dimensions: An input of `(W, H, 1)`, width first, 200 x 50 in the document; 19 classes
            there. The length divides `W // 4`.

    Returns:
        A model from `(N, W, H, 1)` float32 in 0..1 to logits `(N, length, classes)`.

    Raises:
        ValueError: If the columns can't be divided evenly.
    """
    (width, height, _), length, classes = dimensions
    if width // 4 % length:
        raise ValueError(f"{width // 4} columns can't be divided evenly into {length} time steps")
    image, x = _two_convolutions(dimensions.input_shape)
    x = layers.Reshape((length, width // 4 // length * (height // 4) * 64))(x)
    x = layers.Dense(256, activation="relu", name="dense1")(x)
    x = layers.Dense(64, activation="relu", name="dense2")(x)
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="steps")


def crnn(dimensions: Dimensions) -> keras.Model:
    """Document 003's CTC network, which 004 builds on: convolutions, a dense layer, LSTMs.

    Args:
        dimensions: An input of `(W, H, 1)`, width first, 200 x 50 in the document; the classes
            include the blank.

    Returns:
        A model from `(N, W, H, 1)` float32 in 0..1 to logits `(N, W // 4, classes)`.
    """
    features = layers.Dense(64, activation="relu", name="features")
    logits = layers.Dense(dimensions.classes, name="logits")
    return _crnn(dimensions.input_shape, features, logits, "crnn")


def crnn_conv1d(dimensions: Dimensions) -> keras.Model:
    """Document 004's variant of `crnn`: 1 x 1 convolutions in place of the two dense layers.

    Both compute the same, as the document says. Argument and result are those of `crnn`.
    """
    features = layers.Conv1D(64, 1, activation="relu", name="features")
    logits = layers.Conv1D(dimensions.classes, 1, name="logits")
    return _crnn(dimensions.input_shape, features, logits, "crnn_conv1d")


def with_local_head(model: keras.Model) -> keras.Model:
    """Adds a second set of logits to train on, made of the layer `features` alone.

    A bidirectional LSTM may learn to remember the whole picture and to emit all characters at its
    first time steps. Then it fits the training pictures slowly and reads no others. The features
    see only some twenty columns. So a CTC loss on the features places each character where it
    stands in the picture, and the recurrent layers find it there. Source: J. Lee and S. Watanabe,
    "Intermediate Loss Regularization for CTC-based Speech Recognition" (ICASSP 2021).

    Args:
        model: A network with a layer `features`, `(N, T, units)`, and logits `(N, T, classes)`.

    Returns:
        A model of the same layers with two outputs, both `(N, T, classes)`: the logits, and the
        logits of the features.
    """
    features = model.get_layer("features").output
    local = layers.Dense(model.output_shape[-1], name="local")(features)
    return keras.Model(model.inputs, [model.output, local], name=f"{model.name}-in-training")


def compact(
    dimensions: Dimensions,
    *,
    rows: Sequence[tuple[int, int, int, int]],
    columns: Sequence[tuple[int, int, int]],
    residuals: Sequence[int] = (),
    context: bool = False,
    text_context: bool = False,
) -> keras.Model:
    """The project's own CTC network: convolutions down to one row, then along the row.

    Args:
        dimensions: An input of `(H, W, 1)`; the classes include the blank.
        rows: For each convolution over the picture: the number of filters, the side of the square
            kernel, and the strides down and across.
        columns: For each convolution along the row: the number of filters, the kernel's width and
            the dilation. The kernel of the first one covers all rows that are left.
        residuals: The numbers of those of `rows`, counted from 1, that a residual convolution of
            3 x 3 follows: its result is added to what it reads. Its normalisation starts with
            zeros: so it can join a network that is trained, and changes nothing at first.
        context: Whether the mean over the row is added to each place, through a dense layer. The
            convolutions see two or three characters. Whether a bar is 1, l or I, and what is ink
            and what is clutter, the whole picture says.
        text_context: Whether the mean over the last convolution's row is added in the same way.
            Whether a ring is 0 or o, and a bar 1 or l, the other characters say.

    Returns:
        A model from `(N, H, W, C)` float32 in 0..1 to logits `(N, T, classes)`.

    Raises:
        ValueError: If `residuals` names a convolution that `rows` doesn't have.
    """
    if not set(residuals) <= set(range(1, len(rows) + 1)):
        raise ValueError(f"residuals are numbers of rows, 1 to {len(rows)}, not {list(residuals)}")
    image = keras.Input(dimensions.input_shape, name="image")
    x = image
    for number, (filters, side, down, across) in enumerate(rows, 1):
        x = _normalised_convolution(x, filters, side, f"rows{number}", strides=(down, across))
        if number in residuals:
            x = _add_convolution(x, f"{RESIDUAL}{number}")
    (filters, width, dilation), *others = columns
    x = layers.ZeroPadding2D((0, width // 2 * dilation))(x)
    x = _normalised_convolution(
        x,
        filters,
        (x.shape[1], width),
        "columns1",
        padding="valid",
        dilation_rate=(1, dilation),
    )
    if context:
        x = _add_mean(x, "mean", "context")
    for number, (filters, width, dilation) in enumerate(others, 2):
        x = _normalised_convolution(
            x, filters, (1, width), f"columns{number}", dilation_rate=(1, dilation)
        )
    if text_context:
        x = _add_mean(x, "text_mean", "text_context")
    x = layers.Reshape(x.shape[2:], name="features")(x)
    # Scores need float32, also where the other layers compute in bfloat16.
    logits = layers.Dense(dimensions.classes, name="logits", dtype="float32")(x)
    return keras.Model(image, logits, name="compact")


def with_position_head(model: keras.Model, length: int) -> keras.Model:
    """Adds a second set of logits to train on, one for each character's place.

    CTC alone starts on a plateau, where the network reads only blanks; with few pictures it may
    stay there. A softmax for each place, over the whole layer `features`, learns from the first
    step on what the characters look like. Alone, this head would read worse than CTC, since it has
    to learn each character again at each place.

    Args:
        model: A network with a layer `features`, `(N, T, units)`, and logits `(N, T, classes)`.
        length: The number of places.

    Returns:
        A model of the same layers with two outputs: the logits, and the logits for each place,
        `(N, length, classes)`.
    """
    classes = model.output_shape[-1]
    x = layers.Flatten()(model.get_layer("features").output)
    x = layers.Dense(length * classes)(layers.Dropout(0.2)(x))
    places = layers.Reshape((length, classes), name="places")(x)
    return keras.Model(model.inputs, [model.output, places], name=f"{model.name}-in-training")


def _relu_convolution(filters: int, name: str, padding: str = "same") -> layers.Layer:
    return layers.Conv2D(filters, 3, padding=padding, activation="relu", name=name)


def _normalised_convolution(
    x: keras.KerasTensor, filters: int, kernel: int | tuple[int, int], name: str, **options: object
) -> keras.KerasTensor:
    """A convolution, a batch normalisation that the export folds into it, and ReLU."""
    options = {"padding": "same", **options}
    x = layers.Conv2D(filters, kernel, use_bias=False, name=name, **options)(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _add_convolution(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Adds a convolution of 3 x 3 to what it reads.

    The input is the result of a ReLU, and the normalisation starts with zeros: so the layers change
    nothing at first.
    """
    y = layers.Conv2D(x.shape[-1], 3, padding="same", use_bias=False, name=name)(x)
    y = layers.BatchNormalization(momentum=0.95, gamma_initializer="zeros", name=f"{name}_norm")(y)
    return layers.ReLU(name=f"{name}_relu")(x + y)


def _add_mean(x: keras.KerasTensor, mean: str, dense: str) -> keras.KerasTensor:
    """Adds the mean over all places to each place, through a dense layer.

    Its weights are zeros at first: without knowing the whole row, the places are as they are.
    """
    average = layers.GlobalAveragePooling2D(keepdims=True, name=mean)(x)
    return x + layers.Dense(x.shape[-1], kernel_initializer="zeros", name=dense)(average)


def _two_convolutions(input_shape: Shape) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The start that documents 003 and 004 share: the input, and `(N, W // 4, H // 4, 64)`."""
    image = keras.Input(input_shape, name="image")
    x = image
    for block, filters in enumerate((32, 64), 1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{block}",
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    return image, x


def _crnn(
    input_shape: Shape, features: layers.Layer, logits: layers.Layer, name: str
) -> keras.Model:
    width, height, _ = input_shape
    image, x = _two_convolutions(input_shape)
    x = layers.Reshape((width // 4, height // 4 * 64))(x)
    x = layers.Dropout(0.2)(features(x))
    for number, units in enumerate((128, 64), 1):
        lstm = layers.LSTM(units, return_sequences=True, dropout=0.25)
        x = layers.Bidirectional(lstm, name=f"lstm{number}")(x)
    return keras.Model(image, logits(x), name=name)


def _side_by_side(heads: Sequence[keras.KerasTensor], classes: int) -> keras.KerasTensor:
    """Joins heads `(N, classes)` into `(N, len(heads), classes)`."""
    rows = [layers.Reshape((1, classes))(head) for head in heads]
    return layers.Concatenate(axis=1, name="logits")(rows)


NETWORKS: Final[dict[str, Callable[..., keras.Model]]] = {
    "multihead": multihead,
    "ensemble": ensemble_digit,
    "glyph": glyph,
    "steps": steps,
    "crnn": crnn,
    "crnn-conv1d": crnn_conv1d,
    "compact": compact,
}
