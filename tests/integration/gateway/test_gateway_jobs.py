"""Submitting, reading and steering jobs over HTTP, on a real Postgres."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, func, select, update
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, DatasetVersion, Job, Outbox
from libs.jobs import wishes
from libs.web.auth import Scope
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker, stored_long_ago
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.registry import add_version, next_item_bundle

SPEC = {"method": "frskd", "datasets": {"train": "digits"}, "config": {"epochs": 2}}


def submit(client: TestClient, **changes: object) -> dict:
    answer = client.post("/v1/jobs", json={**SPEC, **changes})
    assert answer.status_code == 202, answer.text
    return answer.json()


def pointers(answer) -> list[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["pointer"] for error in answer.json()["errors"]]


def test_a_submitted_job_is_queued_with_its_references_pinned(client: TestClient, digits: str, engine: Engine) -> None:
    answer = client.post("/v1/jobs", json=SPEC)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert job["spec"]["datasets"] == {"train": "digits@1"}
    assert job["spec"]["digests"] == {"datasets/train": digits}
    assert job["spec"]["config"]["temperature"] == 4.0
    with transaction(engine) as session:
        assert session.scalars(select(Outbox.job_id)).all() == [UUID(job["id"])]


def test_a_job_stays_with_the_version_that_was_the_newest_when_it_was_submitted(
    client: TestClient, digits: str, engine: Engine
) -> None:
    job = submit(client)
    with transaction(engine) as session:
        newer = add_dataset(session, "digits")
    assert client.get(f"/v1/jobs/{job['id']}/spec").json()["digests"] == {"datasets/train": digits}
    assert submit(client)["spec"]["digests"] == {"datasets/train": newer}


def test_an_exported_spec_submits_the_same_job_again(client: TestClient, digits: str) -> None:
    spec = client.get(f"/v1/jobs/{submit(client)['id']}/spec").json()
    assert submit(client, **spec)["spec"] == spec


def test_a_spec_with_another_digest_than_the_reference_has_is_refused(client: TestClient, digits: str) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, "digests": {"datasets/train": "0" * 64}})
    assert pointers(answer) == ["/digests/datasets~1train"]
    assert digits in answer.json()["errors"][0]["message"]


def test_an_unknown_method_names_the_nearest_ones(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, "method": "frsdk"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "unknown_method"
    assert "Did you mean frskd" in answer.json()["detail"]
    assert pointers(answer) == ["/method"]


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"beta": -1}, "/config/beta"),
        ({"betta": 1}, "/config/betta"),
        ({"model": "resnet9000"}, "/config/model"),
        ({"milestones": [2.0]}, "/config/milestones/0"),
        ({"milestones": [0.7, 0.5]}, "/config"),
    ],
)
def test_a_wrong_hyper_parameter_is_pointed_to(client: TestClient, digits: str, config: dict, pointer: str) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, "config": config})
    assert answer.status_code == 422
    assert pointers(answer) == [pointer]


def test_a_job_cannot_be_named_like_a_word_of_the_api(client: TestClient, digits: str) -> None:
    for field in ("name", "output_model"):
        answer = client.post("/v1/jobs", json={**SPEC, field: "compare"})
        assert (answer.status_code, pointers(answer)) == (422, [f"/{field}"])
        assert "'compare' is a word of the API's own addresses" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("datasets", "pointer", "message"),
    [
        ({"train": "digist"}, "/datasets/train", "Did you mean 'digits'?"),
        ({"train": "digits@7"}, "/datasets/train", "no version 7"),
        ({"train": "digits@best"}, "/datasets/train", "no aliases"),
        ({"train": "Digits"}, "/datasets/train", "like 'digits'"),
        ({}, "/datasets/train", "needs the name of a"),
        ({"train": "digits", "trian": "digits"}, "/datasets/trian", "Roles: train"),
    ],
)
def test_a_wrong_data_set_reference_is_pointed_to(
    client: TestClient, digits: str, datasets: dict, pointer: str, message: str
) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, "datasets": datasets})
    assert answer.status_code == 422
    assert pointers(answer) == [pointer]
    assert message in answer.json()["errors"][0]["message"]


def test_a_data_set_that_is_not_ready_is_refused_with_its_status(client: TestClient) -> None:
    client.post("/v1/datasets", json={"name": "cats", "source": {"upload": "cats.zip"}})
    answer = client.post("/v1/jobs", json={**SPEC, "datasets": {"train": "cats"}})
    assert pointers(answer) == ["/datasets/train"]
    assert "1 is uploading" in answer.json()["detail"]


def test_model_references_are_pinned_too(client: TestClient, digits: str, engine: Engine) -> None:
    with transaction(engine) as session:
        version = add_version(session, "cats")
    job = submit(client, models={"init": "cats"})
    assert job["spec"]["models"] == {"init": "cats@1"}
    assert job["spec"]["digests"]["models/init"] == version.digest
    answer = client.post("/v1/jobs", json={**SPEC, "models": {"init": "cast"}})
    assert pointers(answer) == ["/models/init"]


@pytest.fixture
def both_kinds(engine: Engine, digits: str) -> None:
    """`digits` and `clicks`, a classifier `cats` and a recommender `shop`."""
    with transaction(engine) as session:
        add_dataset(session, "clicks", manifest=EVENTS_MANIFEST)
        add_version(session, "cats")
        add_version(session, "shop", bundle=next_item_bundle())


@pytest.mark.parametrize(
    ("method", "dataset", "message"),
    [
        ("hcrnn", "digits", "The data set holds pictures; hcrnn needs events."),
        ("frskd", "clicks", "The data set holds events; frskd needs pictures."),
    ],
)
def test_a_data_set_of_another_kind_is_refused(
    client: TestClient, both_kinds: None, method: str, dataset: str, message: str
) -> None:
    for request in (
        {"method": method, "datasets": {"train": dataset}},
        {"method": "estimate", "datasets": {"train": dataset}, "config": {"of": method}},
    ):
        answer = client.post("/v1/jobs", json=request)
        assert answer.status_code == 422
        assert pointers(answer) == ["/datasets/train"]
        assert answer.json()["detail"] == message.replace(f"; {method}", f"; {request['method']}")


@pytest.mark.parametrize(
    ("method", "dataset", "model", "message"),
    [
        ("hcrnn", "clicks", "cats", "The model classifies pictures; hcrnn needs one that recommends items."),
        ("frskd", "digits", "shop", "The model recommends items; frskd needs one that classifies pictures."),
    ],
)
def test_a_model_of_another_task_is_no_start(
    client: TestClient, both_kinds: None, method: str, dataset: str, model: str, message: str
) -> None:
    answer = client.post("/v1/jobs", json={"method": method, "datasets": {"train": dataset}, "models": {"init": model}})
    assert pointers(answer) == ["/models/init"]
    assert answer.json()["detail"] == message


def test_who_predicts_with_a_recommender_is_told_how_it_is_asked(client: TestClient, both_kinds: None) -> None:
    request = {"method": "predict", "datasets": {"data": "digits"}, "models": {"model": "shop"}}
    answer = client.post("/v1/jobs", json=request)
    assert pointers(answer) == ["/models/model"]
    assert "`octavo recommend`" in answer.json()["detail"]


def test_a_recommender_trains_on_events_from_a_recommender(client: TestClient, both_kinds: None) -> None:
    request = {"method": "gru4rec", "datasets": {"train": "clicks"}, "models": {"init": "shop"}}
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["config"]["tied"] is True


@pytest.mark.parametrize(("model", "dataset"), [("shop", "clicks"), ("cats", "digits")])
def test_evaluate_takes_the_data_its_model_reads(
    client: TestClient, both_kinds: None, model: str, dataset: str
) -> None:
    request = {"method": "evaluate", "models": {"model": model}}
    answer = client.post("/v1/jobs", json={**request, "datasets": {"data": dataset}})
    assert answer.status_code == 202, answer.text
    other = {"clicks": "digits", "digits": "clicks"}[dataset]
    answer = client.post("/v1/jobs", json={**request, "datasets": {"data": other}})
    assert pointers(answer) == ["/datasets/data"]
    assert "the model needs" in answer.json()["detail"]


def test_registered_recommenders_stand_beside_a_training_and_an_evaluation(
    client: TestClient, both_kinds: None, engine: Engine
) -> None:
    """Its own method's too; all of them pinned."""
    with transaction(engine) as session:
        newer = add_version(session, "shop", bundle=next_item_bundle())
        add_version(session, "other", bundle=next_item_bundle().model_copy(update={"architecture": "bpr-mf"}))
    reads = {"datasets": {"train": "clicks"}, "models": {"gru4rec": "shop", "bpr-mf": "other", "init": "shop@1"}}
    measured = {"datasets": {"data": "clicks"}, "models": {"gru4rec": "shop@2", "model": "other"}}
    for request in (
        {"method": "gru4rec", **reads},
        {"method": "estimate", "config": {"of": "gru4rec"}, **reads},
        {"method": "evaluate", **measured},
    ):
        answer = client.post("/v1/jobs", json=request)
        assert answer.status_code == 202, answer.text
        spec = answer.json()["spec"]
        assert spec["models"]["gru4rec"] == "shop@2"
        assert spec["digests"]["models/gru4rec"] == newer.digest


