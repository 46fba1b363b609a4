"""Writes the recurrent layers of Keras as ONNX nodes.

tf2onnx recognises an LSTM or a GRU by its loop, which it does of some only; the others stay loops,
and are three times slower. A layer tells all that a node needs, so it is written from the layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_GATES: Final = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}
"""The order of ONNX's gates in Keras's: input, output, forget, cell; update, reset, hidden."""

_ACTIVATIONS: Final = {
    "elu": "Elu",
    "linear": "Affine",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
    "hard_sigmoid": "HardSigmoid",
}

_MERGES: Final = {"sum": "ReduceSum", "mul": "ReduceProd", "ave": "ReduceMean"}
"""The operators that merge two directions, but for `concat`."""


class Stub(NamedTuple):
    """A recurrent layer that a trace left out.

    Attributes:
        layer: The Keras layer.
        taken: The tensor that it takes, `(N, T, F)`.
        shape: The shape of its output without the batch.
    """

    layer: Any
    taken: Any
    shape: tuple[int | None, ...]


@contextmanager
def left_out(keras: Any, give: Callable[[Stub, int], Any]) -> Iterator[list[Stub]]:  # noqa: ANN401
    """Makes recurrent layers give something else than their output when they are called.

    Args:
        keras: The package of the layers, `keras` or `tf_keras`.
        give: Makes what stands for the output, from the layer and its number.

    Yields:
        The layers that were called, in order.
    """
    stubs: list[Stub] = []
    classes = (keras.layers.Bidirectional, *(getattr(keras.layers, name) for name in _GATES))
    own = {one: one.__dict__.get("__call__") for one in classes}

    def call(layer: Any, taken: Any, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401
        if arguments or settings.get("initial_state") is not None or not _is_plain(layer):
            return _original(type(layer), own)(layer, taken, *arguments, **settings)
        stub = Stub(layer, taken, tuple(layer.compute_output_shape(taken.shape))[1:])
        stubs.append(stub)
        return give(stub, len(stubs) - 1)

    for one in classes:
        one.__call__ = call
    try:
        yield stubs
    finally:
        for one, before in own.items():
            if before is None:
                del one.__call__
            else:
                one.__call__ = before


def nodes(layer: Any, taken: str, given: str) -> list[onnx.NodeProto | onnx.TensorProto]:  # noqa: ANN401
    """Writes a recurrent layer as nodes and their weights, in order.

    Args:
        layer: An `LSTM`, `GRU` or `SimpleRNN`, or a `Bidirectional` around one.
        taken: The name of the tensor to take, `(N, T, F)`.
        given: The name of the tensor to give, `(N, T, U)`, or `(N, U)` of the last time step.
    """
    parts = _parts(layer)
    first = parts[0]
    kind = type(first).__name__
    stacked = [np.stack(arrays) for arrays in zip(*map(_weights, parts), strict=True)]
    names = [f"{given}/{part}" for part in ("W", "R", "B")]
    attributes: dict[str, Any] = {"hidden_size": first.units, **_activations(parts)}
    backwards = len(parts) == 1 and first.go_backwards
    if len(parts) == 2 or backwards:
        attributes["direction"] = "reverse" if backwards else "bidirectional"
    if kind == "GRU":
        attributes["linear_before_reset"] = int(first.reset_after)
    return [
        *(numpy_helper.from_array(a, name) for a, name in zip(stacked, names, strict=True)),
        helper.make_node("Transpose", [taken], [f"{given}/steps"], perm=[1, 0, 2]),
        helper.make_node(
            {"SimpleRNN": "RNN"}.get(kind, kind),
            [f"{given}/steps", *names],
            [f"{given}/aligned" if backwards else f"{given}/all", f"{given}/last"],
            **attributes,
        ),
        *(_turn_around(given) if backwards and first.return_sequences else []),
        *_merge(getattr(layer, "merge_mode", "concat"), first.return_sequences, given),
    ]


def _turn_around(given: str) -> list[onnx.NodeProto | onnx.TensorProto]:
    """Keras returns the last time step first if a layer goes backwards, ONNX doesn't."""
    numbers = {"start": -1, "end": np.iinfo(np.int64).min, "axis": 0, "step": -1}
    arrays = [
        numpy_helper.from_array(np.array([number], np.int64), f"{given}/{name}")
        for name, number in numbers.items()
    ]
    names = [array.name for array in arrays]
    return [*arrays, helper.make_node("Slice", [f"{given}/aligned", *names], [f"{given}/all"])]


