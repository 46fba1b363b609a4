"""Odd and broken models of Keras, by the command: the message says what to type, and that works.

`test_odd_models` does the same with the ONNX files of other exporters.
"""

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple
from unittest.mock import patch

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx
from keras import layers
from striped import Dress, build, write_stripes
from striped_keras import ORDER, STEPS, passing, reader, save
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from captcha_rt import Solver
from captcha_rt_export.foreign.custom import import_custom

Call = Callable[..., CompletedProcess[str]]

CODE = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2

def halve(x):
    return x * 0.5
"""

FILE = "my_layers.py"

TFLITE = "INFO: Created TensorFlow Lite XNNPACK"
"""What TFLite says of itself, once in a process."""


class Odd(NamedTuple):
    """What somebody has, and what comes of it.

    Attributes:
        make: Writes it into a folder; returns what the command is to export.
        message: A pattern for what the command says of it; empty where it is exported at once.
        typed: The options to type then; None types the pattern's first group.
        options: The options that were typed before.
        remade: Does what the message asks for in the notebook, or in the shell; takes the folder
            and the message. Returns what the command is to export instead.
    """

    make: Callable[[Path], Path]
    message: str = ""
    typed: list[str] | None = None
    options: tuple[str, ...] = ()
    remade: Callable[[Path, str], Path] | None = None


def saved(name: str, **settings: Any) -> Callable[[Path], Path]:
    """Saves the network that `reader` makes of settings that are made anew each time."""
    return lambda folder: save(reader(**{k: make() for k, make in settings.items()}), folder / name)


def plain(folder: Path, message: str = "") -> Path:
    """The network in the format that most messages ask for."""
    assert not message or 'model.save("model.keras")' in message
    return save(reader(), folder / "model.keras")


def own_layer(folder: Path) -> Path:
    (folder / FILE).write_text(CODE)
    twice = import_custom(folder / FILE, keras)["Twice"]
    return save(reader(between=lambda x: twice()(x) / 2), folder / "own.keras")


def pickled(folder: Path) -> Path:
    (folder / FILE).write_text(CODE)
    halve = layers.Lambda(lambda x: x * 0.5, name="halve")
    return save(reader(between=lambda x: halve(x) * 2), folder / "lambda.keras")


def of_type(policy: str, name: str) -> Callable[[Path], Path]:
    """Saves a network that computes in another type of numbers."""

    def make(folder: Path) -> Path:
        keras.config.set_dtype_policy(policy)
        try:
            return save(reader(), folder / name)
        finally:
            keras.config.set_dtype_policy("float32")

    return make


def two_inputs(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        model, extra = reader(), layers.Input((1,), name="extra")
        end = layers.Multiply()([model.output, layers.Reshape((1, 1))(extra)])
        return save(keras.Model([model.input, extra], end), folder / name)

    return make


def with_attention(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        model = reader()
        rows = layers.Flatten()(model.get_layer(STEPS).output)
        weights = layers.Dense(32, "softmax", name="attention")(rows)
        model = keras.Model(model.input, [model.output, weights])
        return save(model, folder / name) if name else write_tflite(folder, model)

    return make


def lambda_loss(folder: Path) -> Path:
    """The four inputs of Keras's old example, and a Lambda with the loss."""
    model = reader()
    others = [layers.Input((size,), name=f"input{size}") for size in (5, 1, 2)]

    def ctc_lambda_func(given: Any) -> Any:
        return keras.ops.sum(given[0], (1, 2)) + keras.ops.sum(given[1])

    loss = layers.Lambda(ctc_lambda_func, output_shape=(1,), name="ctc")([model.output, *others])
    return save(keras.Model([model.input, *others], loss), folder / "training.h5")


def dense_loss(folder: Path) -> Path:
    """A training network whose output is TensorFlow's loss of dense labels, exported by Keras 3."""

    class Loss(layers.Layer):  # type: ignore[misc]
        def call(self, labels: Any, scores: Any) -> Any:
            shape = tf.shape(scores)
            return tf.nn.ctc_loss(
                tf.cast(labels, tf.int32),
                tf.math.log(scores + 1e-7),
                tf.fill([shape[0]], tf.shape(labels)[1]),
                tf.fill([shape[0]], shape[1]),
                logits_time_major=False,
                blank_index=len(ORDER),
            )[:, None]

    model, labels = reader(), layers.Input((4,), name="label")
    loss = Loss(name="ctc")(labels, model.output)
    return save(keras.Model([model.input, labels], loss), folder / "training")


