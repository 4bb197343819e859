"""Model versions in a registry without files behind them."""

from uuid import uuid4

from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Job, ModelVersion
from libs.registry.artifacts import StoredFolder
from libs.registry.models import register_version
from libs.serving.bundle import ClassifierBundle, Lineage, NextItemBundle, Parity, TensorSpec
from tests.support.bundles import PASSED, recipe


def bundle(parity: Parity | None = PASSED, lineage: Lineage | None = None, **changes: object) -> ClassifierBundle:
    fields: dict[str, object] = {
        "architecture": "mean-linear",
        "labels": ["a", "b"],
        "recipe": recipe(),
        "inputs": [TensorSpec(name="input", datatype="FP32", shape=[-1, 1, 8, 8])],
        "outputs": [TensorSpec(name="logits", datatype="FP32", shape=[-1, 2])],
        "parity": parity,
        "lineage": lineage or Lineage(method="supervised"),
    }
    return ClassifierBundle.model_validate({**fields, **changes})


def next_item_bundle() -> NextItemBundle:
    return NextItemBundle(
        architecture="gru4rec",
        inputs=[
            TensorSpec(name="items", datatype="INT64", shape=[-1, -1]),
            TensorSpec(name="lengths", datatype="INT64", shape=[-1]),
        ],
        outputs=[TensorSpec(name="features", datatype="FP32", shape=[-1, 4])],
        items=3,
        width=4,
        max_length=5,
        exclude_seen=True,
        parity=PASSED,
        lineage=Lineage(method="gru4rec"),
    )


def stored_folder(size_bytes: int = 10) -> StoredFolder:
    digest = uuid4().hex * 2
    return StoredFolder(f"file:///store/folders/{digest}", digest, size_bytes, {"model.onnx": digest})


def add_job(session: Session, name: str = "job") -> Job:
    job = Job(project_id=DEFAULT_PROJECT_ID, name=name, method="supervised", spec={})
    session.add(job)
    session.flush()
    return job


def add_version(session: Session, name: str = "cats", **wanted: object) -> ModelVersion:
    """One more version; keyword arguments go to `register_version`."""
    fields = {"project_id": DEFAULT_PROJECT_ID, "bundle": bundle(), "folder": stored_folder(), **wanted}
    return register_version(session, model_name=name, **fields)
