"""The contract of every training method: each test runs once per method of the catalog; none is left out."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.relations import open_tables
from libs.data.events.windows import read, windows_of
from libs.data.images import open_images
from libs.data.manifest import DataKind
from libs.data.preprocess import apply_batch
from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS, Method, Task
from libs.models.compare_config import CompareConfig
from libs.models.estimate_config import EstimateConfig
from libs.models.update_config import UpdateConfig
from libs.registry.gates import check_gates, first_failure
from libs.registry.onnx_checks import ALLOWED_DOMAINS, read_graph, signature
from libs.serving.bundle import AnyBundle, ClassifierBundle, NextItemBundle, TensorSpec, parse_bundle
from libs.serving.folder import read_bundle
from libs.training.checkpoint import newest_checkpoint, read_checkpoint
from libs.training.local_run import LocalRun
from libs.training.run import Inputs, Outcome, Stopped, StopReason
from tests.support.events import events_folder, walks

DataOf = Mapping[DataKind, Path]
TINY: dict[Task, dict[str, Any]] = {
    "image-classification": {
        "model": "resnet8",
        "epochs": 2,
        "batch_size": 32,
        "lr": 0.05,
        "mix": "mixup",
        "ema_decay": 0.9,
    },
    "next-item": {
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.02,
        "max_length": 20,
        "objective": "bce",
        "exclude_seen": False,
        "ema_decay": 0.9,
        "monitor": "mrr@20",
    },
}
WALL_CLOCK = {"train/images_per_s", "train/sequences_per_s"}
FINAL_FIGURES: dict[Task, set[str]] = {
    "image-classification": {"val/accuracy", "test/accuracy", "test/nll", "test/ece"},
    "next-item": {"val/ndcg@10", "test/ndcg@10", "test/hr@10", "test/coverage@10"},
}
SERIES: dict[Task, set[str]] = {
    "image-classification": {"train/loss", "train/accuracy", "train/lr", "train/images_per_s", "val/accuracy"},
    "next-item": {"train/loss", "train/lr", "train/sequences_per_s", "val/ndcg@10"},
}
REPORT_FILES: dict[Task, set[str]] = {
    "image-classification": {"report.html", "report.json", "metrics.csv", "augmented.png"},
    "next-item": {"report.html", "report.json", "metrics.csv"},
}
LOSS: dict[Task, str] = {"image-classification": "train/ce_classifier", "next-item": "train/next_item"}

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
classifiers = pytest.mark.parametrize(
    "method", [pytest.param(m, id=n) for n, m in METHODS.items() if m.task == "image-classification"]
)
recommenders = pytest.mark.parametrize(
    "method", [pytest.param(m, id=n) for n, m in METHODS.items() if m.task == "next-item"]
)


SMALL: dict[str, dict[str, Any]] = {
    "hcrnn": {"item_dim": 16, "hidden_dim": 16, "topics": 4},
    "narm": {"width": 16},
    "rksa": {"width": 16, "blocks": 1, "rank": 4, "cooccurrence_rank": 8},
    "sasrec": {"width": 16, "blocks": 1},
}


class RecordedRun(LocalRun):
    """A run that asks to stop at a given step and keeps its figures by name and step."""

    def __init__(self, folder: Path, seed: int = 7, stop_at: int | None = None, reason: StopReason = "cancel") -> None:
        super().__init__(folder, seed, quiet=True)
        self._asked = 0
        self._stop_at = stop_at
        self._reason: StopReason = reason

    def stop_reason(self) -> StopReason | None:
        self._asked += 1
        return self._reason if self._asked == self._stop_at else None

    @property
    def figures(self) -> dict[tuple[str, int], float]:
        return {(name, step): value for name, value, step in self.metrics if name not in WALL_CLOCK}


@cache
def teacher_of(digits: Path) -> Path:
    """A classifier of the digits, for the methods that learn from one."""
    folder = digits.parent / "teacher"
    run_method(METHODS["supervised"], {"images": digits}, RecordedRun(folder), model="resnet14", epochs=4, mix="none")
    return folder / "bundle"


def inputs_of(method: Method, data_of: DataOf) -> Inputs:
    """What a method is given: its data set and the models it needs."""
    models = {role: {"teacher": teacher_of}[role](data_of["images"]) for role in method.models}
    return Inputs({"train": data_of[method.data]}, models)


def config_of(method: Method, **changes: Any) -> BaseModel:
    return method.config.model_validate({**TINY[method.task], **SMALL.get(method.name, {}), **changes})


def run_method(method: Method, data_of: DataOf, run: RecordedRun, **changes: Any) -> Outcome:
    return method.load()(config_of(method, **changes), inputs_of(method, data_of), run)


def weights_of(outcome: Outcome) -> dict[str, torch.Tensor]:
    assert outcome.bundle is not None
    return safetensors.torch.load_file(outcome.bundle / "model.safetensors")


@dataclass
class Finished:
    """A run, and the programs that torch's exporter made of it, in their order."""

    run: RecordedRun
    outcome: Outcome
    bundle: AnyBundle
    programs: list[Any]

    @property
    def folder(self) -> Path:
        assert self.outcome.bundle is not None
        return self.outcome.bundle


