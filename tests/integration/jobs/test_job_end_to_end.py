"""Jobs through every part: outbox, relay, Valkey, Celery, claim, child process, registry."""

import io
from uuid import UUID, uuid4

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sqlalchemy import select

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, DatasetVersion, JobMetric
from libs.jobs.spec import JobSpec, parse_spec
from libs.jobs.submit import accept, submit
from libs.registry.datasets import create_version, mark_uploaded
from services.local.plan import SHORT_WORKER
from tests.support.platform import Platform, add_digits, scripted_training
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)  # real trainings, on machines that may be busy

TINY = {"epochs": 1, "model": "resnet8", "batch_size": 32, "lr": 0.05, "augment": "none"}


def training(config: dict[str, object] | None = None, **changes: object) -> JobSpec:
    body = {"method": "supervised", "name": "tiny", "datasets": {"train": "digits"}, "config": TINY | (config or {})}
    return parse_spec(body | changes)


def start(octavo: Platform) -> None:
    octavo.start_relay()
    octavo.start_worker()


def upload(octavo: Platform, content: bytes) -> tuple[UUID, UUID]:
    """Ids of a data-set version that was uploaded and of the job that validates it."""
    file = octavo.home / "digits.npz"
    file.write_bytes(content)
    stored = octavo.store.put_file(file)
    with transaction(octavo.engine) as session:
        version = create_version(session, DEFAULT_PROJECT_ID, "digits", {"upload": "digits.npz"})
        job_id = uuid4()
        mark_uploaded(session, version.id, stored.uri, stored.size_bytes, job_id)
        spec = parse_spec({"method": "validate-dataset", "datasets": {"upload": "digits@1"}})
        submit(session, DEFAULT_PROJECT_ID, spec, job_id=job_id)
        return version.id, job_id


def dataset_version(octavo: Platform, version_id: UUID) -> DatasetVersion:
    with transaction(octavo.engine) as session:
        return session.get_one(DatasetVersion, version_id)


def digits_npz(pictures: int = 300) -> bytes:
    digits = load_digits()
    buffer = io.BytesIO()
    np.savez(buffer, x=(digits.images[:pictures] * 15.9).astype(np.uint8), y=digits.target[:pictures])
    return buffer.getvalue()


def test_training_job_ends_in_one_ready_version_with_its_history(octavo: Platform):
    add_digits(octavo)
    start(octavo)
    job_id = octavo.submit(training())
    job = octavo.wait_for(job_id, "succeeded")
    (version,) = octavo.versions(job_id)
    assert version.status == "ready", version.status_reason
    assert job.result["model"]["version"] == 1
    assert (job.progress, job.attempts_used) == (1.0, 1)
    assert job.spec["datasets"] == {"train": "digits@1"}
    events = octavo.events(job_id)
    assert [event.seq for event in events] == list(range(1, job.last_event_seq + 1))
    moves = [event.data["to"] for event in events if event.kind == "status"]
    assert moves == ["queued", "starting", "running", "succeeded"]
    assert {"metrics", "progress", "checkpoint", "model"} <= {event.kind for event in events}
    with transaction(octavo.engine) as session:
        names = set(session.scalars(select(JobMetric.name).where(JobMetric.job_id == job_id)))
        kinds = set(session.scalars(select(Artifact.kind).where(Artifact.job_id == job_id)))
    assert "val/accuracy" in names
    assert "checkpoint" in kinds
    assert version.lineage["job_id"] == str(job_id)
    assert set(version.lineage["dataset_digests"]) == {"train"}
    assert octavo.terminate("worker") == 0
    assert octavo.terminate("relay") == 0
    assert octavo.children() == []
    assert not (octavo.home / "attempts" / str(job_id)).exists()


def test_frskd_trains_in_two_processes_and_makes_one_version(octavo: Platform):
    add_digits(octavo)
    start(octavo)
    job_id = octavo.submit(training(method="frskd", resources={"device": "cpu", "gpus": 2}))
    until(lambda: len(octavo.children()) == 3, "torchrun and its two ranks run")
    job = octavo.wait_for(job_id, "succeeded")
    (version,) = octavo.versions(job_id)
    assert version.status == "ready", version.status_reason
    assert (version.method, job.attempts_used) == ("frskd", 1)
    assert 0 <= job.result["metrics"]["test/accuracy"] <= 1
    events = octavo.events(job_id)
    done = [event.data["fraction"] for event in events if event.kind == "progress"]
    assert done
    assert done == sorted(done)
    assert [event.kind for event in events].count("model") == 1
    with transaction(octavo.engine) as session:
        files = session.scalars(select(Artifact.name).where(Artifact.job_id == job_id)).all()
    assert files.count("report.html") == 1


