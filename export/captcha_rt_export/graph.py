"""A graph with its tensors by name, to be rewritten."""

from functools import cached_property
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

AFFINE: Final = frozenset({"Mul", "Add"})
"""The pointwise operators with a constant."""


class Graph:
    """A graph with its tensors by name.

    Attributes:
        proto: The model.
        nodes: The graph's nodes, which may be changed, removed and inserted.
        makers: The node that makes a tensor.
        constants: The graph's constants.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        """Reads a model's graph, which later changes go to.

        Args:
            proto: A model whose nodes stand in order.
        """
        self.proto = proto
        self.nodes = proto.graph.node
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._outputs = {output.name for output in proto.graph.output}

    @cached_property
    def shapes(self) -> dict[str, list[int | None]]:
        """The shapes that are known; an unknown axis is None."""
        inferred = onnx.shape_inference.infer_shapes(self.proto).graph
        return {
            value.name: [
                axis.dim_value if axis.HasField("dim_value") else None
                for axis in value.type.tensor_type.shape.dim
            ]
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }

    def users(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that take a tensor."""
        return [node for node in self.nodes if name in node.input]

    def only_user(self, name: str) -> onnx.NodeProto | None:
        """The one node that takes a tensor; None if there are more, or the graph returns it."""
        users = self.users(name)
        return users[0] if len(users) == 1 and name not in self._outputs else None

    def chain(self, node: onnx.NodeProto, *operators: str) -> list[onnx.NodeProto] | None:
        """A node's followers, each the only user of the one before; None if they are others."""
        found: list[onnx.NodeProto] = []
        for operator in operators:
            follower = self.only_user((found[-1] if found else node).output[0])
            if follower is None or follower.op_type != operator:
                return None
            found.append(follower)
        return found

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """A constant's values; None if the tensor is none."""
        tensor = self.constants.get(name)
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))

    def factor(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """The constant of a sum or product; None if there is none, or it comes first."""
        return self.constant(node.input[1]) if node.op_type in AFFINE else None

    def add_constant(self, like: str, values: NDArray[np.generic]) -> str:
        """Adds a constant under a new name; returns the name."""
        number = 1
        while f"{like}_{number}" in self.constants or f"{like}_{number}" in self.makers:
            number += 1
        tensor = numpy_helper.from_array(np.ascontiguousarray(values), f"{like}_{number}")
        self.constants[tensor.name] = tensor
        self.proto.graph.initializer.append(tensor)
        return tensor.name

    def insert(self, before: onnx.NodeProto, *nodes: onnx.NodeProto) -> None:
        """Inserts nodes before another."""
        at = next(i for i, node in enumerate(self.nodes) if node is before)
        for node in reversed(nodes):
            self.nodes.insert(at, node)

    def bypass(self, node: onnx.NodeProto) -> None:
        """Removes a node: its users take its first input."""
        for user in self.users(node.output[0]):
            for i, name in enumerate(user.input):
                if name == node.output[0]:
                    user.input[i] = node.input[0]
        self.nodes.remove(node)

    def swap(self, first: onnx.NodeProto, second: onnx.NodeProto) -> None:
        """Swaps two nodes, of which the second is the only user of the first."""
        source, between, result = first.input[0], first.output[0], second.output[0]
        moved = onnx.NodeProto()
        moved.CopyFrom(first)
        second.input[0], second.output[0] = source, f"{between}_swapped"
        moved.input[0], moved.output[0] = second.output[0], result
        at = next(i for i, node in enumerate(self.nodes) if node is second)
        self.nodes.insert(at + 1, moved)
        self.nodes.remove(first)

    def tidy(self) -> None:
        """Removes the nodes and constants that nothing uses."""
        used = set(self._outputs)
        for node in reversed(list(self.nodes)):
            if used.isdisjoint(node.output):
                self.nodes.remove(node)
            else:
                used.update(node.input)
        initializers = self.proto.graph.initializer
        for tensor in [tensor for tensor in initializers if tensor.name not in used]:
            initializers.remove(tensor)


def ints(node: onnx.NodeProto, name: str) -> list[int]:
    """The whole numbers of an attribute; none if the node has no such attribute."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints) or [attribute.i]
    return []
