"""Services that cannot work say so in one line and end; they do not run half."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from libs.database.engine import transaction
from libs.database.tables import ApiKey
from libs.settings import WrongSettings
from libs.web.auth import Scope, digest_of, make_key
from services.gateway.prepare import adopt
from tests.support.s3 import s3_server

SERVICES = ("gateway", "gateway.prepare", "worker", "worker.relay", "model_server", "recommender")


@pytest.fixture
def environment(postgres_url: str, valkey_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "OCTAVO_DATABASE_URL": postgres_url,
        "OCTAVO_BROKER_URL": valkey_url,
        "OCTAVO_HOME": str(tmp_path / "home"),
    }


def begin(service: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"services.{service}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_no_service_starts_on_the_database_of_a_newer_version(engine: Engine, environment: dict[str, str]) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    processes = [begin(service, environment) for service in SERVICES]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [1] * len(SERVICES)
    for said in answers:
        assert said.startswith("octavo "), said
        assert "does not start: The database is at migration 9999, which this code does not know" in said
        assert len(said.splitlines()) == 1, said


def test_a_wrong_setting_and_a_taken_port_end_the_gateway(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wrong = begin("gateway", {**environment, "OCTAVO_GATEWAY_PORT": "http"})
        second = begin("gateway", {**environment, "OCTAVO_GATEWAY_PORT": str(port)})
        said, _ = wrong.communicate(timeout=120)
        assert wrong.returncode == 1
        assert said.startswith("octavo gateway does not start: OCTAVO_GATEWAY_PORT: Input should be a valid integer")
        assert len(said.splitlines()) == 1
        said, _ = second.communicate(timeout=120)
        assert second.returncode != 0
        assert f"('127.0.0.1', {port}): address already in use" in said
        assert "Traceback" not in said


def test_an_artifact_store_that_refuses_ends_gateway_and_worker(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # it knows nobody
    with s3_server() as s3:
        environment |= {**s3, "OCTAVO_ARTIFACTS_URL": "s3://octavo/x"}
        processes = {service: begin(service, environment) for service in ("gateway", "worker")}
        answers = {service: process.communicate(timeout=120)[0] for service, process in processes.items()}
    assert [process.returncode for process in processes.values()] == [1, 1]
    for service, said in answers.items():
        assert said.startswith(f"octavo {service} does not start: the artifact store s3://octavo/x refuses: "), said
        assert len(said.splitlines()) == 1, said


def test_a_key_made_elsewhere_is_adopted_once(engine: Engine, tmp_path: Path) -> None:
    file, key = tmp_path / "key", make_key()
    file.write_text(key.text + "\n")
    adopt(engine, file)
    adopt(engine, file)
    with transaction(engine) as session:
        row = session.query(ApiKey).where(ApiKey.prefix == key.prefix).one()
        assert (row.digest, row.scopes) == (digest_of(key.text), [Scope.ADMIN])
        row.revoked_at = row.created_at
    with pytest.raises(WrongSettings, match="was revoked"):
        adopt(engine, file)
    file.write_text("secret")
    with pytest.raises(WrongSettings, match="not of the form") as raised:
        adopt(engine, file)
    assert "secret" not in str(raised.value)
