"""How much a model computes for one picture."""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import onnx
from onnx import NodeProto, ValueInfoProto, helper, shape_inference

Shape = tuple[int, ...]


def multiply_adds(model: Path) -> int | None:
    """Multiply-adds of convolutions and matrix products for one example; None when a shape is not known.

    What is not counted, normalisation, activations, pooling, is a few per cent of a convolutional network.
    """
    graph = onnx.load(str(model))
    batch = set()
    for value in graph.graph.input:
        first = value.type.tensor_type.shape.dim[0]
        batch.add(first.dim_param)
        first.Clear()
        first.dim_value = 1
    inferred = shape_inference.infer_shapes(graph, data_prop=True).graph
    known = {one.name: _shape(one, batch - {""}) for one in (*inferred.input, *inferred.value_info, *inferred.output)}
    known |= {one.name: tuple(one.dims) for one in inferred.initializer}
    total = 0
    for node in inferred.node:
        count = _COUNTED.get(node.op_type)
        if count is None:
            continue
        shapes = [known.get(name) for name in (*node.input[:2], node.output[0])]
        if any(shape is None or 0 in shape for shape in shapes):
            return None
        total += count(node, *shapes)  # type: ignore[arg-type]
    return total


def _shape(value: ValueInfoProto, batch: Collection[str]) -> Shape:
    """A dimension that is not known is 0; `batch` are the names of that of the batch, which is 1."""
    return tuple(one.dim_value or int(one.dim_param in batch) for one in value.type.tensor_type.shape.dim)


def _convolution(node: NodeProto, x: Shape, weight: Shape, y: Shape) -> int:
    """Weights are [C_out, C_in / groups, *kernel]."""
    return math.prod(y) * math.prod(weight[1:])


def _transposed(node: NodeProto, x: Shape, weight: Shape, y: Shape) -> int:
    """Weights are [C_in, C_out / groups, *kernel]; each input value meets all of its channel's."""
    return math.prod(x) * math.prod(weight[1:])


def _product(node: NodeProto, a: Shape, b: Shape, y: Shape) -> int:
    return math.prod(y) * a[-1]


def _gemm(node: NodeProto, a: Shape, b: Shape, y: Shape) -> int:
    transposed = any(one.name == "transA" and helper.get_attribute_value(one) for one in node.attribute)
    return math.prod(y) * (a[0] if transposed else a[1])


_COUNTED: Mapping[str, Callable[[NodeProto, Shape, Shape, Shape], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _product,
}