def test_upload_becomes_a_data_set_that_is_trained_on_evaluated_and_predicted(octavo: Platform):
    start(octavo)
    version_id, job_id = upload(octavo, digits_npz())
    octavo.wait_for(job_id, "succeeded")
    version = dataset_version(octavo, version_id)
    assert version.status == "ready"
    assert sum(split["pictures"] for split in version.manifest["splits"].values()) == 300
    assert version.report["seconds"] >= 0
    trained = octavo.submit(training())
    references = {"datasets": {"data": "digits"}, "models": {"model": "tiny"}}
    octavo.wait_for(trained, "succeeded")
    evaluated = octavo.submit(parse_spec({"method": "evaluate", "name": "evaluate-tiny", **references}))
    predicted = octavo.submit(parse_spec({"method": "predict", "name": "predict-tiny", **references}))
    assert 0 <= octavo.wait_for(evaluated, "succeeded").result["metrics"]["test/accuracy"] <= 1
    octavo.wait_for(predicted, "succeeded")
    with transaction(octavo.engine) as session:
        files = select(Artifact.name).where(Artifact.job_id.in_([evaluated, predicted]))
        names = set(session.scalars(files))
    assert any(name.endswith("report.html") for name in names)
    assert any(name.endswith(".csv") for name in names)


def test_validation_and_dry_run_end_while_a_training_runs(octavo: Platform):
    add_digits(octavo, name="known")
    octavo.start_relay()
    octavo.start_scripted_worker()
    octavo.start_worker("short-worker", **SHORT_WORKER)
    long = octavo.submit(scripted_training())
    octavo.wait_for(long, "running")
    _, validation = upload(octavo, digits_npz())
    estimate = octavo.submit(
        parse_spec(
            {"method": "estimate", "datasets": {"train": "known"}, "config": {"of": "supervised", "config": TINY}}
        )
    )
    octavo.wait_for(validation, "succeeded")
    octavo.wait_for(estimate, "succeeded")
    assert octavo.job(long).status == "running"
    octavo.allow(6)
    octavo.wait_for(long, "succeeded")


def test_broken_upload_fails_its_job_once_and_makes_the_version_invalid(octavo: Platform):
    start(octavo)
    version_id, job_id = upload(octavo, b"this is no archive")
    job = octavo.wait_for(job_id, "failed")
    assert job.attempts_used == 1
    assert job.error["error"] == "InvalidDatasetError"
    version = dataset_version(octavo, version_id)
    assert version.status == "invalid"
    assert [problem["code"] for problem in version.report["problems"]] == ["archive"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": {"train": "nothing"}}, "There is no data set 'nothing'"),
        ({"models": {"init": "nothing"}}, "There is no model 'nothing'"),
        ({"resources": {"device": "cuda", "queue": "cpu"}}, "this worker has no GPU"),
        ({"config": TINY | {"model": "torchvision/resnet9000"}}, "Did you mean torchvision/resnet"),
        (
            {"config": TINY | {"model": "torchvision/resnet18", "pretrained": True}},
            "no weights for torchvision/resnet18",
        ),
        ({"method": "frskd", "config": TINY | {"taps": ["nope"]}}, "no module of the model matches the tap 'nope'"),
        ({"method": "frskd", "config": TINY | {"taps": ["fc"]}}, "map"),
    ],
)
def test_request_that_cannot_be_met_fails_at_once_and_says_why(octavo: Platform, changes, message: str):
    add_digits(octavo)
    octavo.start_relay()
    octavo.start_worker(CUDA_VISIBLE_DEVICES="")
    job = octavo.wait_for(octavo.submit(training(**changes)), "failed")
    assert message in job.error["message"]
    assert job.attempts_used == 1


def test_a_teacher_is_trained_first_and_the_student_learns_from_that_version(octavo: Platform):
    add_digits(octavo)
    start(octavo)
    plan = {"train": {**TINY, "epochs": 3}}
    spec = parse_spec({"method": "afd", "datasets": {"train": "digits"}, "teacher": plan, "config": TINY})
    with transaction(octavo.engine) as session:
        job_id = accept(session, DEFAULT_PROJECT_ID, spec).id
    job = octavo.wait_for(job_id, "succeeded")
    assert job.spec["models"] == {"teacher": "digits-afd-teacher@1"}
    (student,) = octavo.versions(job_id)
    assert student.lineage["parent_digests"]["teacher"] == job.spec["digests"]["models/teacher"]