Finishing = Callable[[Method], Finished]
Repeating = Callable[[Finished], None]


@pytest.fixture(scope="session")
def finished(data_of: DataOf, tmp_path_factory: pytest.TempPathFactory) -> Finishing:
    """One uninterrupted run of a method, shared by the tests that only look at it."""

    @cache
    def run_once(name: str) -> Finished:
        torch.set_num_threads(1)
        run, programs, export = RecordedRun(tmp_path_factory.mktemp(name)), [], torch.onnx.export

        def kept(*args: Any, **options: Any) -> Any:
            programs.append(export(*args, **options))
            return programs[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.onnx, "export", kept)
            outcome = run_method(METHODS[name], data_of, run)
        assert outcome.bundle is not None
        return Finished(run, outcome, parse_bundle((outcome.bundle / "bundle.json").read_bytes()), programs)

    return lambda method: run_once(method.name)


@pytest.fixture
def exported_as(monkeypatch: pytest.MonkeyPatch) -> Repeating:
    """Lets a run that should repeat a finished one take over its graphs: exporting is most of the time of a tiny run.

    Were its weights others, the graphs would fail its parity gate.
    """

    def take_over(repeated: Finished) -> None:
        programs = iter(repeated.programs)
        monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: next(programs))

    return take_over


@every_method
def test_outcome_is_complete(method: Method, finished: Finishing) -> None:
    run, outcome = finished(method).run, finished(method).outcome
    assert set(outcome.metrics) >= FINAL_FIGURES[method.task]
    assert all(np.isfinite(value) for value in outcome.metrics.values())
    json.dumps(outcome.details, allow_nan=False)
    assert {name for name, _ in run.figures} | WALL_CLOCK >= SERIES[method.task]
    assert run.latest(LOSS[method.task]) < run.figures[LOSS[method.task], 1]  # it learns


@every_method
def test_a_bundle_says_its_task_and_passes_the_gates(method: Method, finished: Finishing) -> None:
    bundle = finished(method).bundle
    assert bundle.task == method.task
    assert first_failure(check_gates(bundle)) is None
    assert read_bundle(finished(method).folder) == bundle


@classifiers
def test_what_is_served_passes_the_checks_of_graphs_from_outside(method: Method, finished: Finishing) -> None:
    bundle = finished(method).bundle
    assert isinstance(bundle, ClassifierBundle)
    graph = read_graph(finished(method).folder / "model.onnx")
    spec_in, spec_out = signature(graph, bundle.recipe, bundle.labels)
    assert ([spec_in], [spec_out]) == (bundle.inputs, bundle.outputs)


@recommenders
def test_the_graphs_take_and_give_what_the_bundle_says(method: Method, finished: Finishing) -> None:
    bundle, folder = finished(method).bundle, finished(method).folder
    assert isinstance(bundle, NextItemBundle)
    item = TensorSpec(name="item", datatype="INT64", shape=[-1])
    after = [spec.model_copy(update={"name": f"next_{spec.name}"}) for spec in bundle.state]
    described = {"model.onnx": (bundle.inputs, bundle.outputs)}
    described |= {"step.onnx": ([item, *bundle.state], [*bundle.outputs, *after])} if bundle.state else {}
    described |= {"explain.onnx": (bundle.inputs, bundle.explanations)} if bundle.explanations else {}
    assert {path.name for path in folder.glob("*.onnx")} == set(described)
    for name, (inputs, outputs) in described.items():
        graph = onnx.load(str(folder / name))
        onnx.checker.check_model(graph, full_check=True)
        assert {opset.domain for opset in graph.opset_import} <= ALLOWED_DOMAINS
        assert specs_of(graph.graph.input) == inputs
        assert specs_of(graph.graph.output) == outputs


