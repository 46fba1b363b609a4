"""Networks as people write them in notebooks, in small: for tests of models from elsewhere.

Each function takes the package of Keras, `keras` or `tf_keras`, and returns a model that was
trained for a few steps, on pictures of random stripes; its weights are far from where they started.
"""

from types import ModuleType
from typing import Any

import numpy as np

CLASSES = 6  # five characters and the blank, or `[UNK]`
VOCABULARY = list("72bxy")


def train(keras: ModuleType, model: Any, inputs: Any, targets: Any, last: str) -> Any:
    """Trains for a few steps at a high rate.

    A few steps teach little but the blank. So the layer `last`, which ends in a softmax, is drawn
    anew, for classes that are equally likely: then texts differ from picture to picture.
    """
    model.optimizer.learning_rate.assign(0.01)
    model.jit_compile = False  # compiling would take longer than these steps
    model.run_eagerly = True  # and so would tracing
    model.fit(inputs, targets, batch_size=8, epochs=2, verbose=0)
    layer = model.get_layer(last)
    image = inputs[0] if isinstance(inputs, list) else inputs
    features = np.asarray(keras.Model(model.inputs[0], layer.input)(image, training=False))
    rows = features.reshape(-1, features.shape[-1])
    mean = rows.mean(0)
    _, values, vectors = np.linalg.svd(rows - mean, full_matrices=False)
    white = vectors.T / np.maximum(values, 0.3 * values.max())
    kernel, bias = layer.get_weights()
    drawn = white @ np.random.default_rng(5).normal(0, 1, (len(values), len(bias)))
    drawn *= 2 / (rows @ drawn).std()
    layer.set_weights([drawn.reshape(kernel.shape), -mean @ drawn])
    model.run_eagerly = False
    return model


def pictures(*shape: int, count: int = 16, seed: int = 0) -> np.ndarray:
    """Pictures of stripes, `(count, *shape)`, float32 in 0..1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, -(-shape[0] // 4), -(-shape[1] // 4), shape[2]))
    whole = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[0], : shape[1]]
    return whole.astype(np.float32)


def _labels(length: int, count: int = 16, classes: int = CLASSES - 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, (count, length))


def ctc_layer(keras: ModuleType) -> type:
    """The CTC layer of keras.io's captcha example: it adds the loss, and gives the scores."""
    import tensorflow as tf

    cost = ctc_cost(keras)

    class CTCLayer(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, name: str | None = None) -> None:
            super().__init__(name=name)

        def call(self, y_true: Any, y_pred: Any) -> Any:
            self.add_loss(tf.reduce_mean(cost(y_true, y_pred)))
            return y_pred

    return CTCLayer


def ctc_cost(keras: ModuleType) -> Any:
    """The CTC loss of softmax outputs, the blank last: Keras 2 has one, Keras 3 none."""
    import tensorflow as tf

    def loss(y_true: Any, y_pred: Any) -> Any:
        batch = tf.cast(tf.shape(y_true)[0], dtype="int64")
        lengths = [tf.cast(tf.shape(y)[1], dtype="int64") for y in (y_pred, y_true)]
        ones = tf.ones(shape=(batch, 1), dtype="int64")
        if hasattr(keras.backend, "ctc_batch_cost"):
            return keras.backend.ctc_batch_cost(
                y_true, y_pred, *(length * ones for length in lengths)
            )
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        places = tf.where(tf.ones_like(y_true, bool))
        sparse = tf.SparseTensor(places, labels, tf.shape(y_true, tf.int64))
        steps = tf.cast(tf.repeat(lengths[0], batch), tf.int32)
        logits = tf.math.log(tf.transpose(y_pred, [1, 0, 2]) + 1e-7)
        return tf.expand_dims(tf.compat.v1.nn.ctc_loss(sparse, logits, steps), 1)

    return loss


def _recurrent(keras: ModuleType, x: Any, kind: str = "LSTM") -> Any:
    layers = keras.layers
    for units in (8, 4):
        inner = getattr(layers, kind)(units, return_sequences=True, dropout=0.25)
        x = layers.Bidirectional(inner)(x)
    return x


def _columns(keras: ModuleType, image: Any) -> Any:
    """Convolutions, then a row of features for every four columns of a picture (32, 16, 1)."""
    layers = keras.layers
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="Conv1")(image)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)
    x = layers.Conv2D(8, 3, padding="same", name="Conv2")(x)
    x = layers.BatchNormalization(momentum=0.5)(x)
    x = layers.MaxPooling2D((2, 2), name="pool2")(layers.Activation("relu")(x))
    return layers.Reshape((8, 32), name="reshape")(x)


