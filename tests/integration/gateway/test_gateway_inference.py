"""Inference through the gateway: passed on to a real model server, or to one that misbehaves."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from libs.web.auth import Scope
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PICTURE = {"Content-Type": "image/png"}


@contextmanager
def listening(peer: Peer) -> Iterator[str]:
    """A server that treats every connection as `peer` does; yields its address."""
    loop = asyncio.new_event_loop()

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(treat, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@pytest.fixture
def through(settings: GatewaySettings, admin: dict[str, str]) -> Callable[..., Iterator[TestClient]]:
    """A gateway in front of the model server at an address."""

    @contextmanager
    def open_client(url: str, **changes: object) -> Iterator[TestClient]:
        changed = settings.model_copy(update={"model_server_url": url, **changes})
        with TestClient(create_app(changed), headers=admin, raise_server_exceptions=False) as client:
            yield client

    return open_client


async def request_of(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers and body of what arrives."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return first, headers, body


def test_a_request_goes_through_as_it_is(through: Callable[..., Iterator[TestClient]], admin: dict[str, str]) -> None:
    seen = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n"
        head += (
            "Inference-Header-Content-Length: 2\r\nServer-Timing: run;dur=1\r\nX-Secret: 1\r\nSet-Cookie: a=b\r\n\r\n"
        )
        writer.write(head.encode() + b"\x00\x01\x02\x03")
        await writer.drain()

    with listening(peer) as url, through(url) as client:
        headers = {"Inference-Header-Content-Length": "3", "X-Request-ID": "abc", "Cookie": "c=d", "X-Other": "1"}
        headers["Content-Type"] = "application/octet-stream"
        answer = client.post("/v1/classify/cats?top_k=2", content=b"\xff\xfe\xfd", headers=headers)
    line, sent, body = seen[0]
    assert (line, body) == ("POST /v1/classify/cats?top_k=2 HTTP/1.1", b"\xff\xfe\xfd")
    assert sent["authorization"] == admin["Authorization"]
    assert (sent["inference-header-content-length"], sent["x-request-id"]) == ("3", "abc")
    assert sent.keys() & {"cookie", "x-other"} == set()
    assert answer.content == b"\x00\x01\x02\x03"
    assert answer.headers["inference-header-content-length"] == "2"
    assert "run;dur=1" in answer.headers["server-timing"]
    assert answer.headers.keys() & {"x-secret", "set-cookie"} == set()


def test_an_error_of_the_model_server_comes_back_as_it_is(through: Callable[..., Iterator[TestClient]]) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        body = b'{"code": "model_not_loaded"}'
        head = (
            f"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()

    with listening(peer) as url, through(url) as client:
        answer = client.post("/v1/classify/cats", content=b"png", headers=PICTURE)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_loaded")
    assert answer.headers["content-type"] == "application/problem+json"


def problem(answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_a_model_server_that_is_down_is_a_503(through: Callable[..., Iterator[TestClient]]) -> None:
    with through("http://127.0.0.1:1") as client:
        answer = client.post("/v1/classify/cats", content=b"png", headers=PICTURE)
    assert problem(answer) == (503, "model_server_down")
    assert answer.headers["retry-after"]


def test_a_recommender_that_is_down_is_a_503_of_its_own(through: Callable[..., Iterator[TestClient]]) -> None:
    with through("http://127.0.0.1:1", recommender_url="http://127.0.0.1:1") as client:
        answers = [
            client.post("/v1/recommendations", json={"model": "films"}),
            client.post("/v1/events", json=[]),
            client.get("/v1/users/a%2Fb/history?limit=5"),
            client.delete("/v1/sessions/s1/history"),
            client.get("/v1/feedback/summary?model=films"),
        ]
    assert {problem(answer) for answer in answers} == {(503, "recommender_down")}
    assert "recommender does not answer" in answers[0].json()["detail"]


@pytest.mark.parametrize("user", ["a%2520b", "u%2F..%2Fv", "q%3Fx%23y", "%13%C3%9F", "a%2Bb+c"])
def test_an_id_reaches_the_recommender_as_it_was_sent(through: Callable[..., Iterator[TestClient]], user: str) -> None:
    """Decoded and encoded again it would be somebody else's: erasing would hit the wrong user."""
    lines = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await request_of(reader))[0])
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    with listening(peer) as url, through(url, recommender_url=url) as client:
        answer = client.delete(f"/v1/users/{user}/history")
    assert answer.status_code == 204
    assert lines == [f"DELETE /v1/users/{user}/history HTTP/1.1"]


def test_events_need_their_own_scope(through: Callable[..., Iterator[TestClient]], make_headers: KeyMaker) -> None:
    with through("http://127.0.0.1:1") as client:
        infers = make_headers(Scope.INFER)
        for method, path in (("POST", "/v1/events"), ("GET", "/v1/users/u/history"), ("DELETE", "/v1/users/u/history")):
            assert client.request(method, path, headers=infers).status_code == 403


def test_a_model_server_that_breaks_off_is_a_502(through: Callable[..., Iterator[TestClient]]) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)

    with listening(peer) as url, through(url) as client:
        assert problem(client.post("/v1/classify/cats", content=b"png", headers=PICTURE)) == (502, "bad_gateway")


def test_a_model_server_that_does_not_answer_is_a_504(through: Callable[..., Iterator[TestClient]]) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with listening(peer) as url, through(url, inference_timeout_s=0.2) as client:
        assert problem(client.get("/v2/models/cats")) == (504, "upstream_timeout")


def test_a_body_over_the_limit_never_reaches_the_model_server(through: Callable[..., Iterator[TestClient]]) -> None:
    with through("http://127.0.0.1:1", max_inference_bytes=10) as client:
        announced = client.post("/v1/classify/cats", content=b"x" * 11, headers=PICTURE)
        assert problem(announced) == (413, "too_large")


def test_a_body_that_grows_over_the_limit_is_cut_off(through: Callable[..., Iterator[TestClient]]) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with listening(peer) as url, through(url, max_inference_bytes=10) as client:
        streamed = client.post("/v1/classify/cats", content=iter([b"x" * 6, b"x" * 6]), headers=PICTURE)
        assert problem(streamed) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/classify/cats", Scope.INFER),
        ("POST", "/v2/models/cats/infer", Scope.INFER),
        ("POST", "/v2/models/cats/versions/3/infer", Scope.INFER),
        ("GET", "/v2/models/cats", Scope.INFER),
        ("GET", "/v2/models/cats/versions/3/ready", Scope.INFER),
        ("POST", "/v2/repository/index", Scope.DEPLOYMENTS_READ),
        ("POST", "/v2/repository/models/cats/load", Scope.DEPLOYMENTS_WRITE),
        ("POST", "/v2/repository/models/cats/unload", Scope.DEPLOYMENTS_WRITE),
    ],
)
def test_the_scope_is_checked_before_anything_is_passed_on(
    through: Callable[..., Iterator[TestClient]], make_headers: KeyMaker, method: str, path: str, scope: str
) -> None:
    others = make_headers(*(set(Scope) - {Scope.ADMIN, scope}))
    with through("http://127.0.0.1:1") as client:
        assert client.request(method, path, headers=others).status_code == 403
        assert client.request(method, path, headers=make_headers(scope)).status_code == 503


def test_health_of_the_model_server_needs_no_key(through: Callable[..., Iterator[TestClient]]) -> None:
    with through("http://127.0.0.1:1") as client:
        del client.headers["Authorization"]
        assert problem(client.get("/v2/health/ready")) == (503, "model_server_down")