def test_what_stands_beside_a_comparison_is_read_by_it_and_by_none_of_its_runs(
    client: TestClient, both_kinds: None
) -> None:
    """Pinned; and the request that is stored may be sent again."""
    request = {"method": "hcrnn", "datasets": {"train": "clicks"}, "models": {"gru4rec": "shop"}}
    compared = {**request, "compare": {"seeds": [0, 1], "baselines": ["gru4rec", "bpr-mf"]}}
    answer = client.post("/v1/jobs", json=compared)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["spec"]["models"] == {"gru4rec": "shop@1"}
    assert made["spec"]["digests"].keys() == {"datasets/train", "models/gru4rec"}
    runs = [client.get(f"/v1/jobs/{child['id']}").json()["spec"] for child in made["children"]]
    assert len(runs) == 6
    assert [run["models"] for run in runs] == 6 * [{}]
    assert [[*run["digests"]] for run in runs] == 6 * [["datasets/train"]]
    again = client.post("/v1/jobs", json=client.get(f"/v1/jobs/{made['id']}/spec").json())
    assert again.status_code == 202, again.text
    assert again.json()["spec"]["models"] == {"gru4rec": "shop@1"}
    wrong = client.post("/v1/jobs", json={**compared, "models": {"sasrec": "shop"}})
    assert pointers(wrong) == ["/models/sasrec"]


