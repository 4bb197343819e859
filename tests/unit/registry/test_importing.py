"""ONNX files from outside: what is taken, and what is refused and why."""

import pickle
from pathlib import Path
from uuid import uuid4

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError
from safetensors.numpy import save_file

from libs.registry.errors import ImportRefused
from libs.registry.gates import check_gates, first_failure
from libs.registry.import_config import ImportOnnxConfig
from libs.registry.importing import import_onnx, run
from libs.registry.model_files import model_file_kind
from libs.serving.folder import read_bundle
from libs.serving.session import ModelSession
from libs.training.run import Inputs
from tests.support.bundles import graph, parameters, recipe

CONFIG = ImportOnnxConfig(artifact=uuid4(), labels=["dark", "bright"], recipe=recipe())


def saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    file = tmp_path / "upload"
    file.write_bytes(model.SerializeToString())
    return file


def shade_graph(batch: int | str = "N") -> onnx.ModelProto:
    model = graph(*parameters(2, 1))
    for value in (model.graph.input[0], model.graph.output[0]):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if isinstance(batch, int):
            dim.dim_value = batch
        else:
            dim.dim_param = batch
    return model


def with_softmax() -> onnx.ModelProto:
    model = shade_graph()
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["logits"], axis=-1))
    return model


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_a_graph_becomes_a_bundle(tmp_path: Path, batch: int | str) -> None:
    bundle = import_onnx(saved(shade_graph(batch), tmp_path), CONFIG, tmp_path / "bundle")

    assert read_bundle(tmp_path / "bundle") == bundle
    assert (bundle.architecture, bundle.labels, bundle.parameters) == ("onnx", ["dark", "bright"], 4)
    assert bundle.inputs[0].shape == [-1, 1, 8, 8]
    assert [latency.batch_size for latency in bundle.latency] == [1, 8]
    assert first_failure(check_gates(bundle)) is None
    output = ModelSession(tmp_path / "bundle" / "model.onnx").run(np.ones((3, 1, 8, 8), np.float32))
    assert output == pytest.approx(np.tile([-2.0, 2.0], (3, 1)))


def test_a_final_softmax_is_dropped(tmp_path: Path) -> None:
    bundle = import_onnx(saved(with_softmax(), tmp_path), CONFIG, tmp_path / "bundle")
    assert bundle.lineage.config["softmax_dropped"] is True
    output = ModelSession(tmp_path / "bundle" / "model.onnx").run(np.ones((1, 1, 8, 8), np.float32))
    assert output == pytest.approx(np.array([[-2.0, 2.0]]))


def external() -> onnx.ModelProto:
    model = shade_graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return model


def external_in_a_branch() -> onnx.ModelProto:
    hidden = external().graph.initializer[0]
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["value"], value=hidden)],
        "branch",
        [],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [2, 1])],
    )
    model = shade_graph()
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.append(helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch))
    return model


def custom_operator() -> onnx.ModelProto:
    model = shade_graph()
    model.graph.node[0].domain = "evil.corp"
    model.opset_import.append(helper.make_opsetid("evil.corp", 1))
    return model


def two_outputs() -> onnx.ModelProto:
    model = shade_graph()
    model.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["N", 1]))
    return model


def integers() -> onnx.ModelProto:
    model = shade_graph()
    model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["input"], to=TensorProto.FLOAT))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 8, 8]))
    return model


def broken_graph() -> onnx.ModelProto:
    model = shade_graph()
    model.graph.node[1].input[0] = "nowhere"
    return model


def endless_loop() -> onnx.ModelProto:
    """logits + 0 + 0 + …, as often as an int64 can count."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Identity", ["carried"], ["carried_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, None),
        ],
    )
    model = shade_graph()
    turns = numpy_helper.from_array(np.array(np.iinfo(np.int64).max), "turns")
    model.graph.initializer.extend([turns, numpy_helper.from_array(np.array(True), "begin")])
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(helper.make_node("Loop", ["turns", "begin", "scores"], ["logits"], body=body))
    onnx.checker.check_model(model, full_check=True)
    return model


def in_a_branch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The last node of `model`, moved into both branches of an `If`."""
    last = model.graph.node.pop()
    branch = helper.make_graph([last], "branch", [], [helper.make_empty_tensor_value_info(last.output[0])])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.append(helper.make_node("If", ["condition"], ["logits"], then_branch=branch, else_branch=branch))
    return model


def in_a_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """The last node of `model`, moved into a function of its own."""
    last = model.graph.node.pop()
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Last", list(last.input), ["logits"], [last], opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Last", list(last.input), ["logits"], domain="own"))
    return model


def test_a_branch_is_no_loop(tmp_path: Path) -> None:
    import_onnx(saved(in_a_branch(shade_graph()), tmp_path), CONFIG, tmp_path / "bundle")


