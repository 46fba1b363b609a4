"""Recognises recurrent layers in a flat graph of TensorFlow, where they are loops.

What Keras 3 exports, and some layers of Keras 2, stay loops of single operations in tf2onnx. A loop
tells which weights it multiplies with what; the layer that this suggests is built and run beside
the loop on random numbers, and takes its place only if both answer the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray

from captcha_rt_export.foreign.recurrent import Stub
from captcha_rt_export.foreign.tracing import open_graph, to_onnx, write_in

_KINDS: Final = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}
"""The layers by the number of their gates."""

_ACTIVATIONS: Final = ("tanh", "relu", "elu", "softplus", "softsign")
_MERGES: Final = {"ConcatV2": "concat", "AddV2": "sum", "Add": "sum", "Mul": "mul"}
_SAME: Final = 1e-4
_ROWS: Final = 3


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop that is a recurrent layer.

    Attributes:
        layer: The Keras layer, with the loop's weights.
        taken: The name of the node whose output it takes, `(N, T, F)`.
        end: The name of the node that gives what the layer gives, `(N, T, U)` or `(N, U)`.
    """

    layer: Any
    taken: str
    end: str


@dataclass(slots=True)
class _Flat:
    """A flat graph, with its nodes by name.

    Attributes:
        graph: The graph.
        nodes: Its nodes.
        users: The nodes that take something of a node.
        functions: The bodies of its loops.
        run: Runs it, as `open_graph` says.
    """

    graph: Any
    nodes: dict[str, Any] = field(init=False)
    users: dict[str, list[Any]] = field(init=False)
    functions: dict[str, Any] = field(init=False)
    run: Callable[..., list[NDArray[np.float32]]] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.graph.node}
        self.users = defaultdict(list)
        for node in self.graph.node:
            for tensor in node.input:
                self.users[_name(tensor)].append(node)
        self.run = open_graph(self.graph)
        self.functions = {one.signature.name: one for one in self.graph.library.function}

    def source(self, tensor: str) -> Any:  # noqa: ANN401
        """The node that makes a tensor, before those that hand it on."""
        node = self.nodes[_name(tensor)]
        while node.op == "Identity":
            node = self.nodes[_name(node.input[0])]
        return node

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """The values of a constant; None if the tensor is none."""
        node = self.source(tensor)
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def only_user(self, node: Any, *operations: str) -> Any | None:  # noqa: ANN401
        """The one node that takes what a node gives, if it is one of these operations."""
        users = self.users[node.name]
        return users[0] if len(users) == 1 and users[0].op in operations else None

    def has(self, node: Any, position: int, values: list[int]) -> bool:  # noqa: ANN401
        """Whether an input of a node is this constant."""
        found = self.constant(node.input[position])
        return found is not None and found.ravel().tolist() == values


def without_loops(graph: Any, image: str, scores: Sequence[str]) -> onnx.ModelProto | None:  # noqa: ANN401
    """Converts a graph, with one node for each recurrent layer in place of its loop.

    Args:
        graph: A flat graph without variables.
        image: The tensor of the picture.
        scores: The tensors of the scores.

    Returns:
        The graph as ONNX, with the scores as outputs; None if there is no loop, or one is no layer
        that is known.

    Raises:
        ExportError: If tf2onnx can't convert an operation.
    """
    whiles = [node for node in graph.node if node.op in ("While", "StatelessWhile")]
    if not whiles:
        return None
    flat = _Flat(graph)
    loops = []
    for node in whiles:
        found = next((loop for loop in _layers(flat, node) if _agrees(flat, image, loop)), None)
        if found is None:
            return None
        loops.append(found)
    loops = _in_both_directions(flat, loops)
    ends = flat.run({image: _noise(graph, image)}, [f"{loop.end}:0" for loop in loops])
    shapes = [(None, *end.shape[1:]) for end in ends]
    opened = _opened(graph, dict(zip([loop.end for loop in loops], shapes, strict=True)))
    given = [f"{loop.end}:0" for loop in loops]
    taken = [f"{loop.taken}:0" for loop in loops]
    proto = to_onnx(opened, [image, *given], [*taken, *scores])
    stubs = [
        Stub(loop.layer, loop.taken, shape[1:]) for loop, shape in zip(loops, shapes, strict=True)
    ]
    return write_in(proto, stubs, given)