def keras_io(keras: ModuleType, kind: str = "LSTM") -> Any:
    """keras.io's captcha example: picture and label in, and a CTC layer at the end."""
    layers = keras.layers
    image = layers.Input((32, 16, 1), name="image", dtype="float32")
    labels = layers.Input(name="label", shape=(None,), dtype="float32")
    x = layers.Dense(16, activation="relu", name="dense1")(_columns(keras, image))
    x = _recurrent(keras, layers.Dropout(0.2)(x), kind)
    x = layers.Dense(CLASSES, activation="softmax", name="dense2")(x)
    output = ctc_layer(keras)(name="ctc_loss")(labels, x)
    model = keras.models.Model(inputs=[image, labels], outputs=output, name="ocr_model_v1")
    model.compile(optimizer=keras.optimizers.Adam())
    return train(
        keras, model, [pictures(32, 16, 1), _labels(2).astype(np.float32)], np.zeros(16), "dense2"
    )


def document_000(keras: ModuleType) -> Any:
    """Four heads of one network, each with a softmax; the pictures have three channels."""
    layers = keras.layers
    image = layers.Input((24, 40, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D((2, 2))(layers.Conv2D(8, 3, activation="relu")(x))
    x = layers.Dropout(0.3)(layers.Flatten()(layers.BatchNormalization(axis=1)(x)))
    heads = [layers.Dense(5, name=f"digit{i}", activation="softmax")(x) for i in (1, 2, 3, 4)]
    model = keras.models.Model(image, heads)
    metrics = [["accuracy"]] * 4
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=metrics)
    targets = [np.eye(5)[column] for column in _labels(4).T]
    return train(keras, model, pictures(24, 40, 3), targets, "digit3")


def document_001(keras: ModuleType, digit: int) -> Any:
    """One network for each of several digits."""
    layers = keras.layers
    image = layers.Input((20, 40, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D((2, 2))(layers.BatchNormalization()(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(5, name=f"digit{digit}", activation="softmax")(x)
    model = keras.models.Model(inputs=image, outputs=x)
    model.compile(loss="categorical_crossentropy", optimizer="Adam", metrics=["accuracy"])
    return train(
        keras, model, pictures(20, 40, 1), np.eye(5)[_labels(digit)[:, -1]], f"digit{digit}"
    )


def document_003(keras: ModuleType) -> Any:
    """Time steps without recurrence: one softmax for each character, cross-entropy."""
    layers = keras.layers
    image = layers.Input(shape=(40, 16, 1), name="image", dtype="float32")
    x = layers.Conv2D(8, (3, 3), activation="relu", padding="same", name="Convl")(image)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)
    x = layers.MaxPooling2D((2, 2), name="pool2")(x)
    x = layers.Reshape(target_shape=(5, 64), name="reshape")(x)
    x = layers.Dense(16, activation="relu", name="fc1")(x)
    x = layers.Dense(5, activation="softmax", name="fc3")(x)
    model = keras.models.Model(inputs=image, outputs=x, name="meowheackerCNNmodel")
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss, metrics=["accuracy"])
    return train(keras, model, pictures(40, 16, 1), _labels(5)[..., None], "fc3")


def document_004(keras: ModuleType, *, recurrent: bool = True) -> Any:
    """Convolutions in place of dense layers, and the CTC loss as the compiled loss."""
    layers, cost = keras.layers, ctc_cost(keras)

    def CTC_loss(y_true: Any, y_pred: Any) -> Any:  # noqa: N802  (the document's name)
        return cost(y_true, y_pred)

    image = layers.Input(shape=(32, 16, 1), name="image", dtype="float32")
    x = layers.Conv1D(16, 1, activation="relu", name="Conv1D_1")(_columns(keras, image))
    x = layers.Dropout(0.2, name="Dropout")(x)
    x = _recurrent(keras, x) if recurrent else x
    x = layers.Conv1D(CLASSES + 1, 1, activation="softmax", name="Conv1D_2")(x)
    model = keras.models.Model(inputs=image, outputs=x, name="ocr_model_v1")
    model.compile(optimizer=keras.optimizers.Adam(), loss=CTC_loss)
    return train(keras, model, pictures(32, 16, 1), _labels(2), "Conv1D_2")


def document_004_texts(keras: ModuleType) -> Any:
    """The document's model for prediction: its own decoding layer, then texts. Keras 2 only.

    It lacks the recurrent layers, which Keras 2 takes 13 s to write into a SavedModel.
    """
    import tensorflow as tf

    letters = keras.layers.StringLookup(vocabulary=VOCABULARY, mask_token=None)
    to_text = keras.layers.StringLookup(
        vocabulary=letters.get_vocabulary(), mask_token=None, invert=True
    )

    class CTCDecodeLayer(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.decoder = keras.backend.ctc_decode

        def __call__(self, y_pred: Any) -> Any:
            shape = tf.shape(y_pred)
            lengths = tf.ones(shape[0]) * tf.cast(shape[1], dtype=tf.float32)
            results = self.decoder(y_pred, input_length=lengths, greedy=True)[0][0][:, :5]
            return tf.strings.reduce_join(to_text(results), axis=1)

    image = keras.layers.Input(shape=(32, 16, 1), name="Image")
    decoded = CTCDecodeLayer(name="CTC_Decode")(
        document_004(keras, recurrent=False)(image, training=False)
    )
    return keras.Model(inputs=image, outputs=decoded)


def image_ocr(keras: ModuleType) -> Any:
    """Keras's old example: GRUs that are added and joined, and a Lambda with the CTC loss."""
    layers = keras.layers
    image = layers.Input(name="the_input", shape=(32, 16, 1), dtype="float32")
    x = layers.Dense(8, activation="relu", name="dense1")(_columns(keras, image))
    one = layers.GRU(6, return_sequences=True, kernel_initializer="he_normal", name="gru1")(x)
    two = layers.GRU(6, return_sequences=True, go_backwards=True, name="gru1_b")(x)
    x = layers.concatenate([layers.add([one, two]), one])
    y_pred = layers.Activation("softmax", name="softmax")(layers.Dense(CLASSES, name="dense2")(x))
    return _with_lambda_loss(keras, image, y_pred, "dense2")


def captcha_break(keras: ModuleType) -> Any:
    """A popular notebook: blocks of convolutions, two GRUs in both directions, a Lambda."""
    layers = keras.layers
    image = layers.Input((16, 32, 1))
    x = image
    for filters, pool in ((4, 2), (8, 2), (8, (2, 1))):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_uniform")(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.5)(x))
        x = layers.MaxPooling2D(pool)(x)
    x = layers.TimeDistributed(layers.Flatten())(layers.Permute((2, 1, 3))(x))
    for _ in range(2):
        x = layers.Bidirectional(layers.GRU(8, return_sequences=True))(x)
    x = layers.Dense(CLASSES, activation="softmax", name="scores")(x)
    return _with_lambda_loss(keras, image, x, "scores", np.swapaxes(pictures(32, 16, 1), 1, 2))


def five_heads(keras: ModuleType) -> Any:
    """A popular notebook: a dense layer and a sigmoid for each of five characters."""
    layers = keras.layers
    image = layers.Input(shape=(16, 40, 1))
    x = image
    for filters in (4, 8, 8):
        x = layers.Conv2D(filters, (3, 3), padding="same", activation="relu")(x)
        x = layers.BatchNormalization(momentum=0.5)(x) if filters == 8 else x
        x = layers.MaxPooling2D(padding="same")(x)
    flat = layers.Flatten()(x)
    heads = []
    for _ in range(5):
        dense = layers.Dropout(0.5)(layers.Dense(16, activation="relu")(flat))
        heads.append(layers.Dense(5, activation="sigmoid", name=f"char_{len(heads) + 1}")(dense))
    model = keras.Model(image, heads)
    model.compile("adam", "categorical_crossentropy", metrics=[["accuracy"]] * 5)
    targets = [np.eye(5)[column] for column in _labels(5).T]
    return train(keras, model, pictures(16, 40, 1), targets, "char_3")


def _with_lambda_loss(
    keras: ModuleType, image: Any, scores: Any, last: str, rows: np.ndarray | None = None
) -> Any:
    """A training model with a Lambda that computes the CTC loss, and four inputs for it."""
    layers, cost = keras.layers, ctc_cost(keras)

    def ctc_lambda_func(args: Any) -> Any:
        y_pred, labels, _, _ = args
        return cost(labels, y_pred)

    labels = layers.Input(name="the_labels", shape=[2], dtype="float32")
    input_length = layers.Input(name="input_length", shape=[1], dtype="int64")
    label_length = layers.Input(name="label_length", shape=[1], dtype="int64")
    loss = layers.Lambda(ctc_lambda_func, output_shape=(1,), name="ctc")(
        [scores, labels, input_length, label_length]
    )
    model = keras.models.Model([image, labels, input_length, label_length], loss)
    model.compile(loss={"ctc": lambda _, y_pred: y_pred}, optimizer="adam")
    ones = np.ones((16, 1))
    rows = pictures(32, 16, 1) if rows is None else rows
    inputs = [rows, _labels(2).astype(np.float32), 8 * ones, 2 * ones]
    return train(keras, model, inputs, np.zeros(16), last)


def metu(keras: ModuleType) -> Any:
    """One digit a picture: a `Sequential` of convolutions, as METU's reader holds it."""
    layers = keras.layers
    model = keras.models.Sequential(
        [
            layers.Conv2D(8, 3, activation="relu", input_shape=(28, 28, 1)),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return train(keras, model, pictures(28, 28, 1), np.arange(16) % 10, "digit")