def specs_of(values: Iterable[onnx.ValueInfoProto]) -> list[TensorSpec]:
    """The signature of a graph; -1 is a free dimension."""
    types = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}
    return [
        TensorSpec(
            name=value.name,
            datatype=types[value.type.tensor_type.elem_type],
            shape=[dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


@every_method
def test_report_is_complete(method: Method, finished: Finishing) -> None:
    folder = finished(method).outcome.report
    assert folder is not None
    assert {path.name for path in folder.iterdir()} >= REPORT_FILES[method.task]
    assert list(folder.glob("tensorboard/events.out.tfevents.*"))


@every_method
def test_same_seed_same_result(
    method: Method, data_of: DataOf, finished: Finishing, exported_as: Repeating, tmp_path: Path
) -> None:
    again = RecordedRun(tmp_path / "again")
    exported_as(finished(method))
    outcome = run_method(method, data_of, again)
    assert_equal_runs(finished(method).run.figures, again.figures)
    assert_equal_weights(weights_of(finished(method).outcome), weights_of(outcome))
    assert outcome.metrics == finished(method).outcome.metrics


@every_method
def test_interrupted_and_resumed_is_bitwise_the_same(
    method: Method, data_of: DataOf, finished: Finishing, exported_as: Repeating, tmp_path: Path
) -> None:
    exported_as(finished(method))
    first = RecordedRun(tmp_path, stop_at=9, reason="shutdown")  # in the middle of the second of two epochs
    with pytest.raises(Stopped, match="shutdown"):
        run_method(method, data_of, first)
    second = RecordedRun(tmp_path)
    outcome = run_method(method, data_of, second)
    assert min(step for _, step in second.figures) > min(step for _, step in first.figures)
    assert_equal_runs(finished(method).run.figures, first.figures | second.figures)
    assert_equal_weights(weights_of(finished(method).outcome), weights_of(outcome))
    assert outcome.metrics == finished(method).outcome.metrics


@every_method
def test_stop_leaves_a_checkpoint(method: Method, data_of: DataOf, tmp_path: Path) -> None:
    run = RecordedRun(tmp_path, stop_at=3)
    with pytest.raises(Stopped) as stopped:
        run_method(method, data_of, run)
    assert stopped.value.reason == "cancel"
    newest = newest_checkpoint(run.checkpoints)
    assert newest is not None
    assert read_checkpoint(newest)["step"] == 3


@every_method
def test_export_is_faithful(method: Method, finished: Finishing) -> None:
    parity = finished(method).bundle.parity
    assert parity is not None
    assert parity.passed
    assert parity.samples > 50
    assert parity.max_abs_diff <= parity.tolerance
    assert parity.argmax_disagreements == 0


@classifiers
def test_bundle_predicts_with_onnxruntime_alone(method: Method, data_of: DataOf, finished: Finishing) -> None:
    outcome, bundle, folder = finished(method).outcome, finished(method).bundle, finished(method).folder
    assert isinstance(bundle, ClassifierBundle)
    split = open_images(data_of["images"]).split("test")
    pictures = apply_batch(bundle.recipe, [split.picture(i) for i in range(len(split))])
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run([bundle.outputs[0].name], {bundle.inputs[0].name: pictures})
    assert logits.shape == (len(split), len(bundle.labels))
    accuracy = float((logits.argmax(1) == split.labels).mean())
    assert accuracy == pytest.approx(outcome.metrics["test/accuracy"], abs=1.5 / len(split))


@recommenders
def test_bundle_recommends_with_onnxruntime_alone(method: Method, data_of: DataOf, finished: Finishing) -> None:
    """The test figures follow from the files of the bundle: graph, item vectors and ids."""
    outcome, folder, data = finished(method).outcome, finished(method).folder, open_event_data(data_of["events"])
    found, cases = hits_of_bundle(finished(method), data, as_themselves=True)
    assert found == pytest.approx(outcome.metrics["test/hr@5"], abs=1.5 / cases)
    assert pl.read_parquet(folder / "items.parquet")["id"].to_list() == data.items.all_ids()


def hits_of_bundle(finished: Finished, data: EventData, *, as_themselves: bool) -> tuple[float, int]:
    """HR@5 of test users by the files of a bundle alone, and how many cases; else they are all the unknown user."""
    bundle, folder = finished.bundle, finished.folder
    assert isinstance(bundle, NextItemBundle)
    batch = read(data.events, windows_of(data.events, "test", bundle.max_length, single_targets=True))
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = {"items": batch.inputs, "lengths": batch.lengths}
    if further := [spec.name for spec in bundle.inputs if spec.name not in inputs]:
        users = batch.users + 1 if as_themselves else np.zeros_like(batch.users)
        inputs |= open_tables(folder).inputs_of(batch.inputs, users, further)
    (features,) = session.run(["features"], inputs)
    scores = features @ np.load(folder / "item_vectors.npy").T
    assert scores.shape == (len(batch.inputs), bundle.items + 1)
    wanted = batch.targets[np.arange(len(batch.targets)), batch.lengths - 1]
    better = (scores[:, 1:] > scores[np.arange(len(wanted)), wanted][:, None]).sum(1)
    return float((better < 5).mean()), len(wanted)


def test_figures_with_hidden_users_are_what_a_session_is_served(data_of: DataOf, finished: Finishing) -> None:
    rksa = finished(METHODS["rksa"])
    found, cases = hits_of_bundle(rksa, open_event_data(data_of["events"]), as_themselves=False)
    assert found == pytest.approx(rksa.outcome.metrics["test/hidden_user/hr@5"], abs=1.5 / cases)
    assert rksa.outcome.report is not None
    page = (rksa.outcome.report / "report.html").read_text()
    assert "With the user hidden" in page
    assert "How users mix the relations" in page
    mixture = rksa.outcome.details["mixture_over_users"]
    assert len(mixture["entropy_nats"]) == len(mixture["quantiles"])


@recommenders
def test_other_data_is_refused(method: Method, data_of: DataOf, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds pictures, and events are needed"):
        method.load()(config_of(method), Inputs({"train": data_of["images"]}), RecordedRun(tmp_path))
    lonely = events_folder(tmp_path / "one", [("a", "only", 10**9 + step) for step in range(5)])
    with pytest.raises(DataError, match="single item"):
        method.load()(config_of(method), Inputs({"train": lonely}), RecordedRun(tmp_path))


@recommenders
def test_histories_of_one_event_and_users_of_one(method: Method, tmp_path: Path) -> None:
    events = [*walks(users=20, items=6), ("once", "i0", 10**9)]
    folder = events_folder(tmp_path / "data", events)
    outcome = method.load()(config_of(method, max_length=1, epochs=1), Inputs({"train": folder}), RecordedRun(tmp_path))
    assert outcome.details["parity_passed"]


@every_method
def test_config_survives_json_schema_and_back(method: Method) -> None:
    defaults = method.config()
    schema = method.config.model_json_schema()
    assert schema["additionalProperties"] is False
    from_schema = {name: entry["default"] for name, entry in schema["properties"].items() if "default" in entry}
    assert method.config.model_validate(from_schema) == defaults
    assert method.config.model_validate_json(defaults.model_dump_json()) == defaults
    with pytest.raises(ValidationError) as error:
        method.config.model_validate({"no_such_setting": 1})
    assert error.value.errors()[0]["loc"] == ("no_such_setting",)


def leaves(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schemas of a field's values: of each alternative but null, of a list's items, of a nested object's fields."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from leaves(option, definitions)
    elif schema.get("type") == "array":
        assert "maxItems" in schema
        yield from leaves(schema["items"], definitions)
    elif "properties" in schema:
        for field in schema["properties"].values():
            assert field.get("description")
            yield from leaves(field, definitions)
    elif schema.get("type") != "null":
        yield schema


def is_bounded(leaf: Mapping[str, Any]) -> bool:
    """Whether a value is one of a few, lies between two numbers, or has a longest length or a format."""
    if leaf.get("type") in ("integer", "number") and "enum" not in leaf:
        above, below = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
        return not above.isdisjoint(leaf) and not below.isdisjoint(leaf)
    return leaf.get("type") == "boolean" or bool(leaf.keys() & {"enum", "const", "maxLength", "pattern", "format"})


def config_fields() -> list[Any]:
    configs = {name: entry.config for name, entry in (METHODS | TASKS).items()}
    return [
        pytest.param(config, field, id=f"{name}.{field}")
        for name, config in configs.items()
        for field in config.model_fields
        # validated by the class of the method it is for
        if (config, field) not in ((CompareConfig, "config"), (EstimateConfig, "config"), (UpdateConfig, "config"))
    ]


@pytest.mark.parametrize(("config", "field"), config_fields())
def test_every_setting_says_what_it_means_and_what_it_may_be(config: type[BaseModel], field: str) -> None:
    schema = config.model_json_schema()
    entry = schema["properties"][field]
    assert entry.get("description")
    unbounded = [leaf for leaf in leaves(entry, schema.get("$defs", {})) if not is_bounded(leaf)]
    assert not unbounded


@every_method
def test_every_hyper_parameter_says_where_its_default_comes_from(method: Method) -> None:
    fields = method.config.model_fields
    silent = [
        name
        for name, field in fields.items()
        if not re.search(r"\[[a-zA-Z]+\]|\d{4}|papers?\b", field.description or "")
    ]
    assert not silent


@every_method
def test_a_dry_run_says_what_it_would_cost_and_leaves_nothing(
    method: Method, data_of: DataOf, finished: Finishing, tmp_path: Path
) -> None:
    details = method.load_estimate()(config_of(method), inputs_of(method, data_of), RecordedRun(tmp_path)).details
    assert details["steps"] == 2 * 6
    assert details["trained_parameters"] >= details["served_parameters"] == finished(method).bundle.parameters
    assert details["total_s"] >= details["steps"] * details["step_s"] > 0
    assert details["memory_bytes"] > 4 * details["trained_parameters"]
    assert list(tmp_path.iterdir()) == []


def assert_equal_weights(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def assert_equal_runs(left: Mapping[tuple[str, int], float], right: Mapping[tuple[str, int], float]) -> None:
    assert left.keys() == right.keys()
    different = [key for key in left if left[key] != right[key]]
    assert not different
