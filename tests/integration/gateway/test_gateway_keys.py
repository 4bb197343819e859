"""API keys: made, used, revoked; scopes of every route."""

import stat
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import ApiKey
from libs.web.auth import Scope, authenticate, identify, public
from libs.web.problems import UnauthorizedError
from services.gateway.app import create_app
from services.gateway.dashboard.session.visit import visit
from services.gateway.keys import repository
from services.gateway.keys.service import ensure_local_key
from services.model_server.app import make_app as make_model_server
from services.recommender.app import make_app as make_recommender
from tests.integration.gateway.conftest import KeyMaker
from tests.support.waiting import until

FRAMEWORK_ROUTES = {"/openapi.json", "/docs", "/docs/static", "/static"}


def declared(route: APIRoute) -> list[str]:
    """The scopes a route's callers need, `public` for none, `visitor` for whoever is logged in to the dashboard."""
    found = []
    for dependency in route.dependant.dependencies:
        if dependency.call is authenticate:
            found += dependency.own_oauth_scopes or []
        elif dependency.call is visit:
            found += dependency.own_oauth_scopes or ["visitor"]
        elif dependency.call is public:
            found.append("public")
    return found


def is_right(found: list[str], path: str) -> bool:
    """One for an address of the API; a page may show several things, and each has its scope."""
    return len(found) == 1 or (bool(found) and not path.startswith(("/v1/", "/v2/")))


@pytest.mark.parametrize(
    ("make", "at_least"),
    [(create_app, 50), (make_model_server, 10), (make_recommender, 10)],
    ids=["gateway", "model-server", "recommender"],
)
def test_every_route_declares_one_scope_or_is_public(make: Callable[[], FastAPI], at_least: int) -> None:
    contexts = iter_route_contexts(make().routes)
    routes = [context for context in contexts if context.path not in FRAMEWORK_ROUTES]
    wrong = {context.path: found for context in routes if not is_right(found := declared(context), context.path)}
    assert len(routes) > at_least
    assert wrong == {}


def test_public_routes_are_these_and_no_others() -> None:
    contexts = iter_route_contexts(create_app().routes)
    found = {c.path for c in contexts if c.path not in FRAMEWORK_ROUTES and declared(c) == ["public"]}
    assert found == {
        "/login",
        "/livez",
        "/readyz",
        "/version",
        "/metrics",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
    }


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nonsense", "Basic abc", "Bearer oct_0123456789_abc"])
def test_without_a_valid_key_nothing_is_told(client: TestClient, header: str | None) -> None:
    del client.headers["Authorization"]
    answer = client.get("/v1/jobs", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_without_the_scope_is_refused(client: TestClient, make_headers: KeyMaker) -> None:
    reader = make_headers(Scope.JOBS_READ)
    assert client.get("/v1/jobs", headers=reader).status_code == 200
    answer = client.post("/v1/jobs", json={}, headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "jobs:write" in answer.json()["detail"]


def test_a_made_key_works_until_it_is_revoked(client: TestClient, engine: Engine) -> None:
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:read", "jobs:read"]})
    key = made.json()
    headers = {"Authorization": f"Bearer {key['key']}"}
    assert (made.status_code, key["scopes"]) == (201, ["jobs:read"])
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert client.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert client.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert client.get("/v1/jobs", headers=headers).status_code == 401
    with transaction(engine) as session:
        row = session.get_one(ApiKey, key["id"])
        assert row.last_used_at is not None
        assert key["key"] not in str(vars(row))


def test_a_key_revoked_by_another_process_is_refused_soon(client: TestClient, engine: Engine) -> None:
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    with transaction(engine) as session:
        repository.revoke(session, session.get_one(ApiKey, UUID(made["id"])))
    until(lambda: client.get("/v1/jobs", headers=headers).status_code == 401, "the key to be refused", timeout_s=10)


def test_a_key_that_was_found_before_goes_on_while_postgres_is_away(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [client.post("/v1/keys", json={"name": name, "scopes": ["infer"]}).json()["key"] for name in ("a", "b")]
    keys = repository.PostgresKeys(engine, remember_s=0)
    caller = identify(made[0], keys)
    monkeypatch.setattr(keys, "_engine", create_engine("postgresql+psycopg://octavo@127.0.0.1:1/octavo"))
    assert identify(made[0], keys) == caller
    with pytest.raises(UnauthorizedError):
        identify(f"{made[0][:-1]}-", keys)
    with pytest.raises(OperationalError):
        identify(made[1], keys)


def test_keys_are_listed_without_their_secrets(client: TestClient) -> None:
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:read"]}).json()
    answer = client.get("/v1/keys")
    assert [key["name"] for key in answer.json()["items"]] == ["ci", "test"]
    assert made["key"].rpartition("_")[2] not in answer.text


def test_a_key_gives_away_no_more_than_it_has(client: TestClient, make_headers: KeyMaker) -> None:
    manager = make_headers(Scope.KEYS_MANAGE, Scope.JOBS_READ)
    assert client.post("/v1/keys", json={"name": "a", "scopes": ["jobs:read"]}, headers=manager).status_code == 201
    for scopes in (["jobs:write"], ["admin"], ["jobs:read", "infer"]):
        answer = client.post("/v1/keys", json={"name": "a", "scopes": scopes}, headers=manager)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "a", "scopes": ["root"]}, "/scopes/0"),
        ({"name": "a", "scopes": []}, "/scopes"),
        ({"name": "a\0", "scopes": ["infer"]}, "/name"),
        ({"name": "", "scopes": ["infer"]}, "/name"),
    ],
)
def test_a_wrong_key_request_is_pointed_to(client: TestClient, body: dict, pointer: str) -> None:
    answer = client.post("/v1/keys", json=body)
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_other_projects_keys_cannot_be_revoked(client: TestClient, other_project: dict[str, str]) -> None:
    made = client.post("/v1/keys", json={"name": "ci", "scopes": ["infer"]}).json()
    assert client.delete(f"/v1/keys/{made['id']}", headers=other_project).status_code == 404
    assert client.delete(f"/v1/keys/{uuid4()}").status_code == 404


def test_the_local_key_is_made_once_and_only_its_owner_reads_it(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "key"
    keys = []
    for _ in range(2):
        with transaction(engine) as session:
            keys.append(ensure_local_key(session, path))
    assert keys[0] == keys[1] == path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with transaction(engine) as session:
        assert session.scalars(select(ApiKey.scopes)).all() == [["admin"]]


@pytest.mark.parametrize("content", ["", "oct_0123456789_stale\n"])
def test_a_local_key_that_is_not_valid_is_replaced(engine: Engine, tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with transaction(engine) as session:
        key = ensure_local_key(session, path)
    assert path.read_text().strip() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
