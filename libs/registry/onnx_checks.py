"""Whether an ONNX graph from outside is safe to load, complete in itself and an image classifier."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from libs.data.recipe import Recipe
from libs.registry.errors import ImportRefused
from libs.serving.bundle import TensorSpec

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators ONNX Runtime brings itself; any other domain needs a library of the graph's author."""
MAX_NODES = 200_000
_DEEPEST_CALLS = 50


def read_graph(file: Path) -> onnx.ModelProto:
    """Read and check a graph.

    Raises:
        ImportRefused: it is no valid ONNX model, keeps data outside itself, needs custom operators, has loops, or
            is too large.
    """
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's own class, which has no typed home
        raise ImportRefused(f"The file is no ONNX model: {error}.") from error
    _refuse_foreign_parts(model)
    _refuse_repetition(model)
    _Expansion(model).check()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ImportRefused(f"The ONNX graph is invalid: {str(error).splitlines()[0]}") from error
    return model


def signature(model: onnx.ModelProto, recipe: Recipe, labels: Sequence[str]) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of an image classifier, the batch dimension freed in `model` itself.

    Raises:
        ImportRefused: the graph maps something else than [N, C, H, W] to [N, K], or not what recipe and labels say.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ImportRefused(
            f"The graph has {len(inputs)} inputs and {len(model.graph.output)} outputs; one each is served."
        )
    del model.graph.value_info[:]  # shapes inferred for the batch size of the export
    wanted_in = [-1, recipe.channels, recipe.height, recipe.width]
    return (
        _spec("input", inputs[0], wanted_in, "the recipe makes"),
        _spec("output", model.graph.output[0], [-1, len(labels)], "there are labels for"),
    )


def drop_final_softmax(model: onnx.ModelProto) -> bool:
    """Serve the logits of a graph that ends in a softmax, so that temperature and calibration mean what they say.

    Returns:
        Whether there was one.
    """
    output = model.graph.output[0].name
    last = next((node for node in model.graph.node if output in node.output), None)
    if last is None or last.op_type != "Softmax" or len(model.graph.node) < 2:
        return False
    axis = next((attribute.i for attribute in last.attribute if attribute.name == "axis"), -1)
    logits = last.input[0]
    if axis not in (-1, 1) or not any(logits in node.output for node in model.graph.node):
        return False
    for node in model.graph.node:
        node.output[:] = [output if name == logits else name for name in node.output]
        node.input[:] = [output if name == logits and node is not last else name for name in node.input]
    model.graph.node.remove(last)
    return True


def parameter_count(model: onnx.ModelProto) -> int:
    """Numbers stored in the graph's float initializers."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.INT8)
    total = 0
    for tensor in model.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        total += count if tensor.data_type in kinds else 0
    return total


def _refuse_foreign_parts(model: onnx.ModelProto) -> None:
    own = {function.domain for function in model.functions}
    foreign = {opset.domain for opset in model.opset_import} - ALLOWED_DOMAINS - own
    for count, node in enumerate(_all_nodes(model)):
        if count >= MAX_NODES:
            raise ImportRefused(f"The graph has more than {MAX_NODES:,} nodes.")
        if node.domain not in ALLOWED_DOMAINS and node.domain not in own:
            foreign.add(node.domain)
    if foreign:
        raise ImportRefused(
            f"The graph needs operators of {', '.join(sorted(foreign))}, which come with a library of their own; "
            "Octavo loads none. Export it with standard operators."
        )
    for tensor in _all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ImportRefused(
                f"Tensor {tensor.name[:80]!r} lies in another file. Save the model as one file: "
                "onnx.save(onnx.load('model.onnx'), 'whole.onnx')."
            )


def _refuse_repetition(model: onnx.ModelProto) -> None:
    """`Loop`, `Scan` and their kin may run for ever on some input, and a run of ONNX Runtime has no time limit.

    An operator that holds a graph repeats it; only `If` runs it at most once.
    """
    repeating = {node.op_type for node in _all_nodes(model) if node.op_type != "If" and _subgraphs([node])}
    if repeating:
        raise ImportRefused(
            f"The graph repeats a part of itself by {', '.join(sorted(repeating))}, which could keep a server busy for "
            "ever. Export it without loops: fixed repetitions are unrolled by torch.onnx.export(..., dynamo=True)."
        )


class _Expansion:
    """How many nodes a graph has once every call of a function of its own stands for what the function holds.

    ONNX Runtime unfolds it so when it loads it: ten functions of ten calls each are ten thousand million nodes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._functions = {(function.domain, function.name): function for function in model.functions}
        self._sizes: dict[tuple[str, str], int] = {}

    def check(self) -> None:
        """Raises: ImportRefused: it has more than `MAX_NODES`, or functions call each other in a circle."""
        self._size(self._graph.node, ())

    def _size(self, nodes: Any, above: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type)
            total += 1 if name not in self._functions else self._size_of(name, above)
            total += sum(self._size(graph.node, above) for graph in _subgraphs([node]))
            if total > MAX_NODES:
                raise ImportRefused(f"The graph has more than {MAX_NODES:,} nodes when its functions are unfolded.")
        return total

    def _size_of(self, name: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if name in above or len(above) >= _DEEPEST_CALLS:
            raise ImportRefused(f"The function {name[1][:80]!r} of the graph calls itself, or calls go too deep.")
        if name not in self._sizes:
            self._sizes[name] = self._size(self._functions[name].node, (*above, name))
        return self._sizes[name]


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _all_graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _all_graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and those inside `If`, `Loop` and `Scan`, also of functions."""
    waiting = [model.graph, *_subgraphs(node for function in model.functions for node in function.node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _subgraphs(graph.node)


def _subgraphs(nodes: Any) -> list[onnx.GraphProto]:
    found: list[onnx.GraphProto] = []
    for node in nodes:
        for attribute in node.attribute:
            found += [attribute.g] if attribute.HasField("g") else []
            found += attribute.graphs
    return found


def _all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _all_graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _all_nodes(model):
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)


def _spec(kind: str, value: onnx.ValueInfoProto, wanted: list[int], why: str) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type != TensorProto.FLOAT:
        raise ImportRefused(f"The graph's {kind} {value.name!r} is not a float32 tensor.")
    dims = tensor.shape.dim
    got = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]
    fits = len(got) == len(wanted) and all(a in (-1, b) for a, b in zip(got[1:], wanted[1:], strict=True))
    if not fits:
        raise ImportRefused(f"The graph's {kind} {value.name!r} is {got} (-1: free); {why} {wanted}.")
    dims[0].Clear()
    dims[0].dim_param = "N"
    return TensorSpec(name=value.name, datatype="FP32", shape=wanted)
