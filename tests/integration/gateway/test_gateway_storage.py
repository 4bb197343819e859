"""What takes space, and getting it back."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, text, update
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import Job
from libs.jobs.retention import BATCH
from libs.web.auth import Scope
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker, stored_long_ago

DAY_S = 86_400


def test_usage_lists_what_is_stored(client: TestClient, digits: str):
    items = client.get("/v1/storage").json()["items"]
    assert [(one["noun"], one["name"], one["items"]) for one in items if one["noun"] == "dataset"] == [
        ("dataset", "digits", 1)
    ]


def test_usage_of_another_project_is_not_shown(client: TestClient, digits: str, other_project: dict[str, str]):
    assert client.get("/v1/storage", headers=other_project).json() == {"items": []}


def test_gc_takes_what_no_row_names_and_a_rehearsal_takes_nothing(
    client: TestClient, settings: GatewaySettings, tmp_path: Path
):
    uri = stored_long_ago(settings, tmp_path, b"orphan")
    path = Path(uri.removeprefix("file://"))
    rehearsed = client.post("/v1/storage/gc", params={"dry_run": True}).json()
    assert rehearsed == {"jobs": 0, "files": 1, "size_bytes": 6, "dry_run": True}
    assert path.exists()
    assert client.post("/v1/storage/gc").json() == {"jobs": 0, "files": 1, "size_bytes": 6, "dry_run": False}
    assert not path.exists()


@pytest.mark.parametrize("told", [{"json": {"dry_run": True}}, {"params": {"dry_run": "1"}}])
def test_a_rehearsal_is_asked_for_in_the_body_or_in_the_query(
    client: TestClient, settings: GatewaySettings, tmp_path: Path, told: dict[str, Any]
):
    uri = stored_long_ago(settings, tmp_path, b"orphan")
    answer = client.post("/v1/storage/gc", **told)
    assert (answer.status_code, answer.json()["dry_run"], answer.json()["files"]) == (200, True, 1)
    assert Path(uri.removeprefix("file://")).exists()


@pytest.mark.parametrize(
    ("told", "pointer"),
    [
        ({"json": {"x": 1}}, "/x"),
        ({"json": []}, ""),
        ({"params": {"dry-run": True}}, "/dry-run"),
        ({"json": {"dry_run": True}, "params": {"dry_run": False}}, "/dry_run"),
    ],
)
def test_gc_collects_nothing_when_it_does_not_understand(
    client: TestClient, settings: GatewaySettings, tmp_path: Path, told: dict[str, Any], pointer: str
):
    uri = stored_long_ago(settings, tmp_path, b"orphan")
    answer = client.post("/v1/storage/gc", **told)
    assert (answer.status_code, [one["pointer"] for one in answer.json()["errors"]]) == (422, [pointer])
    assert Path(uri.removeprefix("file://")).exists()


def test_a_rehearsal_keeps_the_rows_that_gc_would_forget(client: TestClient, engine: Engine, digits: str):
    assert client.delete("/v1/datasets/digits").status_code == 204
    with transaction(engine) as session:
        session.execute(text("UPDATE datasets SET deleted_at = now() - interval '8 days'"))
    count = text("SELECT count(*) FROM datasets")
    client.post("/v1/storage/gc", params={"dry_run": True})
    with transaction(engine) as session:
        assert session.scalar(count) == 1
    client.post("/v1/storage/gc")
    with transaction(engine) as session:
        assert session.scalar(count) == 0


def test_gc_deletes_old_jobs_when_asked(client: TestClient, engine: Engine, digits: str):
    spec = {"method": "frskd", "datasets": {"train": "digits"}}
    live, recent = (client.post("/v1/jobs", json=spec).json()["id"] for _ in range(2))
    client.post(f"/v1/jobs/{recent}/cancel")
    old = client.post("/v1/job-groups", json={"job": spec, "seeds": list(range(BATCH + 1))}).json()["id"]
    client.post(f"/v1/job-groups/{old}/cancel")
    with transaction(engine) as session:
        long_ago = func.now() - timedelta(days=31)
        session.execute(update(Job).where(Job.group_id == UUID(old)).values(finished_at=long_ago))

    def collected(**params: float) -> tuple[int, int]:
        answer = client.post("/v1/storage/gc", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["jobs"], len(client.get("/v1/jobs", params={"limit": 200}).json()["items"])

    assert collected() == (0, BATCH + 3)
    assert collected(jobs_older_than_s=30 * DAY_S, dry_run=True) == (BATCH + 1, BATCH + 3)
    assert collected(jobs_older_than_s=30 * DAY_S) == (BATCH + 1, 2)
    assert collected(jobs_older_than_s=0) == (1, 1)
    assert client.get(f"/v1/jobs/{live}").json()["status"] == "queued"
    assert client.post("/v1/storage/gc", params={"jobs_older_than_s": -1}).status_code == 422


def test_gc_needs_an_admin(client: TestClient, make_headers: KeyMaker):
    answer = client.post("/v1/storage/gc", headers=make_headers(Scope.DATASETS_READ))
    assert answer.status_code == 403
