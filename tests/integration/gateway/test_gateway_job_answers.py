"""What a job's answers say in words: what is wrong with a request, and what a waiting job lacks."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, update
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import Worker
from libs.jobs import workers

SPEC = {"method": "frskd", "datasets": {"train": "digits"}, "config": {"epochs": 2}}


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"method": None}, "/method", "string"),
        ({"config": {"epoch": 3}}, "/config/epoch", "Did you mean 'epochs'"),
        ({"ressources": {}}, "/ressources", "Did you mean 'resources'?"),
        ({"resources": {"gpu": 1}}, "/resources/gpu", "Did you mean 'gpus'?"),
        ({"config": {"lr": "nan"}}, "/config/lr", "finite number"),
        ({"datasets": []}, "/datasets", "JSON object"),
        ({"datasets": {"train": "My Digits"}}, "/datasets/train", "like 'my-digits'"),
        ({"name": "A b"}, "/name", "like 'a-b'"),
        ({"method": "estimate", "config": {"of": "frksd"}}, "/config/of", "Did you mean frskd"),
        ({"method": "estimate", "config": {"of": "frskd", "config": {"lr": -1}}}, "/config/config/lr", "greater"),
        ({"method": "estimate", "config": {"of": "frskd", "config": {"epoch": 1}}}, "/config/config/epoch", "'epochs'"),
    ],
)
def test_a_wrong_field_of_a_job_is_named_and_explained(
    client: TestClient, digits: str, changes: dict[str, Any], pointer: str, said: str
) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, **changes})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["message"]
    assert answer.json()["detail"].startswith(pointer[1:].replace("/", "."))


def test_an_empty_job_is_told_what_is_missing(client: TestClient) -> None:
    assert client.post("/v1/jobs", json={}).json()["detail"] == "method: This field is required."
    document = client.post("/v1/jobs", json={"method": 1, "datasets": []}).json()
    assert [one["pointer"] for one in document["errors"]] == ["/method", "/datasets"]
    assert document["detail"].startswith("method: ")


def test_an_unknown_method_is_told_every_method_and_task(client: TestClient) -> None:
    known = [one["name"] for one in client.get("/v1/methods").json()["items"]]
    for answer in (
        client.post("/v1/jobs", json={"method": "evalute"}),
        client.get("/v1/methods/evalute"),
        client.get("/v1/jobs?method=evalute"),
    ):
        assert answer.status_code in (404, 422)
        assert "Did you mean evaluate" in answer.json()["detail"]
        assert all(name in answer.json()["detail"] for name in known)


def test_a_job_that_no_live_worker_takes_says_so_while_it_waits(
    client: TestClient, engine: Engine, digits: str
) -> None:
    address = client.post("/v1/jobs", json={**SPEC, "resources": {"device": "cuda"}}).headers["Location"]
    assert "takes jobs of the queue 'gpu'" in client.get(address).json()["hint"]
    with transaction(engine) as session:
        workers.report(session, uuid4(), host="h", pid=1, version="1", queues=["gpu"], devices={}, slots=1)
    assert client.get(address).json()["hint"] is None
    with transaction(engine) as session:
        session.execute(update(Worker).values(heartbeat_at=func.now() - timedelta(seconds=61)))
    assert client.get(address).json()["hint"] is not None
    client.post(f"{address}/cancel")
    assert client.get(address).json()["hint"] is None