def _layers(flat: _Flat, loop: Any) -> Iterator[_Loop]:  # noqa: ANN401
    """The layers that a loop may be; there are several where it has no bias."""
    body = flat.functions[loop.attr["body"].func.name]
    nodes = {node.name: node for node in body.node_def}
    arguments = {argument.name: i for i, argument in enumerate(body.signature.input_arg)}
    every = [node.op for node in body.node_def]
    if every.count("TensorListGetItem") != 1 or every.count("TensorListSetItem") != 1:
        return
    [step] = [node for node in body.node_def if node.op == "TensorListGetItem"]
    ends = _ends(flat, loop, _origin(nodes, step.input[0]), arguments)
    if ends is None:
        return
    taken, end, backwards, sequences = ends
    kernels: set[str] = set()
    recurrent: set[str] = set()
    for node in body.node_def:
        if node.op == "MatMul":
            weight = _origin(nodes, node.input[1])
            of_step = _origin(nodes, node.input[0]) == step.name
            (kernels if of_step else recurrent).add(weight)
    numbers = {
        name: values
        for name, position in arguments.items()
        if (values := flat.constant(loop.input[position])) is not None
        and values.dtype == np.float32
        and values.ndim
    }
    if len(kernels) != 1 or len(recurrent) != 1 or not {*kernels, *recurrent} <= numbers.keys():
        return
    kernel, inner = numbers.pop(kernels.pop()), numbers.pop(recurrent.pop())
    kind = _KINDS.get(inner.shape[1] // inner.shape[0])
    biases = [v for v in numbers.values() if v.shape in ((inner.shape[1],), (2, inner.shape[1]))]
    if kind is None or len(biases) > 1:
        return
    settings = {"go_backwards": backwards, "return_sequences": sequences, **_activations(every)}
    for resets in (True, False) if kind == "GRU" and not biases else (None,):
        layer = _layer(kind, [kernel, inner, *biases], resets, settings)
        yield _Loop(layer, taken, end)


def _layer(
    kind: str, weights: list[NDArray[np.float32]], resets: bool | None, settings: dict[str, Any]
) -> Any:  # noqa: ANN401
    """Builds a Keras layer of these weights."""
    kernel, inner, *biases = weights
    settings = {**settings, "use_bias": bool(biases)}
    if kind == "GRU":
        settings["reset_after"] = biases[0].ndim == 2 if resets is None else resets
    if kind == "SimpleRNN":
        del settings["recurrent_activation"]
    layer = getattr(keras.layers, kind)(inner.shape[0], **settings)
    layer.build((None, None, kernel.shape[0]))
    layer.set_weights(weights)
    return layer


def _activations(operations: list[str]) -> dict[str, Any]:
    """The activations that a loop's operations suggest."""
    made = {operation.lower() for operation in operations}
    return {
        "activation": next((name for name in _ACTIVATIONS if name in made), "linear"),
        "recurrent_activation": "sigmoid" if "sigmoid" in made else "hard_sigmoid",
    }


def _ends(
    flat: _Flat,
    loop: Any,  # noqa: ANN401
    steps: str,
    arguments: dict[str, int],
) -> tuple[str, str, bool, bool] | None:
    """Where a layer begins and ends, whether it goes backwards, and gives all time steps."""
    if steps not in arguments:
        return None
    source = flat.source(loop.input[arguments[steps]])
    if source.op != "TensorListFromTensor":
        return None
    source = flat.source(source.input[0])
    backwards = source.op == "ReverseV2" and flat.has(source, 1, [0])
    if backwards:
        source = flat.source(source.input[0])
    if source.op != "Transpose" or not flat.has(source, 1, [1, 0, 2]):
        return None
    stack = flat.only_user(loop, "TensorListStack")  # nobody takes the state
    end = None if stack is None else flat.only_user(stack, "Transpose", "StridedSlice")
    if end is None:
        return None
    return _name(source.input[0]), end.name, backwards, end.op == "Transpose"


def _origin(nodes: dict[str, Any], tensor: str) -> str:
    """The node or the argument of a loop's body that a tensor, or a part of it, is from."""
    while (node := nodes.get(_name(tensor))) is not None:
        if node.op in ("Identity", "StridedSlice"):
            tensor = node.input[0]
        elif node.op == "Split":
            tensor = node.input[1]
        else:
            break
    return _name(tensor)


def _agrees(flat: _Flat, image: str, loop: _Loop) -> bool:
    """Whether a layer answers as the loop does, on random numbers."""
    rows = _noise(flat.graph, image)
    [taken] = flat.run({image: rows}, [f"{loop.taken}:0"])
    steps = np.random.default_rng(1).normal(size=taken.shape).astype(np.float32)
    fed = {image: rows, f"{loop.taken}:0": steps}
    [expected] = flat.run(fed, [f"{loop.end}:0"])
    found = np.asarray(loop.layer(steps))
    slack = _SAME * max(1.0, float(np.abs(expected).max()))  # without a tanh, numbers grow
    return found.shape == expected.shape and bool(np.allclose(found, expected, atol=slack))


def _in_both_directions(flat: _Flat, loops: list[_Loop]) -> list[_Loop]:
    """Makes one of two layers that go over the same steps in both directions, and are merged."""
    left = list(loops)
    merged = []
    for forward in loops:
        for backward in loops:
            both = _merged(flat, forward, backward)
            if both is not None and forward in left and backward in left:
                left = [loop for loop in left if loop not in (forward, backward)]
                merged.append(both)
    return [*left, *merged]


def _merged(flat: _Flat, forward: _Loop, backward: _Loop) -> _Loop | None:
    """The layer in both directions of two layers; None if they aren't merged."""
    one, other = forward.layer.get_config(), backward.layer.get_config()
    if (
        forward.taken != backward.taken
        or type(forward.layer) is not type(backward.layer)
        or one["go_backwards"]
        or not other["go_backwards"]
        or {**one, "go_backwards": True, "name": ""} != {**other, "name": ""}
    ):
        return None
    end: Any = flat.nodes[backward.end]
    if one["return_sequences"]:  # it gives the last step first
        end = flat.only_user(end, "ReverseV2")
        if end is None or not flat.has(end, 1, [1]):
            return None
    merge = flat.only_user(end, *_MERGES)
    if merge is None or [_name(name) for name in merge.input[:2]] != [forward.end, end.name]:
        return None
    last = 2 if one["return_sequences"] else 1
    if merge.op == "ConcatV2" and not (flat.has(merge, 2, [last]) or flat.has(merge, 2, [-1])):
        return None
    if flat.only_user(flat.nodes[forward.end], merge.op) is None:
        return None
    layer = keras.layers.Bidirectional(forward.layer, merge_mode=_MERGES[merge.op])
    layer.build((None, None, forward.layer.get_weights()[0].shape[0]))
    layer.set_weights([*forward.layer.get_weights(), *backward.layer.get_weights()])
    return replace(forward, layer=layer, end=merge.name)


def _noise(graph: Any, image: str) -> NDArray[np.float32]:  # noqa: ANN401
    """Pictures of noise."""
    [node] = [node for node in graph.node if node.name == _name(image)]
    sizes = [axis.size for axis in node.attr["shape"].shape.dim][1:]
    return np.random.default_rng(0).normal(size=(_ROWS, *sizes)).astype(np.float32)


def _opened(graph: Any, shapes: dict[str, tuple[int | None, ...]]) -> Any:  # noqa: ANN401
    """The graph with an input in place of each of these nodes."""
    opened = tf.compat.v1.GraphDef()
    opened.CopyFrom(graph)
    for node in opened.node:
        if node.name in shapes:
            kept = node.name
            node.Clear()
            node.name, node.op = kept, "Placeholder"
            node.attr["dtype"].type = tf.float32.as_datatype_enum
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(shapes[kept]).as_proto())
    return opened


def _name(tensor: str) -> str:
    """The node that a tensor is of."""
    return tensor.removeprefix("^").partition(":")[0]