def _merge(mode: str, sequences: bool, given: str) -> list[onnx.NodeProto | onnx.TensorProto]:
    """Brings ONNX's output `(T, D, N, U)` or `(D, N, U)` of D directions into Keras's axes."""
    source, perm = ("all", [2, 0, 1, 3]) if sequences else ("last", [1, 0, 2])
    turned = f"{given}/turned"
    turn = helper.make_node("Transpose", [f"{given}/{source}"], [turned], perm=perm)
    if mode == "concat":
        shape = np.array([0, 0, -1] if sequences else [0, -1], np.int64)
        flat = helper.make_node("Reshape", [turned, f"{given}/shape"], [given])
        return [turn, numpy_helper.from_array(shape, f"{given}/shape"), flat]
    axis = numpy_helper.from_array(np.array([len(perm) - 2], np.int64), f"{given}/axis")
    reduce = helper.make_node(_MERGES[mode], [turned, axis.name], [given], keepdims=0)
    return [turn, axis, reduce]


def _parts(layer: Any) -> list[Any]:  # noqa: ANN401
    """The layer itself, or the two layers of a `Bidirectional`."""
    backward = getattr(layer, "backward_layer", None)
    return [layer] if backward is None else [layer.forward_layer, backward]


def _is_plain(layer: Any) -> bool:  # noqa: ANN401
    """Whether `nodes` can write a layer; the others are left to tf2onnx."""
    parts = _parts(layer)
    settings = [part.get_config() for part in parts]
    same = ("units", "activation", "recurrent_activation", "return_sequences", "reset_after")
    return (
        all(type(part).__name__ in _GATES for part in parts)
        and len({type(part) for part in parts}) == 1
        and (len(parts) == 1 or [one["go_backwards"] for one in settings] == [False, True])
        and all(settings[0].get(name) == settings[-1].get(name) for name in same)
        and not any(one.get("return_state") or one.get("time_major") for one in settings)
        and all(one.get(name, "tanh") in _ACTIVATIONS for one in settings for name in same[1:3])
        and getattr(layer, "merge_mode", "concat") in ("concat", *_MERGES)
    )


def _original(kind: type, own: dict[type, Any]) -> Any:  # noqa: ANN401
    """The method `__call__` of a class before it was replaced."""
    for one in kind.__mro__:
        found = own[one] if one in own else one.__dict__.get("__call__")
        if found is not None:
            return found
    raise TypeError(f"{kind} can't be called")


def _weights(layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # noqa: ANN401
    """The weights of one direction, as ONNX orders them: `(G·U, F)`, `(G·U, U)`, `(2·G·U,)`."""
    gates = _GATES[type(layer).__name__]

    def ordered(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([np.split(array, len(gates), axis=-1)[gate] for gate in gates], -1)

    kernel, recurrent, *bias = (np.asarray(array, np.float32) for array in layer.get_weights())
    both = np.zeros((2, kernel.shape[-1]), np.float32)
    if bias:
        both[: bias[0].ndim] = bias[0]  # one row; a GRU with `reset_after` has two
    return ordered(kernel).T, ordered(recurrent).T, ordered(both).reshape(-1)


def _activations(parts: list[Any]) -> dict[str, Any]:
    """The attributes that name the activations; none for ONNX's own, sigmoid and tanh."""
    names, alphas, betas = [], [], []
    # The hard sigmoid of Keras 2 has the slope 0.2, that of Keras 3 one sixth.
    slope = 0.2 if type(parts[0]).__module__.startswith("tf_keras") else 1 / 6
    for part in parts:
        config = part.get_config()
        own = [config["activation"]] * (2 if type(part).__name__ == "LSTM" else 1)
        for name in [*[config[key] for key in ("recurrent_activation",) if key in config], *own]:
            names.append(_ACTIVATIONS[name])
            if name in ("hard_sigmoid", "linear", "elu"):
                alphas.append({"hard_sigmoid": slope}.get(name, 1.0))
            if name in ("hard_sigmoid", "linear"):
                betas.append({"hard_sigmoid": 0.5}.get(name, 0.0))
    if {*names} <= {"Sigmoid", "Tanh"} and not alphas:
        standard = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
        if names == standard.get(type(parts[0]).__name__, ["Tanh"]) * len(parts):
            return {}
    attributes: dict[str, Any] = {"activations": names}
    if alphas:
        attributes["activation_alpha"] = alphas
    if betas:
        attributes["activation_beta"] = betas
    return attributes
