"""Deployment rows as the model server follows them: settings, failures, limits, keys."""

import threading
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, update

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey, Deployment
from libs.registry.deployments import (
    DeploymentSettings,
    create_deployment,
    delete_deployment,
    find_deployment,
    update_deployment,
)
from libs.serving.classifier import LoadedClassifier
from libs.serving.deployments.states import Key
from libs.serving.repository import ModelRepository
from tests.support.serving import Register, add_key, picture

P = DEFAULT_PROJECT_ID
PNG = {"Content-Type": "image/png"}


def row(engine: Engine, name: str = "live") -> Deployment:
    with transaction(engine) as session:
        return find_deployment(session, P, name)


def settled(engine: Engine, name: str = "live") -> Deployment:
    while (found := row(engine, name)).status == "loading":
        pass
    return found


def edit(engine: Engine, change: Callable[..., object], *arguments: object, **named: object) -> None:
    with transaction(engine) as session:
        change(session, P, *arguments, **named)


def classify(client: TestClient, name: str = "live") -> int:
    return client.post(f"/v1/classify/{name}", content=picture(9), headers=PNG).status_code


def test_rows_are_followed_from_birth_to_end(client: TestClient, engine: Engine, register: Register) -> None:
    first, second = register(), register()
    edit(engine, create_deployment, "live", "shades@1")
    edit(engine, create_deployment, "twin", "shades@1")
    assert (settled(engine).status, settled(engine).loaded_version_id) == ("ready", first.id)
    assert settled(engine, "twin").status == "ready"
    assert classify(client) == classify(client, "twin") == 200

    edit(engine, update_deployment, "live", "shades@2", DeploymentSettings(threads=2, max_batch_size=4))
    assert settled(engine).loaded_version_id == second.id
    models: ModelRepository[LoadedClassifier] = client.app.state.server.runtime.models
    with models.hold(Key(P, "live")) as loaded:
        assert (loaded.settings.threads, loaded.settings.max_batch_size) == (2, 4)

    edit(engine, delete_deployment, "live")
    while classify(client) != 404:
        pass
    assert classify(client, "twin") == 200


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine could grant it"
)
def test_cuda_asked_and_absent_is_written_back(client: TestClient, engine: Engine, register: Register) -> None:
    register()
    edit(engine, create_deployment, "live", "shades", DeploymentSettings(provider="cuda"))
    found = settled(engine)
    assert (found.status, found.loaded_version_id) == ("failed", None)
    assert "cuda was asked for" in str(found.status_reason)
    (entry,) = client.post("/v2/repository/index").json()
    assert (entry["state"], "cuda was asked for" in entry["reason"]) == ("UNAVAILABLE", True)
    assert client.post("/v2/repository/models/live/load").json()["code"] == "load_failed"
    assert "cuda was asked for" in client.get("/v2/models/live").json()["detail"]
    edit(engine, update_deployment, "live", settings=DeploymentSettings(provider="cpu"))
    assert settled(engine).status == "ready"


def test_a_full_queue_and_a_late_request_are_told_so(client: TestClient, engine: Engine, register: Register) -> None:
    register()
    limits = DeploymentSettings(max_batch_size=1, queue_limit=1)
    edit(engine, create_deployment, "live", "shades", limits)
    assert settled(engine).status == "ready"
    with client.app.state.server.runtime.models.hold(Key(P, "live")) as model:
        batcher = model._batcher
    entered, go = threading.Event(), threading.Event()
    run = batcher._run

    def slow(batch: np.ndarray) -> np.ndarray:
        entered.set()
        assert go.wait(20)
        return run(batch)

    batcher._run = slow
    answers: list = []

    def ask() -> None:
        answers.append(client.post("/v1/classify/live", content=picture(9), headers=PNG))

    first = threading.Thread(target=ask)
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=ask)
    second.start()
    while batcher.waiting_rows == 0:
        pass
    refused = client.post("/v1/classify/live", content=picture(9), headers=PNG)
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    batcher._queue[0].deadline = 0.0
    go.set()
    first.join()
    second.join()
    assert sorted(answer.status_code for answer in answers) == [200, 504]
    (late,) = [answer for answer in answers if answer.status_code == 504]
    assert late.json()["code"] == "deadline_exceeded"


def test_keys_come_and_go(client: TestClient, engine: Engine, register: Register) -> None:
    register()
    edit(engine, create_deployment, "live", "shades")
    assert settled(engine).status == "ready"
    key = add_key(engine, ["infer"])
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/v2/models/live", headers=headers).status_code == 200, "a new key works at once"
    prefix = key.split("_")[1]
    while not _last_used(engine, prefix):  # written with the refresh that also puts the key into memory
        pass
    with transaction(engine) as session:
        session.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(revoked_at=ApiKey.created_at))
    while client.get("/v2/models/live", headers=headers).status_code != 401:
        pass


def _last_used(engine: Engine, prefix: str) -> object:
    with transaction(engine) as session:
        return session.scalar(select(ApiKey.last_used_at).where(ApiKey.prefix == prefix))
