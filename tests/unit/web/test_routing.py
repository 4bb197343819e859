"""What a request holds beyond what its address declares is refused, with the nearest thing there is."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from libs.web import problems
from libs.web.head import HeadAsGet
from libs.web.routing import Router


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: float = 1.0


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = 1
    inner: Inner | None = None
    many: list[Inner] = []


def _paged(limit: int = 5) -> int:
    return limit


RAW = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@pytest.fixture
def client() -> TestClient:
    router = Router(prefix="/v1/things")

    @router.get("")
    def listed(
        limit: Annotated[int, Depends(_paged)], name: Annotated[str | None, Query(alias="called")] = None
    ) -> int:
        return limit

    @router.post("")
    def made(body: Body, dry_run: bool = False) -> Body:
        return body

    @router.get("/{name}")
    def one(name: str) -> str:
        return name

    @router.post("/{name}/stop")
    def stop(name: str) -> str:
        return name

    @router.put("/{name}/raw", openapi_extra=RAW)
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.head("/{name}/raw")
    def offset() -> None:
        return None

    @router.get("/{name}/stream")
    def stream() -> StreamingResponse:
        async def without_end() -> AsyncIterator[bytes]:
            while True:
                yield b"more"

        return StreamingResponse(without_end(), media_type="text/event-stream", headers={"ETag": '"7"'})

    app = FastAPI(redirect_slashes=False)
    problems.install(app)
    app.add_middleware(HeadAsGet)
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


def refused(answer: Any, status: int = 422) -> tuple[str, str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (field,) = answer.json()["errors"]
    return field["location"], field["pointer"], field["message"]


def test_an_unknown_query_parameter_is_refused_with_the_nearest_known_one(client: TestClient):
    where, pointer, message = refused(client.post("/v1/things?dry-run=true", json={}))
    assert (where, pointer) == ("query", "/dry-run")
    assert "Did you mean 'dry_run'?" in message


def test_parameters_of_dependencies_and_their_aliases_are_known(client: TestClient):
    assert client.get("/v1/things?limit=7&called=x").json() == 7
    assert "'called'" in refused(client.get("/v1/things?caled=x"))[2]


def test_an_address_without_parameters_says_so(client: TestClient):
    assert "None is taken here" in refused(client.get("/v1/things/a?x=1"))[2]


@pytest.mark.parametrize("sent", [b"{}", b'{"force": true}', b"[]"])
def test_a_body_nobody_reads_is_refused(client: TestClient, sent: bytes):
    assert "takes no body" in refused(client.post("/v1/things/a/stop", content=sent))[2]
    assert "takes no body" in refused(client.request("GET", "/v1/things", content=iter([sent])))[2]
    assert client.post("/v1/things/a/stop").json() == "a"


@pytest.mark.parametrize("media_type", [None, "application/x-www-form-urlencoded", "text/plain", "application/jsonx"])
def test_a_body_that_does_not_say_that_it_is_json_is_a_415(client: TestClient, media_type: str | None):
    headers = {"Content-Type": media_type} if media_type else {}
    answer = client.post("/v1/things", content=b'{"epochs": 2}', headers=headers)
    assert answer.status_code == 415
    assert "`Content-Type: application/json`" in answer.json()["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/a+json"])
def test_json_by_any_of_its_names_is_taken(client: TestClient, media_type: str):
    answer = client.post("/v1/things", content=b'{"epochs": 2}', headers={"Content-Type": media_type})
    assert answer.json()["epochs"] == 2


def test_a_raw_body_is_of_any_kind(client: TestClient):
    assert client.put("/v1/things/a/raw", content=b"\0\1").json() == 2


@pytest.mark.parametrize("sent", ["[]", "null", '"x"'])
def test_what_is_no_object_is_told_so(client: TestClient, sent: str):
    answer = client.post("/v1/things", content=sent, headers={"Content-Type": "application/json"})
    assert answer.json()["detail"] in (
        "body: This should be a JSON object.",
        "body: The body is missing; send a JSON object.",
    )


@pytest.mark.parametrize(
    ("sent", "pointer", "near"),
    [
        ({"epoch": 2}, "/epoch", "epochs"),
        ({"inner": {"rat": 2}}, "/inner/rat", "rate"),
        ({"many": [{}, {"rates": 2}]}, "/many/1/rates", "rate"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(
    client: TestClient, sent: dict[str, Any], pointer: str, near: str
):
    found = refused(client.post("/v1/things", json=sent))
    assert found == ("body", pointer, f"There is no such field. Did you mean '{near}'?")


@pytest.mark.parametrize("sent", ["[" * 100_000, "[" * 3000 + "]" * 3000, '{"epochs": ' * 5000])
def test_a_body_nested_too_deep_is_told_so(client: TestClient, sent: str):
    answer = client.post("/v1/things", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "body: This is nested too deep."


@pytest.mark.parametrize("sent", [b'{"epochs": "\xff"}', b'{"epochs": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_json_of_ours_is_told_so(client: TestClient, sent: bytes):
    answer = client.post("/v1/things", content=sent, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "body: This is not JSON in UTF-8.")


def test_head_is_get_without_its_body(client: TestClient):
    asked, read = client.head("/v1/things?limit=3"), client.get("/v1/things?limit=3")
    assert (asked.status_code, asked.content, asked.headers) == (200, b"", read.headers)
    assert client.head("/v1/things?x=3").status_code == 422
    assert client.head("/nowhere").status_code == 404


def test_head_of_a_stream_without_end_ends(client: TestClient):
    answer = client.head("/v1/things/a/stream")
    assert (answer.headers["etag"], answer.content) == ('"7"', b"")


def test_a_head_of_its_own_is_left_alone(client: TestClient):
    assert client.head("/v1/things/a/raw").status_code == 200


def test_allow_names_every_method_of_the_address(client: TestClient):
    for method in ("DELETE", "PUT"):
        answer = client.request(method, "/v1/things")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert client.get("/v1/things/a/raw").headers["allow"] == "HEAD, PUT"
    answer = client.head("/v1/things/a/stop")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/v1/things/", "/v1/things"), ("/v1/things/secret/", "/v1/things/{name}"), ("/v1/thing", "/v1/things")],
)
def test_a_wrong_address_is_no_redirect_but_told_the_right_one(client: TestClient, path: str, meant: str):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert f"Did you mean {meant}?" in answer.json()["detail"]
    assert "secret" not in answer.text


def test_every_route_of_both_services_is_strict():
    from libs.web.addresses import routes_of
    from libs.web.routing import StrictRoute
    from services.gateway.app import create_app
    from services.model_server.app import make_app

    for app in (create_app(), make_app()):
        described = [route for route in routes_of(app) if isinstance(route, APIRoute) and route.include_in_schema]
        assert len(described) > 8
        assert [route.path for route in described if not isinstance(route, StrictRoute)] == []
