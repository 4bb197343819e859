"""Tiny next-item models without torch: features = mean of a history's item vectors, or the vector of its last item."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from libs.data.manifest import ItemFeature
from libs.serving.bundle import MODEL_FILE, Lineage, NextItemBundle, TensorSpec, write_bundle
from libs.serving.repository import Identity

IDENTITY = Identity("shop", 1, "a" * 64)
Encoding = Literal["mean", "last"]
Vectors = NDArray[np.float32]

INPUTS = [
    TensorSpec(name="items", datatype="INT64", shape=[-1, -1]),
    TensorSpec(name="lengths", datatype="INT64", shape=[-1]),
]
NAMES: Mapping[str, Literal["number", "category", "text"]] = {"category": "category", "price": "number"}


def make_recommender(
    folder: Path,
    *,
    items: int = 12,
    width: int = 4,
    encoding: Encoding = "mean",
    seed: int = 0,
    max_length: int = 6,
    exclude_seen: bool = True,
    vectors: Vectors | None = None,
    step: bool = True,
    explain: bool = True,
    features: Mapping[str, Sequence[Any]] | None = None,
    training_count: Sequence[int] | None = None,
    new_items: Mapping[str, Sequence[Any]] | None = None,
    lineage: Lineage | None = None,
    architecture: str | None = None,
) -> NextItemBundle:
    """Write a bundle that recommends items "i1" to "iI".

    Args:
        architecture: what the bundle says it is; None: what it is.
        vectors: [I + 1, d], row 0 zeros; None draws them from `seed`.
        step: with step.onnx; its state is a sum [N, d], a count [N, 1] and the items seen [N, n].
        explain: with explain.onnx; `attention` [N, n] is 1 / length for each event of a history.
        features: of the items by name; None: a category ("red", "green", "blue" in turn) and a price (their number; the
            last has none).
        new_items: `id` and features of items that are described and not known; None: there are none.
        training_count: [I]; None: 10 * I, 10 * (I - 1), ... 10.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = item_vectors(items, width, seed) if vectors is None else vectors
    items, width = len(table) - 1, table.shape[1]
    onnx.save(encoder_graph(table, encoding), str(folder / MODEL_FILE))
    if step:
        onnx.save(step_graph(table, encoding), str(folder / "step.onnx"))
    if explain:
        onnx.save(explain_graph(), str(folder / "explain.onnx"))
    np.save(folder / "item_vectors.npy", table)
    described = _write_items(folder, items, features, training_count)
    if new_items is not None:
        pl.DataFrame(new_items).write_parquet(folder / "new_items.parquet")
    np.savez(folder / "neighbours.npz", **near_numbers(items))
    histories = np.array([[1, 2, items], [items, 0, 0]], np.int64)
    lengths = np.array([3, 1], np.int64)
    np.savez(
        folder / "sample.npz", items=histories, lengths=lengths, features=encode(table, histories, lengths, encoding)
    )
    return write_bundle(
        folder,
        NextItemBundle(
            architecture=architecture or f"{encoding}-of-vectors",
            inputs=INPUTS,
            outputs=[TensorSpec(name="features", datatype="FP32", shape=[-1, width])],
            items=items,
            width=width,
            max_length=max_length,
            exclude_seen=exclude_seen,
            item_features=described,
            state=_state(width) if step else [],
            explanations=[TensorSpec(name="attention", datatype="FP32", shape=[-1, -1])] if explain else [],
            parameters=int(table.size),
            lineage=lineage or Lineage(method="gru4rec", seed=seed, code_version="test"),
        ),
    )


def item_vectors(items: int, width: int, seed: int = 0) -> Vectors:
    """[I + 1, d] normal numbers, row 0 zeros."""
    table = np.random.default_rng(seed).standard_normal((items + 1, width), np.float32)
    table[0] = 0
    return table


def encode(
    vectors: Vectors, items: NDArray[np.int64], lengths: NDArray[np.int64], encoding: Encoding = "mean"
) -> Vectors:
    """What model.onnx computes, in numpy: right-padded [N, n] and [N] → [N, d]."""
    if encoding == "last":
        return vectors[items[np.arange(len(items)), lengths - 1]]
    return (vectors[items].sum(axis=1) / lengths[:, None]).astype(np.float32)


def near_numbers(items: int) -> dict[str, NDArray[np.int32]]:
    """Beside item i: i + 1 with i + 1 users, then i - 1 with i users, where these items exist."""
    number = np.arange(items + 1, dtype=np.int32)
    beside = np.stack([number + 1, number - 1], axis=1)
    users = np.stack([number + 1, number], axis=1)
    beside[0] = 0
    beside[items] = [items - 1, 0]
    users[items] = [items, 0]
    users[beside == 0] = 0
    return {"items": beside, "users": users}


