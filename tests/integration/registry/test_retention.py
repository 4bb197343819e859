"""What takes space and what may go, on a real Postgres and real files."""

import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, Job, JobCheckpoint, Model
from libs.registry.artifacts import ArtifactStore
from libs.registry.datasets import create_version, upload_folder
from libs.registry.models import delete_model
from libs.registry.retention import (
    Collected,
    RetentionPolicy,
    Usage,
    collect,
    purge,
    referenced_uris,
    unreferenced,
    usage,
)
from libs.registry.uploads import record_upload
from tests.support.bundles import make_bundle
from tests.support.registry import add_job, add_version, stored_folder

P = DEFAULT_PROJECT_ID


def add_checkpoint(db: Session, job: Job, epoch: int, step: int) -> UUID:
    artifact = Artifact(
        id=uuid4(), project_id=P, job_id=job.id, kind="checkpoint", name="c", uri=f"file:///{uuid4()}",
        digest="0" * 64, size_bytes=5,
    )  # fmt: skip
    db.add(artifact)
    db.flush()
    db.add(JobCheckpoint(job_id=job.id, epoch=epoch, step=step, artifact_id=artifact.id))
    db.flush()
    return artifact.id


def test_usage_is_summed_by_noun(db: Session) -> None:
    add_version(db, "cats", folder=stored_folder(100))
    add_version(db, "cats", folder=stored_folder(50))
    job = add_job(db)
    add_checkpoint(db, job, 1, 1)
    add_checkpoint(db, job, 1, 2)
    assert usage(db, P) == [Usage("model", "cats", 2, 150), Usage("artifact", "checkpoint", 2, 10)]


def test_old_files_that_no_row_names_are_found(db: Session, tmp_path: Path) -> None:
    store = ArtifactStore((tmp_path / "store").as_uri())
    kept = store.put_folder(_bundle(tmp_path / "kept"))
    lost = store.put_file(tmp_path / "kept" / "recipe.json", "jobs/1/old.json")
    store.put_file(tmp_path / "kept" / "recipe.json", "jobs/1/young.json")
    add_version(db, folder=kept)
    for entry in store.entries():
        if not entry.uri.endswith("young.json"):
            os.utime(entry.uri.removeprefix("file://"), (1e9, 1e9))

    named = referenced_uris(db, store)
    assert [entry.uri for entry in unreferenced(named, store)] == [lost.uri]
    assert collect(named, store, dry_run=True) == Collected(1, lost.size_bytes)
    assert store.exists(lost.uri)
    assert collect(named, store) == Collected(1, lost.size_bytes)
    assert not store.exists(lost.uri)
    assert collect(named, store) == Collected(0, 0)
    assert store.size_bytes(kept.uri) == kept.size_bytes
    with pytest.raises(ValueError, match="grace"):
        next(unreferenced(named, store, timedelta(minutes=5)))


def test_replaced_checkpoints_go_and_the_newest_stays(db: Session) -> None:
    job, other = add_job(db), add_job(db)
    add_checkpoint(db, job, 1, 100)
    add_checkpoint(db, job, 1, 200)
    newest = add_checkpoint(db, job, 2, 150)
    only = add_checkpoint(db, other, 1, 1)
    assert purge(db, RetentionPolicy()).checkpoints == 2
    assert set(db.scalars(select(Artifact.id))) == {newest, only}


def test_a_replaced_checkpoint_that_another_job_has_keeps_its_file(db: Session) -> None:
    failed, retried = add_job(db), add_job(db)
    shared = add_checkpoint(db, failed, 1, 100)
    db.add(JobCheckpoint(job_id=retried.id, epoch=0, step=100, artifact_id=shared))
    newest = add_checkpoint(db, retried, 1, 200)
    assert purge(db, RetentionPolicy()).checkpoints == 1
    assert set(db.scalars(select(Artifact.id))) == {shared, newest}


def test_deleted_models_go_after_a_while(db: Session) -> None:
    add_version(db, "old")
    add_version(db, "young")
    for name in ("old", "young"):
        delete_model(db, P, name)
    db.flush()
    db.execute(text("UPDATE models SET deleted_at = now() - interval '8 days' WHERE name = 'old'"))
    assert purge(db, RetentionPolicy()).models == 1
    assert list(db.scalars(select(Model.name))) == ["young"]


def _bundle(folder: Path) -> Path:
    make_bundle(folder)
    return folder


def test_an_upload_that_has_not_come_to_its_end_is_kept(db: Session, tmp_path: Path) -> None:
    store = ArtifactStore((tmp_path / "store").as_uri())
    version = create_version(db, P, "cats", {"upload": "cats.zip"})
    (tmp_path / "half").write_bytes(b"half")
    begun = store.put_file(tmp_path / "half", f"{upload_folder(version.id)}/cats.zip.part")
    os.utime(begun.uri.removeprefix("file://"), (1e9, 1e9))
    assert list(unreferenced(referenced_uris(db, store), store)) == []
    long_ago = referenced_uris(db, store, RetentionPolicy(uploads_after=timedelta(0)))
    assert [entry.uri for entry in unreferenced(long_ago, store)] == [begun.uri]


def test_a_model_file_goes_when_no_job_may_import_it_any_more(db: Session, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    stored = ArtifactStore((tmp_path / "store").as_uri()).put_file(tmp_path / "m.onnx")
    wanted, done = (record_upload(db, P, "m.onnx", stored).id for _ in range(2))
    for artifact, status in ((wanted, "queued"), (done, "failed")):
        job = add_job(db)
        job.status, job.spec = status, {"config": {"artifact": str(artifact)}}
    db.flush()
    assert purge(db, RetentionPolicy()).uploads == 0
    assert purge(db, RetentionPolicy(uploads_after=timedelta(0))).uploads == 1
    assert db.scalars(select(Artifact.id)).all() == [wanted]