def looked_up(texts: str, name: str, order: str = ORDER, **settings: Any) -> Callable[[Path], Path]:
    """A network that answers texts, by a vocabulary without the blank, which is the last class."""

    def make(folder: Path) -> Path:
        settings_ = {"num_oov_indices": 0, **settings}
        lookup = layers.StringLookup(vocabulary=list(texts), invert=True, **settings_)
        model = reader(last=lambda x: lookup(keras.ops.argmax(x, -1)), order=order)
        return save(model, folder / name)

    return make


def masked(value: float, name: str) -> Callable[[Path], Path]:
    """A GRU after a layer that hides the time steps of one grey level."""
    return saved(
        name, between=lambda: lambda x: passing("GRU")(layers.Masking(value, name="masking")(x))
    )


def without_masking(folder: Path, message: str) -> Path:
    assert "`new.set_weights(model.get_weights())`, and `new.save" in message
    model = keras.models.load_model(folder / "masked.keras")
    new = reader(between=passing("GRU"))
    new.set_weights(model.get_weights())
    return save(new, folder / "new.keras")


def weights_alone(folder: Path) -> Path:
    reader().save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def with_weights(folder: Path, message: str) -> Path:
    assert '`model.load_weights(…)`, and save all of it: `model.save("model.keras")`' in message
    model = reader()
    model.load_weights(folder / "model.weights.h5")
    return save(model, folder / "model.keras")


def checkpoint(folder: Path) -> Path:
    tf.train.Checkpoint(model=reader()).write(str(folder / "training" / "ckpt"))
    return folder / "training" / "ckpt"


def frozen(folder: Path) -> Path:
    """A graph as TensorFlow 1 froze them."""
    call = tf.function(reader()).get_concrete_function(tf.TensorSpec((None, 8, 32, 1), name="x"))
    graph = convert_variables_to_constants_v2(call).graph.as_graph_def()
    (folder / "frozen.pb").write_bytes(graph.SerializeToString())
    return folder / "frozen.pb"


def converted(folder: Path, message: str) -> Path:
    """Runs the command of tf2onnx in a message in this process, with the names of the tensors."""
    [line] = re.findall(r"`python -m tf2onnx\.convert (.*?)`", message)
    named = line.replace("IMAGE:0", "x:0").replace("SCORES:0", "Identity:0")
    with patch.object(sys, "argv", ["tf2onnx", *shlex.split(named)]):
        tf2onnx.convert.main()
    return folder / "model.onnx"


def unpacked(folder: Path) -> Path:
    with zipfile.ZipFile(plain(folder)) as archive:
        archive.extractall(folder / "unpacked.keras")
    return folder / "unpacked.keras"


