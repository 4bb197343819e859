"""Aliases move under load, with the server in its own process: no request fails, no answer mixes versions."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.aliases import set_alias
from libs.registry.deployments import create_deployment, find_deployment
from services.model_server.settings import ModelServerSettings
from tests.support.model_server import RunningServer, model_server
from tests.support.serving import Register, picture

BIASES = {1: (5.0, 0.0), 2: (0.0, 5.0)}


def move(engine: Engine, version: int) -> None:
    with transaction(engine) as session:
        set_alias(session, DEFAULT_PROJECT_ID, "shades", "production", version)


def wait_until_loaded(engine: Engine, version_id: object) -> None:
    while True:
        with transaction(engine) as session:
            row = find_deployment(session, DEFAULT_PROJECT_ID, "live")
            if row.loaded_version_id == version_id and row.status == "ready":
                return


class Load:
    """Threads that classify until told to stop, and check that each answer is one version's own."""

    def __init__(self, server: RunningServer, key: str, threads: int = 4) -> None:
        self.seen: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._answered = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=(server, key)) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: int, answers: int = 20) -> None:
        """Until `answers` more came from a version."""
        with self._answered:
            goal = self.seen[version] + answers
            self._answered.wait_for(lambda: self.seen[version] >= goal or self.wrong)

    def _ask(self, server: RunningServer, key: str) -> None:
        content = picture(128)
        with server.client(key) as client:
            while not self._stop.is_set():
                answer = client.post("/v1/classify/live", content=content, headers={"Content-Type": "image/png"})
                with self._answered:
                    self._check(answer.status_code, answer.text, answer.json())
                    self._answered.notify_all()

    def _check(self, status: int, text: str, body: dict) -> None:
        expected = "dark" if body.get("version") == 1 else "bright"
        if status != 200 or body["predictions"][0]["label"] != expected:
            self.wrong.append(f"{status} {text}")
        else:
            self.seen[body["version"]] += 1


@pytest.fixture
def versions(register: Register, engine: Engine) -> dict[int, object]:
    ids = {number: register(bias=bias).id for number, bias in BIASES.items()}
    move(engine, 1)
    with transaction(engine) as session:
        create_deployment(session, DEFAULT_PROJECT_ID, "live", "shades@production")
    return ids


def test_no_request_fails_while_the_alias_moves(
    settings: ModelServerSettings, postgres_url: str, engine: Engine, key: str, versions: dict[int, object]
) -> None:
    with model_server(postgres_url, settings.platform.home) as server, Load(server, key) as load:
        load.wait_for(1)
        for number in (2, 1, 2, 1, 2):
            move(engine, number)
            wait_until_loaded(engine, versions[number])
            load.wait_for(number)
    assert load.wrong == []
    assert load.seen[1] >= 40
    assert load.seen[2] >= 40


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(
    settings: ModelServerSettings,
    postgres_url: str,
    engine: Engine,
    key: str,
    versions: dict[int, object],
    register: Register,
) -> None:
    broken = register(bias=(9.0, 9.0))
    file = Path(f"{broken.uri}/model.onnx".removeprefix("file://"))
    file.write_bytes(file.read_bytes()[:-10])
    with model_server(postgres_url, settings.platform.home) as server, Load(server, key) as load:
        load.wait_for(1)
        move(engine, broken.version)
        while True:
            with transaction(engine) as session:
                row = find_deployment(session, DEFAULT_PROJECT_ID, "live")
            if row.status == "failed":
                break
        load.wait_for(1)
        assert row.loaded_version_id == versions[1]
        assert "recorded" in str(row.status_reason)
        move(engine, 2)
        wait_until_loaded(engine, versions[2])
        load.wait_for(2)
    assert load.wrong == []