def encoder_graph(vectors: Vectors, encoding: Encoding = "mean") -> onnx.ModelProto:
    """items [N, n], lengths [N] → features [N, d]."""
    mean = [
        helper.make_node("Gather", ["vectors", "items"], ["embedded"]),
        helper.make_node("ReduceSum", ["embedded", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "axis"], ["column"]),
        helper.make_node("Div", ["sum", "column"], ["features"]),
    ]
    last = [
        helper.make_node("Sub", ["lengths", "axis"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "axis"], ["column"]),
        helper.make_node("GatherElements", ["items", "column"], ["newest"], axis=1),
        helper.make_node("Squeeze", ["newest", "axis"], ["item"]),
        helper.make_node("Gather", ["vectors", "item"], ["features"]),
    ]
    return _model(
        mean if encoding == "mean" else last,
        _history_inputs(),
        [_tensor("features", TensorProto.FLOAT, ["N", vectors.shape[1]])],
        {"vectors": vectors, "axis": np.array([1], np.int64)},
    )


def step_graph(vectors: Vectors, encoding: Encoding = "mean") -> onnx.ModelProto:
    """item [N], total [N, d], count [N, 1], seen [N, n] → features [N, d] and the state after it, seen [N, n + 1]."""
    width = vectors.shape[1]
    nodes = [
        helper.make_node("Gather", ["vectors", "item"], ["vector"]),
        helper.make_node("Add", ["total", "vector"], ["next_total"]),
        helper.make_node("Add", ["count", "one"], ["next_count"]),
        helper.make_node("Unsqueeze", ["item", "axis"], ["column"]),
        helper.make_node("Concat", ["seen", "column"], ["next_seen"], axis=1),
        helper.make_node("Div", ["next_total", "next_count"], ["features"])
        if encoding == "mean"
        else helper.make_node("Identity", ["vector"], ["features"]),
    ]
    state = [
        _tensor("total", TensorProto.FLOAT, ["N", width]),
        _tensor("count", TensorProto.FLOAT, ["N", 1]),
        _tensor("seen", TensorProto.INT64, ["N", "n"]),
    ]
    after = [
        _tensor("next_total", TensorProto.FLOAT, ["N", width]),
        _tensor("next_count", TensorProto.FLOAT, ["N", 1]),
        _tensor("next_seen", TensorProto.INT64, ["N", "m"]),
    ]
    return _model(
        nodes,
        [_tensor("item", TensorProto.INT64, ["N"]), *state],
        [_tensor("features", TensorProto.FLOAT, ["N", width]), *after],
        {"vectors": vectors, "one": np.ones((1, 1), np.float32), "axis": np.array([1], np.int64)},
    )


def explain_graph() -> onnx.ModelProto:
    """items [N, n], lengths [N] → attention [N, n]: 1 / length at each event, 0 at padding."""
    nodes = [
        helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "axis"], ["column"]),
        helper.make_node("Greater", ["items", "nothing"], ["real"]),
        helper.make_node("Cast", ["real"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["mask", "column"], ["attention"]),
    ]
    return _model(
        nodes,
        _history_inputs(),
        [_tensor("attention", TensorProto.FLOAT, ["N", "n"])],
        {"axis": np.array([1], np.int64), "nothing": np.zeros((1, 1), np.int64)},
    )


def _state(width: int) -> list[TensorSpec]:
    return [
        TensorSpec(name="total", datatype="FP32", shape=[-1, width]),
        TensorSpec(name="count", datatype="FP32", shape=[-1, 1]),
        TensorSpec(name="seen", datatype="INT64", shape=[-1, -1]),
    ]


def _write_items(
    folder: Path, items: int, features: Mapping[str, Sequence[Any]] | None, training_count: Sequence[int] | None
) -> list[ItemFeature]:
    columns = features
    if columns is None:
        columns = {
            "category": [("red", "green", "blue")[i % 3] for i in range(items)],
            "price": [*(float(i) for i in range(1, items)), None],
        }
    counts = list(training_count) if training_count is not None else [10 * (items - i) for i in range(items)]
    frame = pl.DataFrame(
        {
            "index": pl.Series(range(1, items + 1), dtype=pl.Int64),
            "id": [f"i{i}" for i in range(1, items + 1)],
            "training_count": pl.Series(counts, dtype=pl.Int64),
            **columns,
        }
    )
    frame.write_parquet(folder / "items.parquet")
    return [
        ItemFeature(name=name, type=NAMES.get(name, "number" if frame[name].dtype.is_numeric() else "text"))
        for name in columns
    ]


def _history_inputs() -> list[ValueInfoProto]:
    return [_tensor("items", TensorProto.INT64, ["N", "n"]), _tensor("lengths", TensorProto.INT64, ["N"])]


def _tensor(name: str, kind: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _model(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    constants: Mapping[str, NDArray[Any]],
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "recommender", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model