@pytest.mark.parametrize(
    ("method", "models", "pointer", "message"),
    [
        ("hcrnn", {"gru4rec": "cats"}, "/models/gru4rec", "beside others stand models that recommend items"),
        ("hcrnn", {"sasrec": "shop"}, "/models/sasrec", "is one of gru4rec; the role 'sasrec' takes one of sasrec."),
        ("hcrnn", {"gru4rec": "shap"}, "/models/gru4rec", "Did you mean 'shop'?"),
        ("hcrnn", {"rksa": "shop"}, "/models/rksa", "Roles: bpr-mf, gru4rec, init, narm, sasrec."),
        ("hcrnn", {"init": "cats", "gru4rec": "shop"}, "/models/init", "hcrnn needs one that recommends items"),
        ("update", {"init": "shop", "gru4rec": "shop"}, "/models/gru4rec", "update has no role 'gru4rec'"),
        ("evaluate", {"model": "shop", "narm": "shop"}, "/models/narm", "is one of gru4rec"),
        ("evaluate", {"gru4rec": "shop"}, "/models/model", "needs the name of a model"),
        ("evaluate", {"gru4rec": "cats", "model": "shop"}, "/models/gru4rec", "The model classifies pictures"),
    ],
)
def test_what_cannot_stand_beside_a_recommender_is_pointed_to(
    client: TestClient, both_kinds: None, method: str, models: dict[str, str], pointer: str, message: str
) -> None:
    reads = {"data" if method == "evaluate" else "train": "clicks"}
    answer = client.post("/v1/jobs", json={"method": method, "datasets": reads, "models": models})
    assert answer.status_code == 422
    assert pointers(answer) == [pointer]
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("models", [{"model": "cats", "gru4rec": "shop"}, {"gru4rec": "shop", "model": "cats"}])
def test_nothing_stands_beside_a_classifier(client: TestClient, both_kinds: None, models: dict[str, str]) -> None:
    answer = client.post("/v1/jobs", json={"method": "evaluate", "datasets": {"data": "digits"}, "models": models})
    assert answer.status_code == 422
    assert pointers(answer) == ["/models/gru4rec"]
    assert "only one that recommends items has others beside it" in answer.json()["detail"]
    answer = client.post("/v1/jobs", json={**SPEC, "models": {"gru4rec": "cats"}})
    assert pointers(answer) == ["/models/gru4rec"]
    assert "has no role 'gru4rec'" in answer.json()["detail"]


