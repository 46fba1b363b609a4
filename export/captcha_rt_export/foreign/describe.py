"""Describes a model from elsewhere, without running code from its file or building the network.

`captcha-rt info` finds `describe_foreign` through the entry-point group `captcha_rt.descriptions`.
"""

import warnings
from pathlib import Path
from typing import Any

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.formats import Format, format_of, heads_of, is_foreign


def describe_foreign(path: Path) -> dict[str, Any] | None:
    """Describes a model file or folder of Keras, TensorFlow, TFLite or ONNX.

    Args:
        path: The file or folder.

    Returns:
        What `captcha-rt info` shows, in this order: format, inputs, outputs, and what is known of
        layers, code and what an export would cut off. None for a run's folder, and for nothing.

    Raises:
        ExportError: If it is no model, or is damaged.
    """
    if not is_foreign(path):
        return None
    format_ = format_of(path)
    match format_:
        case Format.KERAS | Format.H5:
            return _keras(path)
        case Format.SAVED_MODEL:
            return _saved_model(path)
        case Format.ONNX:
            return _onnx(path)
        case Format.TFLITE:
            return _tflite(path)
        case Format.HEADS:
            files = heads_of(path)
            return {
                "format": f"{len(files)} models, one for each position",
                **{file.name: describe_foreign(file) for file in files},
            }


def _keras(path: Path) -> dict[str, Any]:
    from captcha_rt_export.foreign.architecture import read_architecture

    architecture = read_architecture(path)
    suffix = ".h5" if format_of(path) is Format.H5 else ".keras"
    return {"format": f"Keras {architecture.version} ({suffix})", **_of(architecture)}


def _of(architecture: Any) -> dict[str, Any]:  # noqa: ANN401  (importing its type loads h5py)
    """What the description of a Keras model tells."""
    from captcha_rt_export.foreign.architecture import kind_of, objects
    from captcha_rt_export.foreign.cut import cut
    from captcha_rt_export.foreign.keras_config import changes

    kinds: dict[str, list[str]] = {"custom": [], "python": []}
    for layer in architecture.layers.values():
        if layer.kind in kinds:
            kinds[layer.kind].append(f"{layer.name} ({layer.class_name})")
    if not architecture.layers:
        classes = {e["class_name"] for e in objects(architecture.root) if kind_of(e) == "custom"}
        kinds["custom"] = sorted(classes)
    described: dict[str, Any] = {
        "inputs": {name: list(architecture.shape(name)) for name in architecture.inputs},
        "outputs": [tensor.layer for tensor in architecture.outputs],
        "layers": len(architecture.layers),
        "layers of its author's own code": kinds["custom"],
        "layers with Python code in the file": kinds["python"],
    }
    if architecture.loss:
        described["loss"] = architecture.loss
    if architecture.vocabularies:
        described["vocabulary"] = list(architecture.vocabularies[0])
    if not architecture.layers:
        return described
    try:
        found = cut(architecture)
    except ExportError as error:
        return {**described, "an export would ask": str(error)}
    lines = [*found.lines, *changes(architecture)]
    needs = [
        f"--custom FILE.py that defines {layer.class_name}"
        if layer.kind == "custom"
        else f"--trust, or --custom FILE.py with a function {layer.name}"
        for layer in architecture.layers.values()
        if layer.name in found.keep and layer.kind in kinds
    ]
    if needs:
        described["an export needs"] = list(dict.fromkeys(needs))
    return {
        **described,
        "picture": found.image,
        "scores": [tensor.layer for tensor in found.scores],
        "an export would cut off or change": lines,
        "decoder": found.decoder or "unknown",
    }


def _saved_model(path: Path) -> dict[str, Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    from captcha_rt_export.foreign.saved_model import read_metadata

    file = saved_model_pb2.SavedModel()
    try:
        file.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise ExportError(f"{path}/saved_model.pb is damaged: {error}") from error
    if not file.meta_graphs:
        raise ExportError(f"{path}/saved_model.pb is damaged: there is no graph in it")
    described: dict[str, Any] = {"format": "SavedModel"}
    for meta in file.meta_graphs:
        described["TensorFlow"] = meta.meta_info_def.tensorflow_version
        for name, signature in meta.signature_def.items():
            if not name.startswith("__"):
                described[f"signature {name}"] = {
                    "inputs": {key: _shape(value) for key, value in signature.inputs.items()},
                    "outputs": {key: _shape(value) for key, value in signature.outputs.items()},
                }
    architecture = read_metadata(path)
    if architecture is not None:
        described |= {"Keras": architecture.version, **_of(architecture)}
    return described


def _shape(value: Any) -> list[int | None]:  # noqa: ANN401  (a protobuf message)
    return [None if axis.size < 0 else axis.size for axis in value.tensor_shape.dim]


def _onnx(path: Path) -> dict[str, Any]:
    import onnx

    from captcha_rt_export.foreign.onnx import choose_outputs
    from captcha_rt_export.foreign.surgery import shape_of

    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ExportError(f"{path} is no ONNX model: {error}") from error

    def shapes(values: Any) -> dict[str, Any]:  # noqa: ANN401  (protobuf messages)
        return {value.name: list(shape_of(value)) for value in values}

    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    exporter = proto.producer_name or "an unknown exporter"
    described: dict[str, Any] = {
        "format": f"ONNX of {exporter} {proto.producer_version}".strip(),
        "opset": {one.domain or "ai.onnx": one.version for one in proto.opset_import},
        "inputs": shapes(inputs),
        "outputs": shapes(proto.graph.output),
        "operators": sorted({node.op_type for node in proto.graph.node}),
    }
    try:
        scores, lines = choose_outputs(proto, None)
    except ExportError as error:
        return {**described, "an export would ask": str(error)}
    return {**described, "scores": scores, "an export would cut off or change": lines}


def _tflite(path: Path) -> dict[str, Any]:
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # another package is to have the interpreter one day
            network = tf.lite.Interpreter(str(path), num_threads=1)
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path} can't be loaded: {error}") from error
    described: dict[str, Any] = {"format": Format.TFLITE.value}
    for name, tensors in (
        ("inputs", network.get_input_details()),
        ("outputs", network.get_output_details()),
    ):
        described[name] = {
            one["name"]: [*one["shape_signature"].tolist(), one["dtype"].__name__]
            for one in tensors
        }
    return described
