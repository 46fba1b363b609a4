"""Changes the description of a Keras model before Keras sees it.

The layers that don't read are left out, the batch is free, and everything computes in float32.
"""

import copy
from typing import Any, Final

from captcha_rt_export.foreign.architecture import Architecture, objects
from captcha_rt_export.foreign.cut import Cut

IN_FLOAT32: Final = "the model file computes in float32"

_OTHERS: Final = ("float16", "bfloat16", "float64")


def change_config(
    architecture: Architecture,
    cut: Cut | None,
    shape: tuple[int, ...] | None,
    custom: dict[str, Any],
) -> dict[str, Any]:
    """The description to load: what reads, in float32, with a free batch.

    Args:
        architecture: The model.
        cut: What to build; None builds all.
        shape: The sizes of the input's axes without the batch; None leaves them.
        custom: Functions that stand for Lambda layers of their names.
    """
    root = copy.deepcopy(architecture.root)
    if cut is not None:
        root = without_the_rest(root, cut)
        names = {tensor.layer for tensor in cut.scores}
        for entry in objects(root):
            # The softmax that follows takes the place of a sigmoid for each class.
            if name_of(entry) in names and entry["config"].get("activation") == "sigmoid":
                entry["config"]["activation"] = "linear"
    root.pop("compile_config", None)
    for entry in objects(root):
        config = entry["config"]
        if not isinstance(config, dict):
            continue
        if is_other_type(config.get("dtype")) or entry["class_name"] == "InputLayer":
            config["dtype"] = "float32"
        if config.get("time_major") is False:  # Keras 3 doesn't know the setting
            del config["time_major"]
        if config.get("stateful"):
            config["stateful"] = False
        for name in config:
            if name.endswith(("_regularizer", "_constraint")):  # only training needs them
                config[name] = None
        if entry["class_name"] in ("CuDNNLSTM", "CuDNNGRU"):
            entry["class_name"] = entry["class_name"].removeprefix("CuDNN")
            config |= {"recurrent_activation": "sigmoid", "reset_after": True}
        if entry["class_name"] == "Model" and "layers" in config:  # before Keras 2.4
            entry["class_name"] = "Functional"
        if entry["class_name"] == "BatchNormalization" and isinstance(config.get("axis"), list):
            [config["axis"]] = config["axis"]
        if entry["class_name"] == "Lambda" and name_of(entry) in custom:
            config |= _function(name_of(entry), architecture.keras)
        for key in ("batch_shape", "batch_input_shape"):
            if isinstance(config.get(key), list):
                config[key] = [None, *(shape or config[key][1:])]
    return root


def without_the_rest(root: dict[str, Any], cut: Cut) -> dict[str, Any]:
    """The description without the layers that aren't kept."""
    config = root["config"]
    keep = {*cut.keep}
    if root["class_name"] == "Sequential":
        layers = config if isinstance(config, list) else config["layers"]
        kept = [e for e in layers if (e["config"].get("name") or e["class_name"]) in keep]
        return {**root, "config": kept if isinstance(config, list) else {**config, "layers": kept}}
    kept = [layer for layer in config["layers"] if layer["name"] in keep]
    config = {
        **config,
        "layers": kept,
        "input_layers": [[cut.image, 0, 0]],
        # What is kept for its place alone is an output as well, since Keras would leave it out.
        "output_layers": [list(tensor) for tensor in (*cut.scores, *cut.beside)],
    }
    return {**root, "config": config}


def changes(architecture: Architecture) -> tuple[str, ...]:
    """What is loaded in another way than the file says, a line each."""
    lines = []
    types = {_dtype(entry["config"]) for entry in objects(architecture.root)}
    if others := sorted(name for name in types if is_other_type(name)):
        lines.append(f"numbers of {', '.join(others)}: {IN_FLOAT32}")
    lines += [
        f"the layer {mask}: the steps that it hides are read, too" for mask in _masks(architecture)
    ]
    return tuple(lines)


def advice(architecture: Architecture) -> str:
    """What helps where the network answers differently after `changes`; empty if nothing does."""
    masks = _masks(architecture)
    if not masks:
        return ""
    return (
        f"The layer {masks[0]} hides time steps of the pictures, and a model file reads all: in "
        "the notebook build the network without it, `new.set_weights(model.get_weights())`, and "
        '`new.save("model.keras")`'
    )


def _masks(architecture: Architecture) -> list[str]:
    layers = architecture.layers.values()
    return [layer.title for layer in layers if layer.class_name == "Masking"]


def name_of(entry: dict[str, Any]) -> str:
    """The name of a layer, or the class of an object that has none."""
    config = entry["config"]
    name = config.get("name") if isinstance(config, dict) else None
    return str(entry.get("name") or name or entry["class_name"])


def is_other_type(dtype: object) -> bool:
    """Whether a layer's setting `dtype` makes it compute in another type than float32."""
    name = dtype if isinstance(dtype, str) else _dtype({"dtype": dtype})
    return name in _OTHERS or name.startswith("mixed_")


def _dtype(config: object) -> str:
    dtype = config.get("dtype") if isinstance(config, dict) else None
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    return dtype if isinstance(dtype, str) else ""


def _function(name: str, keras: int) -> dict[str, Any]:
    """The settings of a `Lambda` that calls a function of the custom file."""
    if keras < 3:
        return {"function": name, "function_type": "function", "module": None}
    function = {"module": "builtins", "class_name": "function", "config": name}
    return {"function": {**function, "registered_name": "function"}}