def only_one_picture() -> onnx.ModelProto:
    model = shade_graph(1)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1], np.int64), "one"))
    model.graph.node[1].CopyFrom(helper.make_node("Reshape", ["pooled", "one"], ["means"]))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (external(), "lies in another file"),
        (external_in_a_branch(), "lies in another file"),
        (custom_operator(), r"operators of evil\.corp"),
        (two_outputs(), "1 inputs and 2 outputs"),
        (integers(), "not a float32 tensor"),
        (broken_graph(), "invalid"),
        (endless_loop(), "repeats a part of itself by Loop"),
        (in_a_branch(endless_loop()), "repeats a part of itself by Loop"),
        (in_a_function(endless_loop()), "repeats a part of itself by Loop"),
        (only_one_picture(), "export it with a free one"),
        (graph(*parameters(3, 1)), r"is \[-1, 3\].*there are labels for \[-1, 2\]"),
        (graph(*parameters(2, 3), channels=3), r"the recipe makes \[-1, 1, 8, 8\]"),
        (graph(*parameters(2, 1, [np.nan, 0])), "not finite"),
    ],
)
def test_what_is_refused(tmp_path: Path, model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(ImportRefused, match=message):
        import_onnx(saved(model, tmp_path), CONFIG, tmp_path / "bundle")


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    file = saved(shade_graph(), tmp_path)
    assert model_file_kind(file) == "onnx"
    save_file({"weight": np.zeros(3, np.float32)}, str(file))
    assert model_file_kind(file) == "safetensors"
    for content, message in (
        (pickle.dumps({"a": 1}), "octavo convert"),
        (b"PK\x03\x04rest", "octavo convert"),
        (b"\x89HDF\r\n\x1a\nrest", "Export the model to ONNX"),
        (b"GIF89a", "neither"),
        (b"", "neither"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{", "neither"),
        (b"\x05\x00\x00\x00\x00\x00\x00\x00{oops", "neither"),
        ((6 << 20).to_bytes(8, "little") + b'{"a":[' + b"[]," * (2 << 20) + b"[]]}", "neither"),
    ):
        file.write_bytes(content)
        with pytest.raises(ImportRefused, match=message):
            model_file_kind(file)


def test_garbage_that_looks_like_onnx_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"\x08" + b"\xff" * 100)
    with pytest.raises(ImportRefused, match="no ONNX model"):
        import_onnx(file, CONFIG, tmp_path / "bundle")


def test_the_task_reads_the_upload(tmp_path: Path) -> None:
    class Quiet:
        seed, device, folder = 0, "cpu", tmp_path / "attempt"

        def progress(self, fraction: float, note: str = "") -> None:
            pass

    (tmp_path / "in").mkdir()
    saved(shade_graph(), tmp_path / "in")
    outcome = run(CONFIG, Inputs({"upload": tmp_path / "in"}), Quiet())
    assert read_bundle(outcome.bundle).labels == ["dark", "bright"]
    with pytest.raises(ImportRefused, match="no uploaded file"):
        run(CONFIG, Inputs(), Quiet())
    save_file({"weight": np.zeros(3, np.float32)}, str(tmp_path / "in" / "upload"))
    with pytest.raises(ImportRefused, match="import-safetensors"):
        run(CONFIG, Inputs({"upload": tmp_path / "in"}), Quiet())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["a", "a"]}, "two labels"),
        ({"labels": ["a"]}, "at least 2"),
        ({"recipe": {**recipe().model_dump(), "mean": []}}, "one number for each"),
        ({"recipe": {**recipe().model_dump(), "std": [0.0]}}, "above 0"),
    ],
)
def test_what_is_said_must_fit_together(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImportOnnxConfig.model_validate({**CONFIG.model_dump(), **changes})


def calling(*calls: tuple[str, str]) -> onnx.ModelProto:
    """A graph that calls the function f9; each function `name` calls another one ten times."""
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    functions = []
    for name, called in calls:
        domain = "own" if called != "Relu" else ""
        nodes = [onnx.helper.make_node(called, [f"x{n}"], [f"x{n + 1}"], domain=domain) for n in range(10)]
        functions.append(onnx.helper.make_function("own", name, ["x0"], ["x10"], nodes, opsets))
    model = shade_graph()
    model.functions.extend(functions)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.graph.node.insert(0, onnx.helper.make_node("f9", ["unused"], ["never"], domain="own"))
    return model


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([("f0", "Relu"), *((f"f{n}", f"f{n - 1}") for n in range(1, 10))], "200,000 nodes when its functions"),
        ([("f9", "f8"), ("f8", "f9")], "calls itself"),
    ],
)
def test_functions_that_unfold_without_end_are_refused(
    tmp_path: Path, calls: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(ImportRefused, match=message):
        import_onnx(saved(calling(*calls), tmp_path), CONFIG, tmp_path / "bundle")