def test_an_update_adds_to_its_parents_model_and_queues_with_trainings(client: TestClient, both_kinds: None) -> None:
    request = {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop"}}
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["output_model"] == "shop"
    assert answer.json()["spec"]["models"] == {"init": "shop@1"}
    assert client.post("/v1/jobs?dry_run=true", json=request).json()["queue"] == "cpu"
    other = client.post("/v1/jobs", json={**request, "output_model": "shop-next"})
    assert other.json()["spec"]["output_model"] == "shop-next"


@pytest.mark.parametrize(
    ("changes", "pointer", "message"),
    [
        ({"models": {}}, "/models/init", "update needs the name of a model for the role 'init'"),
        ({"models": {"init": "cats"}}, "/models/init", "update needs one that recommends items"),
        ({"datasets": {"train": "digits"}}, "/datasets/train", "update needs events"),
        ({"config": {"config": {"width": 1}}}, "/config/config/width", "gru4rec: Input should be greater than"),
        ({"config": {"config": {"wdith": 8}}}, "/config/config/wdith", "gru4rec: Extra inputs"),
        ({"config": {"promote": "7"}}, "/config/promote", "is not an alias"),
        ({"config": {"tolerance": -1}}, "/config/tolerance", "greater than or equal to 0"),
    ],
)
def test_a_wrong_update_is_pointed_to(
    client: TestClient, both_kinds: None, changes: dict, pointer: str, message: str
) -> None:
    request = {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop"}, **changes}
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 422
    assert pointers(answer) == [pointer]
    assert message in answer.json()["errors"][0]["message"]


def test_every_wrong_reference_is_reported_at_once(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={**SPEC, "datasets": {"train": "nix"}, "models": {"init": "nax"}})
    assert pointers(answer) == ["/datasets/train", "/models/init"]


def test_validation_jobs_are_not_submitted_by_hand(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={"method": "validate-dataset"})
    assert pointers(answer) == ["/method"]


@pytest.mark.parametrize("text", [r"a\u0000b", r"\ud800"])
def test_text_that_postgres_does_not_store_is_refused(client: TestClient, digits: str, text: str) -> None:
    body = json.dumps({**SPEC, "config": {"taps": ["TEXT"]}}).replace("TEXT", text)
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert pointers(answer) == ["/config/taps/0"]


def test_a_dry_run_resolves_and_queues_nothing(client: TestClient, digits: str) -> None:
    answer = client.post("/v1/jobs?dry_run=true", json=SPEC)
    assert answer.status_code == 200
    assert answer.json()["spec"]["digests"] == {"datasets/train": digits}
    assert answer.json()["workers"] == 0
    assert client.get("/v1/jobs").json()["items"] == []
    assert client.post("/v1/jobs?dry_run=true", json={**SPEC, "datasets": {}}).status_code == 422


def test_a_repeated_request_with_an_idempotency_key_is_done_once(client: TestClient, digits: str) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = client.post("/v1/jobs", json=SPEC, headers=headers)
    again = client.post("/v1/jobs", json=dict(reversed(SPEC.items())), headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_an_idempotency_key_is_good_for_one_body(client: TestClient, digits: str) -> None:
    headers = {"Idempotency-Key": "k-1"}
    client.post("/v1/jobs", json=SPEC, headers=headers)
    answer = client.post("/v1/jobs", json={**SPEC, "seed": 1}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"


def test_a_refused_request_does_not_use_up_its_idempotency_key(client: TestClient, digits: str) -> None:
    headers = {"Idempotency-Key": "k-1"}
    wrong = client.post("/v1/jobs", json={**SPEC, "datasets": {"train": "nix"}}, headers=headers)
    right = client.post("/v1/jobs", json=SPEC, headers=headers)
    assert (wrong.status_code, right.status_code) == (422, 202)


def test_concurrent_requests_with_one_idempotency_key_make_one_job(
    client: TestClient, digits: str, engine: Engine
) -> None:
    with ThreadPoolExecutor(8) as pool:
        send = lambda _: client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "k"})  # noqa: E731
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 7
    with transaction(engine) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_a_list_pages_through_every_job_once(client: TestClient, digits: str, engine: Engine, at_once: bool) -> None:
    made = [submit(client, seed=seed)["id"] for seed in range(5)]
    if at_once:  # the id decides between jobs of one moment
        with transaction(engine) as session:
            session.execute(update(Job).values(created_at=func.now()))
        made.sort()
    seen, cursor = [], None
    while True:
        page = client.get("/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == made[::-1]


def test_a_list_filters(client: TestClient, digits: str) -> None:
    first, second = submit(client), submit(client, method="supervised", name="plain")
    client.post(f"/v1/jobs/{second['id']}/cancel")

    def ids(**params: object) -> list[str]:
        return [job["id"] for job in client.get("/v1/jobs", params=params).json()["items"]]

    assert ids(status="queued") == [first["id"]]
    assert ids(status=["queued", "cancelled"]) == [second["id"], first["id"]]
    assert ids(method="supervised") == [second["id"]]
    assert ids(name="plain") == [second["id"]]
    assert ids(group=str(uuid4())) == []
    assert client.get("/v1/jobs", params={"status": "sleeping"}).status_code == 422


def test_a_cursor_of_other_filters_is_refused(client: TestClient, digits: str) -> None:
    for seed in range(2):
        submit(client, seed=seed)
    cursor = client.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    answer = client.get("/v1/jobs", params={"limit": 1, "cursor": cursor, "method": "frskd"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_cancel_of_a_queued_job_ends_it_and_of_a_finished_one_is_a_conflict(client: TestClient, digits: str) -> None:
    job = submit(client)
    first = client.post(f"/v1/jobs/{job['id']}/cancel")
    again = client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    assert (again.status_code, again.json()["code"]) == (409, "invalid_move")
    assert "retry or clone" in again.json()["detail"]


def test_pause_resume_retry_and_clone(client: TestClient, digits: str) -> None:
    address = f"/v1/jobs/{submit(client)['id']}"
    assert client.post(f"{address}/pause").json()["status"] == "paused"
    assert client.post(f"{address}/resume").json()["status"] == "queued"
    assert client.post(f"{address}/resume").status_code == 409
    assert client.post(f"{address}/retry").status_code == 409
    clone = client.post(f"{address}/clone")
    assert clone.json()["clone_of"] == address.rpartition("/")[2]
    client.post(f"{address}/cancel")
    retry = client.post(f"{address}/retry", headers={"Idempotency-Key": "r"})
    assert retry.json()["retry_of"] == address.rpartition("/")[2]
    assert client.post(f"{address}/retry", headers={"Idempotency-Key": "r"}).json() == retry.json()


def test_a_job_that_has_ended_is_deleted_and_its_files_are_collected(
    client: TestClient, digits: str, engine: Engine, settings: GatewaySettings, tmp_path: Path
) -> None:
    job = submit(client)
    address = f"/v1/jobs/{job['id']}"
    uri = stored_long_ago(settings, tmp_path, b"report")
    with transaction(engine) as session:
        row = {"kind": "report", "name": "report.html", "uri": uri, "digest": "0" * 64, "size_bytes": 6}
        session.add(Artifact(project_id=DEFAULT_PROJECT_ID, job_id=UUID(job["id"]), **row))
    live = client.delete(address)
    assert (live.status_code, live.json()["code"]) == (409, "job_not_ended")
    assert live.headers["content-type"] == "application/problem+json"
    client.post(f"{address}/cancel")
    assert client.post("/v1/storage/gc").json()["files"] == 0
    deleted = client.delete(address)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get(address).status_code == 404
    assert client.get("/v1/jobs").json()["items"] == []
    assert (client.delete(address).status_code, client.delete(address).json()["code"]) == (404, "job_not_found")
    assert client.post("/v1/storage/gc").json() == {"jobs": 0, "files": 1, "size_bytes": 6, "dry_run": False}


def test_deleting_a_job_needs_the_scope_to_write_jobs(client: TestClient, digits: str, make_headers: KeyMaker) -> None:
    address = f"/v1/jobs/{submit(client)['id']}"
    client.post(f"{address}/cancel")
    assert client.delete(address, headers=make_headers(Scope.JOBS_READ)).status_code == 403
    assert client.delete(address, headers=make_headers(Scope.JOBS_WRITE)).status_code == 204


def test_the_job_that_validates_a_data_set_is_not_deleted(client: TestClient, digits: str, engine: Engine) -> None:
    job = submit(client)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    with transaction(engine) as session:
        session.execute(update(DatasetVersion).values(validation_job_id=UUID(job["id"])))
    answer = client.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_in_use")


def test_waiting_returns_when_the_job_ends(client: TestClient, digits: str, engine: Engine) -> None:
    job = submit(client)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, f"/v1/jobs/{job['id']}", params={"wait": 30})
        with transaction(engine) as session:
            wishes.cancel(session, DEFAULT_PROJECT_ID, UUID(job["id"]))
        assert waiting.result(timeout=15).json()["status"] == "cancelled"


def test_waiting_ends_with_its_time(client: TestClient, digits: str) -> None:
    answer = client.get(f"/v1/jobs/{submit(client)['id']}", params={"wait": 0.05})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


@pytest.mark.parametrize("path", ["", "/events", "/metrics", "/artifacts", "/report", "/spec"])
def test_a_job_that_does_not_exist(client: TestClient, path: str) -> None:
    answer = client.get(f"/v1/jobs/{uuid4()}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_another_projects_jobs_do_not_exist(client: TestClient, digits: str, other_project: dict[str, str]) -> None:
    job = submit(client)
    for path in ("", "/events", "/metrics", "/artifacts", "/report", "/spec"):
        assert client.get(f"/v1/jobs/{job['id']}{path}", headers=other_project).status_code == 404
    for action in ("cancel", "pause", "resume", "retry", "clone"):
        assert client.post(f"/v1/jobs/{job['id']}/{action}", headers=other_project).status_code == 404
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete(f"/v1/jobs/{job['id']}", headers=other_project).status_code == 404
    assert client.get("/v1/jobs", headers=other_project).json()["items"] == []
    assert client.post("/v1/jobs", json=SPEC, headers=other_project).status_code == 422
    stream = {**other_project, "Accept": "text/event-stream"}
    assert client.get(f"/v1/jobs/{job['id']}/events", headers=stream).status_code == 404


@pytest.mark.parametrize(
    ("config", "pointer"),
    [({"of": "frsk"}, "/config"), ({"of": "frskd", "config": {"beta": -1}}, "/config"), ({}, "/config/of")],
)
def test_an_estimate_of_what_could_not_be_trained_is_refused(
    client: TestClient, digits: str, config: dict[str, Any], pointer: str
) -> None:
    body = {"method": "estimate", "datasets": {"train": "digits"}, "config": config}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


def test_every_method_and_task_shows_its_schema(client: TestClient) -> None:
    for one in client.get("/v1/methods").json()["items"]:
        shown = client.get(f"/v1/methods/{one['name']}").json()
        assert set(shown["defaults"]) <= set(shown["config_schema"]["properties"])


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("frskd", (["train"], [], ["init"])),
        ("afd", (["train"], ["teacher"], ["init"])),
        ("hcrnn", (["train"], [], ["bpr-mf", "gru4rec", "init", "narm", "sasrec"])),
        ("evaluate", (["data"], ["model"], ["bpr-mf", "gru4rec", "narm", "sasrec"])),
        ("update", (["train"], ["init"], [])),
        ("import-onnx", ([], [], [])),
    ],
)
def test_a_method_says_what_it_reads(client: TestClient, method: str, roles: tuple[list[str], ...]) -> None:
    shown = client.get(f"/v1/methods/{method}").json()
    assert (shown["datasets"], shown["models"], shown["optional_models"]) == roles
    assert shown["beside"] == [role for role in shown["optional_models"] if role != "init"]


def test_an_estimate_takes_what_the_training_would_take(client: TestClient, digits: str) -> None:
    body = {"method": "estimate", "datasets": {"train": "digits"}, "config": {"of": "frskd"}}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    assert answer.json()["spec"]["datasets"] == {"train": "digits@1"}


def test_distillation_needs_a_teacher_and_may_be_given_pictures_without_labels(client: TestClient, digits: str) -> None:
    assert client.get("/v1/methods/afd").json()["optional_datasets"] == ["unlabelled"]
    body = {"method": "afd", "datasets": {"train": "digits", "unlabelled": "digits", "more": "digits"}}
    errors = {one["pointer"]: one["message"] for one in client.post("/v1/jobs", json=body).json()["errors"]}
    assert set(errors) == {"/datasets/more", "/models/teacher"}
    assert "Roles: train, unlabelled." in errors["/datasets/more"]
