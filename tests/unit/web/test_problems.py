import asyncio
import json
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, Query, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from starlette.testclient import TestClient
from starlette.types import Message

from libs.web import problems
from libs.web.body_limit import BodyLimit
from libs.web.json_text import check_storable
from libs.web.metrics import HttpMetrics
from libs.web.middleware import RequestContext
from libs.web.problems import ConflictError, ProblemError, pointer, validation_problem


def follow(document: Any, text: str) -> Any:
    """RFC 6901, section 4."""
    for token in text.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


steps = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 3)), max_size=5)


@given(steps)
def test_a_pointer_leads_to_the_place_it_was_made_for(path: list[str | int]) -> None:
    document: Any = "here"
    for step in reversed(path):
        document = {step: document} if isinstance(step, str) else [None] * step + [document]
    assert follow(document, pointer(path)) == "here"


class LibraryError(Exception):
    pass


class NarrowerError(LibraryError):
    pass


class Body(BaseModel):
    rate: float = Field(gt=0)
    names: list[str] = []


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    problems.install(app, {LibraryError: lambda error: ConflictError(str(error), code="library")})
    app.add_middleware(BodyLimit, default_bytes=100, limits=[(r"/large/.*", 1000)])
    app.add_middleware(RequestContext, metrics=HttpMetrics("test"))

    @app.post("/body")
    @app.post("/large/body")
    def body(sent: Body) -> Body:
        return sent

    @app.get("/query")
    def query(n: Annotated[int, Query(ge=1)], flag: Annotated[str | None, Header(pattern="^[a-z]+$")] = None) -> int:
        return n

    @app.get("/library")
    def library() -> None:
        raise NarrowerError("no room")

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("secret: hunter2")

    return TestClient(app, raise_server_exceptions=False)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:octavo:problem:{code}"
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def test_a_wrong_body_points_to_every_wrong_field(client: TestClient) -> None:
    document = problem(client.post("/body", json={"rate": 0, "names": ["a", 1]}), 422, "invalid_request")
    assert [(e["pointer"], e["location"]) for e in document["errors"]] == [("/rate", "body"), ("/names/1", "body")]
    assert "and 1 more" in document["detail"]


def test_wrong_queries_and_headers_say_where_they_are(client: TestClient) -> None:
    document = problem(client.get("/query?n=0", headers={"flag": "7"}), 422, "invalid_request")
    assert {(e["pointer"], e["location"]) for e in document["errors"]} == {("/n", "query"), ("/flag", "header")}


def test_what_was_sent_is_not_sent_back(client: TestClient) -> None:
    answer = client.post("/body", json={"rate": "hunter2"})
    assert "hunter2" not in answer.text


def test_a_body_that_is_no_json(client: TestClient) -> None:
    answer = client.post("/body", content=b'{"rate": ', headers={"content-type": "application/json"})
    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == ""


def test_unknown_address_and_method(client: TestClient) -> None:
    problem(client.get("/nowhere"), 404, "not_found")
    answer = client.put("/body")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_a_library_error_is_mapped_and_so_are_its_subclasses(client: TestClient) -> None:
    assert problem(client.get("/library"), 409, "library")["detail"] == "no room"


def test_a_bug_tells_nothing_but_its_request_id(client: TestClient) -> None:
    answer = client.get("/bug", headers={"X-Request-ID": "abc-1"})
    assert problem(answer, 500, "internal_error")["request_id"] == "abc-1"
    assert "hunter2" not in answer.text


def test_a_body_over_the_limit_is_refused_by_its_announced_length(client: TestClient) -> None:
    document = problem(client.post("/body", content=b"x" * 101), 413, "too_large")
    assert "100 bytes" in document["detail"]


def test_a_body_over_the_limit_is_cut_off_while_it_streams(client: TestClient) -> None:
    sent = iter([b'{"rate": 1, "names": ["', b"x" * 100, b'"]}'])
    answer = client.post("/body", content=sent, headers={"content-type": "application/json"})
    problem(answer, 413, "too_large")


def test_a_path_may_have_a_limit_of_its_own(client: TestClient) -> None:
    body = {"rate": 1.0, "names": ["x" * 200]}
    assert client.post("/large/body", json=body).json() == body
    problem(client.post("/large/body", content=b"x" * 1001), 413, "too_large")


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a\tb"])
def test_a_request_id_unfit_for_logs_is_replaced(client: TestClient, sent: str) -> None:
    answer = client.get("/nowhere", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 32


def test_server_timing_names_the_total(client: TestClient) -> None:
    assert client.post("/body", json={"rate": 1}).headers["server-timing"].startswith("total;dur=")


def test_a_validation_error_found_by_a_service_points_below_its_prefix() -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"rate": -1})
    found = validation_problem(caught.value, ("config",))
    assert [field.pointer for field in found.errors] == ["/config/rate"]


def test_every_problem_class_has_its_own_status_and_code() -> None:
    classes = ProblemError.__subclasses__()
    assert len({cls.status for cls in classes}) == len({cls.code for cls in classes}) == len(classes)


def test_the_answer_is_json_even_for_text_that_is_hard_to_send(client: TestClient) -> None:
    assert json.loads(problems.response_of(ConflictError('"\n\u2028é')).body)["detail"] == '"\n\u2028é'


def test_of_very_many_wrong_fields_the_first_are_named() -> None:
    with pytest.raises(ValidationError) as raised:
        Body.model_validate({"rate": 1, "names": [1] * 1000})
    assert len(validation_problem(raised.value).errors) == problems.MOST_FIELDS
    with pytest.raises(problems.UnprocessableError) as refused:
        check_storable(["\0"] * 1000)
    assert len(refused.value.errors) == problems.MOST_FIELDS


@pytest.mark.anyio
async def test_a_body_that_stops_coming_is_not_waited_for() -> None:
    sent: list[Message] = []
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Message:
        if (part := next(parts, None)) is not None:
            return part
        await asyncio.Event().wait()
        raise AssertionError("nothing more comes")

    async def send(message: Message) -> None:
        sent.append(message)

    app = FastAPI()
    problems.install(app)

    @app.post("/body")
    async def body(request: Request) -> bytes:
        return await request.body()

    scope = {"type": "http", "method": "POST", "path": "/body", "headers": [], "query_string": b"", "root_path": ""}
    app.add_middleware(BodyLimit, default_bytes=100, stall_s=0.01)
    await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "request_timeout"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
