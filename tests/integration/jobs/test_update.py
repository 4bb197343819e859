"""A recommender is kept fresh as its owner would do it: recorded events, a schedule, and the job `update`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from starlette.testclient import TestClient

from libs.data.manifest import read_manifest
from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion, UserEvent
from tests.support.events import events_folder, walks
from tests.support.gateway import gateway_of
from tests.support.platform import Platform, add_ready
from tests.support.schedules import make_due
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)  # real trainings, on machines that may be busy

TINY = {"width": 8, "epochs": 12, "lr": 0.03, "max_length": 8, "batch_size": 16, "exclude_seen": False}
KNOWN = walks(users=60, items=8)


@pytest.fixture
def gateway(octavo: Platform) -> Iterator[TestClient]:
    """The platform with a relay, a worker, and a data set `walks` of earlier events."""
    folder = events_folder(octavo.home / "made-walks", KNOWN)
    add_ready(octavo, "walks", folder, read_manifest(folder))
    octavo.start_relay()
    octavo.start_worker()
    with gateway_of(octavo) as client:
        yield client


def record_newer(octavo: Platform) -> None:
    """Everybody goes on walking, where `new` is what was i0."""
    now = datetime.now(UTC)
    rows = [
        UserEvent(
            project_id=DEFAULT_PROJECT_ID,
            event_key=uuid4(),
            user_id=user,
            item_id="new" if item == "i0" else item,
            type="view",
            occurred_at=now - timedelta(hours=1) + timedelta(seconds=time - KNOWN[0][2]),
        )
        for user, item, time in KNOWN
    ]
    with transaction(octavo.engine) as session:
        session.add_all(rows)


def submit(gateway: TestClient, **body: Any) -> UUID:
    answer = gateway.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def update(**config: Any) -> dict[str, Any]:
    references = {"datasets": {"train": "clicks"}, "models": {"init": "shop@production"}}
    return {"method": "update", **references, "config": {"promote": "production", **config}}


def fired(octavo: Platform, gateway: TestClient, schedule: dict[str, Any]) -> UUID:
    """The job of a schedule that is due."""
    made = gateway.post("/v1/schedules", json=schedule)
    assert made.status_code == 201, made.text
    with transaction(octavo.engine) as session:
        make_due(session, schedule["name"])
    seen = f"/v1/schedules/{schedule['name']}"
    run = until(lambda: gateway.get(seen).json()["last_run"], "it was fired")
    assert run["outcome"] == "submitted", run
    return UUID(run["job"]["id"])


def made_by(octavo: Platform, job_id: UUID) -> ModelVersion:
    octavo.wait_for(job_id, "succeeded")
    (version,) = octavo.versions(job_id)
    return version


def test_a_schedule_updates_a_recommender_and_its_alias_by_recorded_events(
    octavo: Platform, gateway: TestClient, tmp_path: Path
):
    trained = submit(gateway, method="gru4rec", name="shop", datasets={"train": "walks"}, config=TINY)
    parent = made_by(octavo, trained)
    beside = {"models": {"gru4rec": "shop"}, "config": {**TINY, "epochs": 1}}
    other = submit(gateway, method="narm", name="other", datasets={"train": "walks"}, **beside)
    assert made_by(octavo, other).lineage["parent_digests"] == {}
    figures = octavo.job(other).result["metrics"]
    assert figures["baseline/gru4rec/test/ndcg@10"] == pytest.approx(parent.metrics["test/ndcg@10"], abs=1e-9)
    alias = "/v1/models/shop/aliases/production"
    assert gateway.put(alias, json={"version": 1}, headers={"If-None-Match": "*"}).is_success
    record_newer(octavo)
    dataset = {"name": "clicks", "source": {"recorded": {"since_days": 7, "base": "walks"}}}
    nightly = {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "dataset": dataset}

    good = fired(octavo, gateway, {**nightly, "job": update(epochs=4, lr_share=1.0)})
    child = made_by(octavo, good)
    assert (child.version, child.status) == (2, "ready")
    assert octavo.job(good).spec["datasets"] == {"train": "clicks@1"}
    made = gateway.get("/v1/datasets/clicks/versions/1").json()
    assert octavo.job(good).spec["digests"] == {"datasets/train": made["digest"], "models/init": parent.digest}
    assert child.lineage["parent_digests"]["init"] == parent.digest
    (tmp_path / "items.parquet").write_bytes(octavo.model_file(child, "items.parquet"))
    assert "new" in pl.read_parquet(tmp_path / "items.parquet")["id"].to_list()
    assert octavo.job(good).result["model"]["promoted"] == "production"
    assert gateway.get(alias).json()["version"] == 2

    bad = submit(gateway, **update(epochs=1, tolerance=0.0, config={"lr": 5.0}))
    worse = made_by(octavo, bad)
    compared = worse.bundle["against_parent"]
    assert (worse.version, worse.status) == (3, "rejected")
    assert worse.lineage["parent_digests"]["init"] == child.digest
    assert f"{compared['child']:.4g}" in worse.status_reason
    assert f"{compared['parent']:.4g}" in worse.status_reason
    assert "rejected" in octavo.job(bad).result["model"]["not_promoted"]
    assert gateway.get(alias).json()["version"] == 2