def zipped(what: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shutil.make_archive(
            str(folder / "sent"), "zip", save(reader(), folder / "in" / what).parent
        )
        return folder / "sent.zip"

    return make


def run_shown(folder: Path, message: str) -> Path:
    """Runs the command in a message, in the folder; returns what is to be named then."""
    [line] = re.findall(r"`python (.*?)`", message)
    subprocess.run([sys.executable, *shlex.split(line)], check=True, cwd=folder)
    return folder / re.findall(r"and name (\S+)$", message.strip())[0]


def without_data(folder: Path) -> Path:
    """An ONNX file whose weights stand in another file, which wasn't copied."""
    model = folder / "net.onnx"
    onnx.save(build(Dress()), model, save_as_external_data=True, location="data", size_threshold=0)
    (folder / "data").rename(folder / "left")
    return model


def with_data(folder: Path, message: str) -> Path:
    (folder / "left").rename(folder / re.findall(r"stored in \S*/(\S+),", message)[0])
    return folder / "net.onnx"


def in_8_bits(between: Callable[[Any], Any], *, whole: bool) -> Callable[[Path], Path]:
    """Writes a TFLite model: all in 8 bits, or the weights of large layers alone."""

    def make(folder: Path) -> Path:
        settings: dict[str, Any] = {"optimizations": [tf.lite.Optimize.DEFAULT]}
        if whole:
            rows = tf.random.uniform((8, 1, 8, 32, 1), seed=1)
            settings["representative_dataset"] = lambda: ([row] for row in rows)
        return write_tflite(folder, reader(between=between), **settings)

    return make


def write_tflite(folder: Path, model: Any, **settings: Any) -> Path:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder / "model.tflite"


def weighted(*weights: Any) -> Callable[[Any], Any]:
    """Dense layers of these weights one after the other."""

    def apply(x: Any) -> Any:
        for kernel in weights:
            start = keras.initializers.Constant(np.asarray(kernel, np.float32))
            x = layers.Dense(len(kernel[0]), "relu", kernel_initializer=start)(x)
        return x

    return apply


def lifted(x: Any) -> Any:
    """Gives what it takes; 8 bits for numbers up to 1,001 are too few for the levels."""
    return layers.Rescaling(1, -1000)(layers.ReLU()(layers.Rescaling(1, 1000)(x)))


SMALL = weighted([[1, *[0.02] * 63]], np.eye(64), [[0], *[[1 / (0.02 * 63)]] * 63])
"""Gives what it takes; TFLite rounds most numbers on the way to 2 or 3 parts of 127."""


def in_keras(between: Callable[[Any], Any]) -> Callable[[Path, str], Path]:
    def make(folder: Path, message: str) -> Path:
        assert '`model.save("model.keras")`' in message
        return save(reader(between=between), folder / "model.keras")

    return make


ODD: dict[str, Odd] = {
    "a layer of one's own": Odd(
        own_layer, r"'twice\w*' is a Twice, .*: --custom FILE.py", ["--custom", FILE]
    ),
    "a pickled Lambda": Odd(pickled, r"holds Python code, .* comes from: (--trust)\."),
    "a pickled Lambda, written out": Odd(
        pickled, r"`def halve\(x\): …` into a file and type --custom FILE.py", ["--custom", FILE]
    ),
    "mixed precision": Odd(of_type("mixed_float16", "model.keras")),
    "mixed precision, exported": Odd(of_type("mixed_float16", "model")),
    "bfloat16, exported": Odd(of_type("mixed_bfloat16", "model")),
    "float16": Odd(of_type("float16", "model.h5")),
    "float16, exported": Odd(of_type("float16", "model")),
    "float64": Odd(of_type("float64", "model.keras")),
    "bytes, scaled inside": Odd(
        saved("m.keras", first=lambda: layers.Rescaling(1 / 255), dtype=lambda: "uint8")
    ),
    "scaled twice": Odd(
        saved("m.keras", first=lambda: layers.Rescaling(1 / 255)),
        r"type (--recipe \S+stretch:0:255), or leave --recipe out",
        options=("--recipe", "grey,scale"),
    ),
    "a GRU": Odd(saved("model.keras", between=lambda: passing("GRU"))),
    "an LSTM, exported": Odd(saved("model", between=lambda: passing("LSTM"))),
    "masking that hides nothing": Odd(masked(-1, "masked.keras")),
    "masking": Odd(
        masked(0, "masked.keras"),
        r"The layer 'masking' \(Masking\) hides time steps",
        [],
        remade=without_masking,
    ),
    "masking, exported": Odd(
        masked(-1, "masked"),
        r"a masked or an unknown recurrent layer as a loop",
        [],
        remade=lambda folder, _: masked(-1, "masked.keras")(folder),
    ),
    "two inputs": Odd(
        two_inputs("m.keras"),
        r"takes 'extra' \(None, 1\), for .* \(--scores LAYER\).* last layers are .*, scores,",
        ["--scores", "scores"],
    ),
    "two inputs, exported": Odd(
        two_inputs("m"), r"on .*'extra'.*--scores LAYER; there are .*(scores_1)", ["--scores"]
    ),
    "no such layer": Odd(
        plain,
        r"no layer 'logits'; the last ones are .*(scores)",
        ["--scores"],
        options=("--scores", "logits"),
    ),
    "attention beside the scores": Odd(
        with_attention("model.keras"),
        r"different shapes, .* 7\), \(None, 32\).*--scores LAYER; .*, (scores), attention",
        ["--scores"],
    ),
    "attention beside the scores, TFLite": Odd(
        with_attention(""),
        r"different shapes, .* 7\), \(None, 32\).*--scores LAYER; .* are (\S+), \S+$",
        ["--scores"],
    ),
    "time steps first": Odd(
        saved("m.keras", last=lambda: lambda x: keras.ops.transpose(x, (1, 0, 2))),
        r"answers \(32, 3, 7\) to 3 pictures, .*--scores LAYER; .*, (scores), transpose",
        ["--scores"],
    ),
    "logarithms of probabilities": Odd(saved("model.keras", end=lambda: "log_softmax")),
    "a batch of 32": Odd(saved("model", batch_size=lambda: 32)),
    "a free width": Odd(
        saved("model.keras", shape=lambda: (8, None, 1)),
        r"--input-shape 8x\?x1$",
        ["--input-shape", "8x32x1"],
    ),
    "a loss in a Lambda": Odd(lambda_loss),
    "a loss of dense labels, exported": Odd(
        dense_loss,
        r"the scores depend on .*'label' .*--scores LAYER; there are .*(scores_1)",
        ["--scores"],
    ),
    "texts, exported": Odd(looked_up("3W7akz", "model")),
    "a vocabulary with [UNK] and a mask": Odd(
        looked_up("3W7akz", "m.keras", "??3W7akz", num_oov_indices=1, mask_token="")
    ),
    "a vocabulary of another order": Odd(
        looked_up("z37Wak", "model.keras"),
        r"with the vocabulary in the file, .*: type (--charset '3W7akz')$",
    ),
    "weights alone": Odd(
        weights_alone, r"^\S+ \S+ holds weights without the network", [], remade=with_weights
    ),
    "a checkpoint": Odd(
        checkpoint, r"is a checkpoint, weights without the network", [], remade=plain
    ),
    "a frozen graph": Odd(
        frozen, r"is a graph without a SavedModel around it", [], remade=converted
    ),
    "an unpacked file": Odd(unpacked, r"is a \.keras file that was unpacked", [], remade=run_shown),
    "a zipped file": Odd(zipped("model.h5"), r"is a zip file around a model", [], remade=run_shown),
    "a zipped SavedModel": Odd(
        zipped("model"), r"is a zip file around a model", [], remade=run_shown
    ),
    "an ONNX file without its data": Odd(
        without_data, r"keeps its weights in another file, put that beside it", [], remade=with_data
    ),
    "TFLite in 8 bits": Odd(
        in_8_bits(lifted, whole=True),
        r"no way to read .* Or its 8 bits are too few\. Export the Keras model",
        [],
        remade=in_keras(lifted),
    ),
    "TFLite that rounds in another way": Odd(
        in_8_bits(SMALL, whole=False),
        r"differs from the original by .* Export the Keras model",
        [],
        remade=in_keras(SMALL),
    ),
}


@pytest.fixture(scope="session")
def stripes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled pictures of stripes."""
    return write_stripes(tmp_path_factory.mktemp("striped") / "pictures")


@pytest.mark.parametrize("name", ODD)
def test_the_message_says_what_to_type(
    call: Call, tmp_path: Path, stripes_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One line on stderr, exit code 3 and no file; after what it says all pictures are read."""
    monkeypatch.chdir(tmp_path)
    odd, out = ODD[name], tmp_path / "out.onnx"
    model, typed = odd.make(tmp_path), odd.typed
    end = ["-o", out, "--pictures", stripes_folder]
    if odd.message:
        result = call("export", model, *end, *odd.options)
        assert result.returncode == 3, result.stdout
        lines = [one for one in result.stderr.splitlines() if not one.startswith(TFLITE)]
        assert len(lines) == 1
        found = re.search(odd.message, lines[0])
        assert found, result.stderr
        assert not out.exists()
        if odd.remade is not None:
            model = odd.remade(tmp_path, result.stderr)
        if typed is None or typed == ["--scores"]:
            typed = [*(typed or []), *shlex.split(found[1])]
    result = call("export", model, *end, *(typed or []))
    assert result.returncode == 0, result.stderr
    assert "same texts" in result.stdout
    solver = Solver(out, device="cpu")
    assert all(solver.solve(path).text == path.stem for path in stripes_folder.iterdir())
