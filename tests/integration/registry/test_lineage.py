"""Lineage graphs and comparisons, on a real Postgres."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Dataset, DatasetVersion, Job, ModelVersion
from libs.registry import lineage
from libs.registry.lineage import Edge, compare, lineage_graph
from libs.registry.models import delete_model
from libs.serving.bundle import Lineage
from tests.support.registry import add_job, add_version, bundle, stored_folder


def derived(db: Session, name: str, **lineage: object) -> ModelVersion:
    made = Lineage.model_validate({"method": "supervised", **lineage})
    return add_version(db, name, bundle=bundle(lineage=made), job_id=add_job(db, f"train-{name}").id)


def add_dataset(db: Session, digest: str) -> DatasetVersion:
    dataset = Dataset(id=uuid4(), project_id=DEFAULT_PROJECT_ID, name="digits")
    db.add(dataset)
    db.flush()
    version = DatasetVersion(
        project_id=DEFAULT_PROJECT_ID, dataset_id=dataset.id, version=1, status="ready", source={}, digest=digest
    )
    db.add(version)
    db.flush()
    return version


def test_a_graph_has_origins_and_what_was_derived(db: Session) -> None:
    add_dataset(db, "d" * 64)
    teacher = derived(db, "teacher", dataset_digests={"train": "d" * 64})
    student = derived(db, "student", parent_digests={"init": teacher.digest}, dataset_digests={"train": "f" * 64})
    derived(db, "pruned", parent_digests={"model": student.digest})
    db.get_one(Job, student.job_id).parent_id = add_job(db, "comparison").id

    graph = lineage_graph(db, student)

    named = {node.name: node for node in graph.nodes.values()}
    assert set(named) == {
        "student@1", "teacher@1", "pruned@1", "digits@1", "f" * 12, "train-teacher", "train-student", "comparison",
    }  # fmt: skip
    assert named["f" * 12].kind == "unknown"
    said = {(graph.nodes[e.source].name, graph.nodes[e.target].name, e.role) for e in graph.edges}
    assert said == {
        ("digits@1", "teacher@1", "dataset:train"),
        ("train-teacher", "teacher@1", "made by"),
        ("teacher@1", "student@1", "model:init"),
        ("f" * 12, "student@1", "dataset:train"),
        ("train-student", "student@1", "made by"),
        ("comparison", "train-student", "made for"),
        ("student@1", "pruned@1", "model:model"),
    }
    assert graph.complete


def test_a_circle_ends(db: Session) -> None:
    first = derived(db, "first")
    second = derived(db, "second", parent_digests={"init": first.digest})
    first.lineage = {**first.lineage, "parent_digests": {"init": second.digest}}
    db.flush()
    graph = lineage_graph(db, first)
    assert {node.name for node in graph.nodes.values() if node.kind == "model_version"} == {"first@1", "second@1"}
    assert len(graph.edges) == len(set(graph.edges))


def test_of_equal_parents_the_oldest_is_shown_however_many_there_are(
    db: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored_folder()
    for name in ("oldest", "second", "third", "fourth"):
        add_version(db, name, folder=folder)
    child = derived(db, "child", parent_digests={"init": folder.digest})
    monkeypatch.setattr(lineage, "MAX_NODES", 3)
    graph = lineage_graph(db, child)
    assert [graph.nodes[edge.source].name for edge in graph.edges if edge.role == "model:init"] == ["oldest@1"]


def test_a_deleted_parent_is_still_named(db: Session) -> None:
    parent = derived(db, "parent")
    child = derived(db, "child", parent_digests={"init": parent.digest})
    delete_model(db, DEFAULT_PROJECT_ID, "parent")
    db.flush()
    graph = lineage_graph(db, child)
    (node,) = [node for node in graph.nodes.values() if node.name == "parent@1"]
    assert node.deleted
    assert Edge(node.id, f"model_version:{child.id}", "model:init") in graph.edges


def test_a_comparison_shows_what_differs(db: Session) -> None:
    left = derived(db, "cats", config={"epochs": 5, "lr": 0.1}, seed=0)
    right = derived(db, "cats", config={"epochs": 9, "lr": 0.1}, seed=0)
    left.metrics = {"test/accuracy": 0.5, "test/nll": "NaN"}
    right.metrics = {"test/accuracy": 0.75, "test/ece": 0.1}

    found = compare(left, right)

    assert found.metrics["test/accuracy"] == {"left": 0.5, "right": 0.75, "change": pytest.approx(0.25)}
    assert found.metrics["test/nll"] == {"left": None, "right": None, "change": None}
    assert found.metrics["test/ece"] == {"left": None, "right": 0.1, "change": None}
    assert {name: (d.left, d.right) for name, d in found.config.items()} == {"epochs": (5, 9)}
    assert set(found.facts) == {"digest"}
