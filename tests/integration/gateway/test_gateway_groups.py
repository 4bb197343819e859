"""Job groups: seeds and grids as one submission and one table."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import Job

JOB = {"method": "frskd", "datasets": {"train": "digits"}, "config": {"epochs": 2}}


def submit(client: TestClient, **body: object) -> dict:
    answer = client.post("/v1/job-groups", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/job-groups/{answer.json()['id']}"
    return answer.json()


def test_seeds_and_a_grid_become_one_job_for_each_combination(client: TestClient, digits: str) -> None:
    group = submit(client, job=JOB, seeds=[0, 1], grid={"lr": [0.1, 0.2], "sla": [True, False]})
    found = {(m["seed"], m["varied"]["lr"], m["varied"]["sla"]) for m in group["members"]}
    assert found == {(seed, lr, sla) for seed in (0, 1) for lr in (0.1, 0.2) for sla in (True, False)}
    assert group["counts"] == {"queued": 8}
    listed = client.get("/v1/jobs", params={"group": group["id"]}).json()["items"]
    assert {job["id"] for job in listed} == {m["job"]["id"] for m in group["members"]}
    assert client.get(f"/v1/job-groups/{group['id']}").json() == group


def test_seeds_alone_vary_nothing_else(client: TestClient, digits: str) -> None:
    group = submit(client, job=JOB, seeds=[3, 4])
    assert [(member["seed"], member["varied"]) for member in group["members"]] == [(3, {}), (4, {})]


def test_a_list_of_jobs_may_mix_methods(client: TestClient, digits: str) -> None:
    group = submit(client, jobs=[JOB, {**JOB, "method": "supervised", "seed": 5}])
    assert [member["job"]["method"] for member in group["members"]] == ["frskd", "supervised"]
    assert group["members"][1]["varied"]["temperature"] is None


def test_final_figures_are_in_the_table(client: TestClient, digits: str, engine: Engine) -> None:
    group = submit(client, job=JOB, seeds=[0, 1])
    with transaction(engine) as session:
        session.get_one(Job, UUID(group["members"][0]["job"]["id"])).result = {"metrics": {"test/accuracy": 0.9}}
    found = client.get(f"/v1/job-groups/{group['id']}").json()
    assert [member["metrics"] for member in found["members"]] == [{"test/accuracy": 0.9}, {}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"jobs": [JOB, {**JOB, "config": {"lr": -1}}]}, "/jobs/1/config/lr"),
        ({"jobs": [JOB, {**JOB, "datasets": {"train": "nix"}}]}, "/jobs/1/datasets/train"),
        ({"job": JOB, "grid": {"lr": [0.1, -1]}}, "/job/config/lr"),
        ({"job": {**JOB, "datasets": {"train": "nix"}}, "seeds": [0]}, "/job/datasets/train"),
        ({"job": JOB, "seeds": list(range(150)), "grid": {"sla": [True, False]}}, "/grid"),
        ({"job": JOB, "grid": {"lr": []}}, "/grid/lr"),
        ({"job": {**JOB, "config": 7}, "seeds": [0]}, "/job/config"),
        ({"jobs": [JOB], "seeds": [1]}, ""),
        ({"jobs": [JOB], "job": JOB}, ""),
        ({"jobs": []}, "/jobs"),
        ({}, ""),
    ],
)
def test_when_one_job_is_wrong_none_is_submitted(client: TestClient, digits: str, body: dict, pointer: str) -> None:
    answer = client.post("/v1/job-groups", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert client.get("/v1/jobs").json()["items"] == []


def test_a_group_is_submitted_once_for_one_idempotency_key(client: TestClient, digits: str) -> None:
    body, headers = {"job": JOB, "seeds": [0, 1]}, {"Idempotency-Key": "g"}
    first, again = (client.post("/v1/job-groups", json=body, headers=headers) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["items"]) == 2


def test_a_group_is_cancelled_as_one(client: TestClient, digits: str) -> None:
    group = submit(client, job=JOB, seeds=[0, 1])
    client.post(f"/v1/jobs/{group['members'][0]['job']['id']}/cancel")
    answer = client.post(f"/v1/job-groups/{group['id']}/cancel")
    assert (answer.status_code, answer.json()["counts"]) == (202, {"cancelled": 2})


def test_groups_that_are_not_there(client: TestClient, digits: str, other_project: dict[str, str]) -> None:
    group = submit(client, job=JOB, seeds=[0])
    for path, headers in ((uuid4(), {}), (group["id"], other_project)):
        assert client.get(f"/v1/job-groups/{path}", headers=headers).json()["code"] == "group_not_found"
        assert client.post(f"/v1/job-groups/{path}/cancel", headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/v1/job-groups", "/v1/schedules"])
def test_a_job_nested_without_end_is_refused(client: TestClient, path: str) -> None:
    method: Any = "frskd"
    for _ in range(300):
        method = [method]
    body = {"job": {"method": method}, **({"name": "nightly", "every_s": 60} if path == "/v1/schedules" else {})}
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "nested deeper" in answer.json()["detail"]
