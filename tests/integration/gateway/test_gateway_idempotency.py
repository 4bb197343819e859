"""Every POST that creates something is done once under one `Idempotency-Key`."""

from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.web.addresses import routes_of
from services.gateway.app import create_app
from tests.support.registry import add_version

JOB = {"method": "frskd", "datasets": {"train": "digits"}}
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/jobs": JOB,
    "/v1/job-groups": {"job": JOB, "seeds": [0, 1]},
    "/v1/datasets": {"name": "cats", "source": {"upload": "cats.zip"}},
    "/v1/datasets/digits/versions": {"source": {"upload": "more.zip"}},
    "/v1/deployments": {"name": "live", "model": "cats"},
    "/v1/keys": {"name": "ci", "scopes": ["jobs:read"]},
}
TABLES = ("jobs", "dataset_versions", "deployments", "api_keys")


def rows(engine: Engine) -> list[int]:
    with transaction(engine) as session:
        return [session.scalar(text(f"SELECT count(*) FROM {table}")) for table in TABLES]


@pytest.mark.parametrize("path", REQUESTS)
def test_a_repeat_makes_nothing_and_gets_the_first_answer(
    client: TestClient, engine: Engine, digits: str, path: str
) -> None:
    with transaction(engine) as session:
        add_version(session, "cats")
    headers = {"Idempotency-Key": "k-1"}
    first = client.post(path, json=REQUESTS[path], headers=headers)
    assert first.status_code in (201, 202), first.text
    made = rows(engine)
    again = client.post(path, json=REQUESTS[path], headers=headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (first.status_code, "true")
    assert again.headers.get("Location") == first.headers.get("Location")
    assert again.json() == {**first.json(), **({"key": None} if path == "/v1/keys" else {})}
    assert rows(engine) == made
    other = client.post("/v1/keys", json={"name": "other", "scopes": ["infer"]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_the_text_of_a_key_is_stored_nowhere(client: TestClient, engine: Engine) -> None:
    made = client.post("/v1/keys", json=REQUESTS["/v1/keys"], headers={"Idempotency-Key": "k"}).json()["key"]
    with transaction(engine) as session:
        stored = session.scalars(text("SELECT row_to_json(k)::text FROM idempotency_keys k")).all()
    assert len(stored) == 1
    assert made.rpartition("_")[2] not in stored[0]


def test_a_route_that_answers_with_something_new_takes_the_header() -> None:
    app = create_app()
    described = app.openapi()["paths"]
    creating = {
        route.path_format
        for route in routes_of(app)
        if isinstance(route, APIRoute) and route.methods == {"POST"} and route.status_code in (201, 202)
    }
    without = {
        path
        for path in creating
        if "Idempotency-Key" not in [one["name"] for one in described[path]["post"].get("parameters", [])]
    }
    steering = {f"/v1/jobs/{{job_id}}/{action}" for action in ("cancel", "pause", "resume")}
    completing = {"/v1/job-groups/{group_id}/cancel", "/v1/datasets/{name}/versions/{number}/complete"}
    assert without == steering | completing
