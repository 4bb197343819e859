"""Schedules over HTTP: made, changed, steered, run by hand; what is wrong with one is said where it is wrong."""

from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs.firing import fire_next
from libs.registry.datasets import delete_dataset
from libs.web.auth import Scope
from tests.integration.gateway.conftest import KeyMaker
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.registry import add_version, next_item_bundle
from tests.support.schedules import make_due

JOB = {"method": "supervised", "datasets": {"train": "digits"}}
NIGHTLY = {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "job": JOB}
PLAN = {key: value for key, value in NIGHTLY.items() if key != "name"}
CLICKS = {"name": "clicks", "source": {"recorded": {"base": "clicks@1"}}}
UPDATE = {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop"}}


@pytest.fixture
def shop(engine: Engine) -> None:
    """A data set `clicks` of events and a recommender `shop`."""
    with transaction(engine) as session:
        add_dataset(session, "clicks", manifest=EVENTS_MANIFEST)
        add_version(session, "shop", bundle=next_item_bundle())


def create(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/schedules", json={**NIGHTLY, **changes})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/schedules/{answer.json()['name']}"
    return answer.json()


def fire(engine: Engine) -> None:
    with transaction(engine) as session:
        make_due(session)
    with transaction(engine) as session:
        assert fire_next(session, "") is not None


def test_a_schedule_is_made_read_and_deleted(client: TestClient, digits: str) -> None:
    made = create(client)
    assert (made["status"], made["overlap"], made["misfire"], made["last_run"]) == ("active", "skip", "once", None)
    assert (made["job"], made["dataset"]) == (JOB, None)
    assert client.get("/v1/schedules/nightly").json() == made
    assert client.get("/v1/schedules").json()["items"] == [made]
    assert client.get("/v1/jobs").json()["items"] == []
    assert client.delete("/v1/schedules/nightly").status_code == 204
    assert client.get("/v1/schedules/nightly").status_code == 404


def test_what_a_firing_made_is_seen_with_its_job(client: TestClient, digits: str, engine: Engine) -> None:
    create(client)
    fire(engine)
    fire(engine)
    skipped, submitted = client.get("/v1/schedules/nightly/runs").json()["items"]
    (job,) = client.get("/v1/jobs").json()["items"]
    assert (submitted["outcome"], submitted["fired_by"], submitted["job"]["id"]) == ("submitted", "clock", job["id"])
    assert submitted["job"]["status"] == "queued"
    assert (skipped["outcome"], skipped["job"]) == ("skipped", None)
    assert client.get("/v1/schedules/nightly").json()["last_run"] == skipped
    first = client.get("/v1/schedules/nightly/runs", params={"limit": 1}).json()
    after = client.get("/v1/schedules/nightly/runs", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [first["items"], after["items"], after["next_cursor"]] == [[skipped], [submitted], None]


def test_jobs_name_their_schedule_and_it_lists_them(
    client: TestClient, shop: None, digits: str, engine: Engine
) -> None:
    other = client.post("/v1/jobs", json=JOB).json()
    assert other["schedule"] is None
    create(client, job=UPDATE, dataset=CLICKS)
    fire(engine)
    job = client.get("/v1/schedules/nightly/runs").json()["items"][0]["job"]
    listed = client.get("/v1/schedules/nightly/jobs").json()["items"]
    assert [one["method"] for one in listed] == ["update", "validate-dataset"]
    assert {one["schedule"] for one in listed} == {"nightly"}
    assert client.get(f"/v1/jobs/{job['id']}").json()["schedule"] == "nightly"
    assert client.get("/v1/jobs", params={"schedule": "nightly"}).json()["items"] == listed
    assert client.get("/v1/jobs", params={"schedule": "nightl"}).json()["items"] == []
    assert client.get("/v1/jobs", params={"schedule": "No Name"}).status_code == 422
    assert client.get("/v1/schedules/nightl/jobs").json()["code"] == "schedule_not_found"
    first = client.get("/v1/schedules/nightly/jobs", params={"limit": 1}).json()
    after = client.get("/v1/schedules/nightly/jobs", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [*first["items"], *after["items"]] == listed
    assert client.delete("/v1/schedules/nightly").status_code == 204
    assert client.get("/v1/jobs", params={"schedule": "nightly"}).json()["items"] == listed


def test_a_firing_that_is_refused_shows_why(client: TestClient, digits: str, engine: Engine) -> None:
    create(client)
    with transaction(engine) as session:
        delete_dataset(session, DEFAULT_PROJECT_ID, "digits")
    for _ in range(5):
        fire(engine)
    schedule = client.get("/v1/schedules/nightly").json()
    assert (schedule["status"], schedule["next_run_at"], schedule["refusals"]) == ("paused", None, 5)
    assert schedule["last_run"]["reason"] == "/job/datasets/train: There is no data set 'digits'."
    assert schedule["last_run"]["reason"] in schedule["status_reason"]


def test_pause_resume_and_run_now(client: TestClient, digits: str) -> None:
    create(client)
    paused = client.post("/v1/schedules/nightly/pause").json()
    assert (paused["status"], paused["next_run_at"], paused["status_reason"]) == ("paused", None, None)
    answer = client.post("/v1/schedules/nightly/runs", headers={"Idempotency-Key": "now"})
    run = answer.json()
    assert (answer.status_code, run["fired_by"], run["job"]["status"]) == (202, "user", "queued")
    assert answer.headers["location"] == f"/v1/jobs/{run['job']['id']}"
    assert client.post("/v1/schedules/nightly/runs", headers={"Idempotency-Key": "now"}).json() == run
    busy = client.post("/v1/schedules/nightly/runs")
    assert (busy.status_code, busy.json()["code"]) == (409, "schedule_busy")
    resumed = client.post("/v1/schedules/nightly/resume").json()
    assert (resumed["status"], resumed["last_run"]) == ("active", run)
    assert resumed["next_run_at"] is not None


def test_another_plan_replaces_all_of_it(client: TestClient, digits: str) -> None:
    create(client, overlap="allow")
    answer = client.put("/v1/schedules/nightly", json={"every_s": 3600, "job": {**JOB, "seed": 3}})
    changed = answer.json()
    assert (answer.status_code, changed["cron"], changed["every_s"], changed["timezone"]) == (200, None, 3600, "UTC")
    assert (changed["overlap"], changed["job"]["seed"]) == ("skip", 3)
    assert client.put("/v1/schedules/other", json=PLAN).status_code == 404


def test_the_same_request_twice_makes_one_and_a_name_is_taken_once(client: TestClient, digits: str) -> None:
    headers = {"Idempotency-Key": "k"}
    first, again = (client.post("/v1/schedules", json=NIGHTLY, headers=headers) for _ in range(2))
    assert again.json() == first.json()
    taken = client.post("/v1/schedules", json=NIGHTLY)
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")


def test_a_data_set_is_made_before_the_job(client: TestClient, shop: None, engine: Engine) -> None:
    made = create(client, job=UPDATE, dataset=CLICKS)
    assert made["dataset"] == CLICKS
    assert [one["version"] for one in client.get("/v1/datasets/clicks").json()["versions"]] == [1]
    fire(engine)
    (run,) = client.get("/v1/schedules/nightly/runs").json()["items"]
    assert (run["dataset"], run["job"]["status"]) == ("clicks@2", "waiting")
    assert client.get("/v1/datasets/clicks/versions/2").json()["source"]["recorded"] == {"base": "clicks@1"}


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"cron": "0 3 * *"}, "/cron", "five fields"),
        ({"cron": "0 25 * * *"}, "/cron", "The field hour"),
        ({"timezone": "Europe/Berln"}, "/timezone", "'Europe/Berlin'"),
        ({"cron": None, "every_s": 59}, "/every_s", "greater than or equal to 60"),
        ({"every_s": 60}, "", "either `cron` or `every_s`"),
        ({"cron": None}, "", "either `cron` or `every_s`"),
        ({"overlap": "queue"}, "/overlap", "'skip' or 'allow'"),
        ({"name": "No Name"}, "/name", "like 'no-name'"),
        ({"job": {**JOB, "method": "supervise"}}, "/job/method", "supervised"),
        ({"job": {**JOB, "config": {"epoch": 2}}}, "/job/config/epoch", "'epochs'"),
        ({"job": {**JOB, "datasets": {"train": "digit"}}}, "/job/datasets/train", "'digits'"),
        ({"job": {**JOB, "datasets": {}}}, "/job/datasets/train", "needs the name of a"),
        ({"job": {"method": "validate-dataset"}}, "/job/method", "POST /v1/datasets"),
        ({"job": {**JOB, "name": "a\0"}}, "/job/name", "NUL"),
        ({"dataset": {"name": "digits", "source": {}}}, "/dataset/source", "exactly one"),
        ({"dataset": {"name": "digits", "source": {"upload": "a.zip"}}}, "/dataset/source/upload", "Nobody sends"),
        ({"dataset": {"name": "digits", "source": {"path": "/"}}}, "/dataset/source/path", "not under a folder"),
        ({"dataset": {"name": "digits", "source": {"recorded": {}}}}, "/job/datasets/train", "holds events"),
        ({"dataset": {"name": "other", "source": {"recorded": {}}}}, "/job/datasets", "No role reads 'other'"),
    ],
)
def test_a_wrong_field_is_pointed_at(
    client: TestClient, digits: str, changes: dict[str, Any], pointer: str, said: str
) -> None:
    body = {key: value for key, value in {**NIGHTLY, **changes}.items() if value is not None}
    answer = client.post("/v1/schedules", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["message"]
    assert client.get("/v1/schedules").json()["items"] == []


def test_a_schedule_does_no_more_than_the_key_that_makes_it(
    client: TestClient, shop: None, digits: str, make_headers: KeyMaker
) -> None:
    jobs_only, reader = make_headers(Scope.JOBS_WRITE), make_headers(Scope.JOBS_READ)
    with_data = {**NIGHTLY, "job": UPDATE, "dataset": CLICKS}
    refused = client.post("/v1/schedules", json=with_data, headers=jobs_only)
    assert (refused.status_code, "datasets:write" in refused.json()["detail"]) == (403, True)
    both = make_headers(Scope.JOBS_WRITE, Scope.DATASETS_WRITE)
    assert client.post("/v1/schedules", json=with_data, headers=both).status_code == 201
    assert client.post("/v1/schedules/nightly/runs", headers=jobs_only).status_code == 403
    assert client.put("/v1/schedules/nightly", json=PLAN, headers=reader).status_code == 403
    assert client.get("/v1/schedules", headers=reader).status_code == 200


def test_another_project_sees_none_of_it(client: TestClient, digits: str, other_project: dict[str, str]) -> None:
    create(client)
    assert client.get("/v1/schedules", headers=other_project).json()["items"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/runs"), ("GET", "/runs")):
        assert client.request(method, f"/v1/schedules/nightly{path}", headers=other_project).status_code == 404
