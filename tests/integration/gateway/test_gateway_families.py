"""Jobs that are made for a job, over HTTP: teachers and comparisons."""

from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.serving.bundle import TensorSpec
from tests.support.registry import add_version, bundle

DIGITS: dict[str, Any] = {"datasets": {"train": "digits"}}
AFD = {"method": "afd", **DIGITS}
TRAINED = {**AFD, "teacher": {"train": {"epochs": 2}}}
COMPARED = {**TRAINED, "compare": {"seeds": [0, 1], "baselines": ["supervised"]}}


LOGITS = [TensorSpec(name="logits", datatype="FP32", shape=[-1, 3])]


def post(client: TestClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return answer.json()


def jobs(client: TestClient) -> list[dict[str, Any]]:
    return client.get("/v1/jobs").json()["items"]


def test_a_teacher_is_shown_with_its_job_and_made_once_for_one_key(client: TestClient, digits: str) -> None:
    first, again = (post(client, TRAINED, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert again == first
    assert len(jobs(client)) == 2
    (child,) = first["children"]
    assert (first["status"], first["teacher_job"]) == ("waiting", child["id"])
    assert (child["role"], child["status"]) == ("models/teacher", "queued")
    shown = client.get(f"/v1/jobs/{child['id']}").json()
    assert (shown["parent_id"], shown["children"]) == (first["id"], [])
    assert shown["spec"]["datasets"] == {"train": "digits@1"}
    assert shown["spec"]["digests"] == {"datasets/train": digits}
    assert client.get(f"/v1/jobs/{first['id']}").json()["children"] == first["children"]


def test_a_comparison_lists_its_runs_and_is_cancelled_as_one(client: TestClient, digits: str) -> None:
    made = post(client, COMPARED)
    assert [child["role"] for child in made["children"]] == [
        "models/teacher", "runs/afd/0", "runs/supervised/0", "runs/afd/1", "runs/supervised/1",
    ]  # fmt: skip
    table = client.get(f"/v1/job-groups/{made['id']}").json()
    assert len(table["members"]) == 5
    cancelled = client.post(f"/v1/jobs/{made['id']}/cancel").json()
    assert {cancelled["status"], *(child["status"] for child in cancelled["children"])} == {"cancelled"}
    again = client.post(f"/v1/jobs/{made['id']}/retry").json()
    assert [child["role"] for child in again["children"]] == [child["role"] for child in made["children"]]
    assert not {child["id"] for child in again["children"]} & {child["id"] for child in made["children"]}


def test_a_dry_run_shows_all_that_would_be_made(client: TestClient, digits: str) -> None:
    answer = client.post("/v1/jobs?dry_run=true", json=COMPARED).json()
    assert (answer["name"], answer["queue"]) == ("digits-afd-compared", "short")
    assert [one["name"] for one in answer["first"]] == [
        "digits-afd-teacher", "digits-afd-afd-0", "digits-afd-supervised-0", "digits-afd-afd-1",
        "digits-afd-supervised-1",
    ]  # fmt: skip
    assert jobs(client) == []


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({**TRAINED, "teacher": {"train": {"epochs": 0}}}, "/teacher/train/epochs", "greater than"),
        ({**TRAINED, "teacher": {"train": {"epoch": 3}}}, "/teacher/train/epoch", "epochs"),
        ({**TRAINED, "teacher": {"init": "vet", "train": {}}}, "/teacher", "either train, or init"),
        ({**TRAINED, "teacher": []}, "/teacher", "name of a model"),
        ({**TRAINED, "models": {"teacher": "vet"}}, "/teacher", "one of the two"),
        ({**AFD, "teacher": "vet"}, "/teacher", "3 classes (a, b, c), the data set has 2 classes (cat, dog)"),
        ({**AFD, "models": {"teacher": "vet"}}, "/models/teacher", "3 classes"),
        ({**COMPARED, "compare": {"seeds": list(range(11))}}, "/compare/seeds", "at most 10"),
        ({**COMPARED, "compare": {"seeds": [1, 1]}}, "/compare/seeds", "each once"),
        ({**COMPARED, "compare": {"baselines": ["kdd"]}}, "/compare/baselines/0", "Did you mean kd"),
        ({**COMPARED, "compare": {"seed": [1, 2]}}, "/compare/seed", "seeds"),
        ({**DIGITS, "method": "compare", "config": {"of": "bpr-mf"}}, "/datasets/train", "bpr-mf needs events"),
        ({**COMPARED, "compare": {"baselines": []}}, "/compare/baselines", "at least 1"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: TestClient, engine: Engine, digits: str, body: dict[str, Any], pointer: str, message: str
) -> None:
    with transaction(engine) as session:
        add_version(session, "vet", bundle=bundle(labels=["a", "b", "c"], outputs=LOGITS))
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert message in error["message"]
    assert jobs(client) == []


def test_a_group_may_hold_comparisons_and_points_into_them(client: TestClient, digits: str) -> None:
    wrong = {**COMPARED, "teacher": {"init": "nobody"}}
    answer = client.post("/v1/job-groups", json={"jobs": [COMPARED, wrong]})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/jobs/1/teacher/init"]
    assert jobs(client) == []
    most = {**COMPARED, "compare": {"seeds": list(range(10)), "baselines": ["supervised", "kd", "frskd"]}}
    for body, pointer in (
        ({"jobs": [most] * 5}, "/jobs/4"),
        ({"job": COMPARED, "seeds": [0, 1]}, "/seeds"),
    ):
        answer = client.post("/v1/job-groups", json=body)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert jobs(client) == []
    group = client.post("/v1/job-groups", json={"jobs": [COMPARED, TRAINED]}).json()
    assert [member["job"]["method"] for member in group["members"]] == ["compare", "afd"]


def test_a_method_tells_what_it_may_be_compared_with(client: TestClient) -> None:
    assert client.get("/v1/methods/afd").json()["baselines"] == ["frskd", "kd", "supervised"]
    of_gru = client.get("/v1/methods/gru4rec").json()["baselines"]
    assert {"bpr-mf", "untied", "hcrnn.version-1", "sasrec"} <= set(of_gru)
    assert client.get("/v1/methods/evaluate").json()["baselines"] == []


def test_the_roles_of_a_comparison_are_those_of_what_it_may_compare(client: TestClient) -> None:
    shown = client.get("/v1/methods/compare").json()
    assert shown["optional_models"] == sorted([*shown["beside"], "init", "teacher"])
    assert shown["beside"] == ["bpr-mf", "gru4rec", "narm", "sasrec"]
    assert shown["optional_datasets"] == ["unlabelled"]
