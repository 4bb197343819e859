"""Retries do nothing twice, and every refusal is an error of its own kind."""

import httpx2
import pytest

from libs.client import errors
from libs.client.transport import Retries

OK = httpx2.Response(200, json={"fine": True})


class Script:
    """Answers from a list, the last one for ever; remembers the requests."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers, self.requests = list(answers), []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_restart_of_the_gateway_is_bridged_with_growing_waits(transport_to, naps):
    script = Script(httpx2.ConnectError("refused"), httpx2.Response(503), httpx2.Response(502), OK)
    assert transport_to(script).json("GET", "/v1/jobs/1") == {"fine": True}
    assert len(script.requests) == 4
    assert len(naps) == 3
    assert all(0.5 * longest <= nap <= longest for nap, longest in zip(naps, (0.2, 0.4, 0.8), strict=True))


def test_the_default_patience_bridges_at_least_ten_seconds():
    rule = Retries()
    shortest = sum(min(rule.longest_wait_s, rule.first_wait_s * 2.0**n) / 2 for n in range(rule.attempts - 1))
    assert shortest >= 8.0


def test_a_keyed_post_is_repeated_with_the_same_key(transport_to):
    script = Script(httpx2.ReadError("gone"), httpx2.Response(502), OK)
    transport_to(script).post("/v1/jobs", {"method": "frskd"})
    keys = {request.headers["Idempotency-Key"] for request in script.requests}
    assert (len(script.requests), len(keys)) == (3, 1)
    assert script.requests[0].headers["Authorization"] == "Bearer oct_key"


def test_a_post_without_a_key_is_sent_once_unless_nothing_was_sent(transport_to):
    lost = Script(httpx2.ReadError("gone"), OK)
    with pytest.raises(errors.UnreachableError, match=r"http://gateway.test does not answer \(gone\)"):
        transport_to(lost).json("POST", "/v1/datasets", json={})
    assert len(lost.requests) == 1
    refused = Script(httpx2.ConnectError("refused"), OK)
    assert transport_to(refused).json("POST", "/v1/datasets", json={}) == {"fine": True}


def test_it_gives_up_after_its_attempts(transport_to, naps):
    script = Script(httpx2.ConnectError("refused"))
    with pytest.raises(errors.UnreachableError, match="octavo status"):
        transport_to(script, attempts=3).json("GET", "/livez")
    assert (len(script.requests), len(naps)) == (3, 2)


PROBLEM = {
    "status": 422,
    "code": "invalid_request",
    "detail": "config.beta: too large",
    "request_id": "r1",
    "errors": [{"pointer": "/config/beta", "message": "too large", "location": "body"}],
}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequestError),
        (401, errors.AuthenticationError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (412, errors.ConflictError),
        (413, errors.InvalidRequestError),
        (422, errors.InvalidRequestError),
        (429, errors.UnavailableError),
        (500, errors.ServerError),
        (504, errors.UnavailableError),
    ],
)
def test_each_refusal_is_an_error_of_its_kind_with_everything_said(transport_to, status, kind):
    script = Script(httpx2.Response(status, json=PROBLEM))
    with pytest.raises(kind, match=r"config\.beta: too large") as caught:
        transport_to(script, attempts=1).json("GET", "/v1/jobs")
    assert caught.value.code == "invalid_request"
    assert caught.value.request_id == "r1"
    assert caught.value.fields == (errors.FieldProblem("/config/beta", "too large"),)


def test_an_answer_that_is_no_problem_document_is_still_an_error(transport_to):
    with pytest.raises(errors.ServerError, match="HTTP 500 without an explanation"):
        transport_to(Script(httpx2.Response(500, text="<html>"))).json("GET", "/v1/jobs")


def test_a_list_is_read_page_by_page(transport_to):
    pages = {None: (["a", "b"], "c1"), "c1": (["c"], "c2"), "c2": ([], None)}

    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.url.params["limit"] == "2"
        items, following = pages[request.url.params.get("cursor")]
        return httpx2.Response(200, json={"items": items, "next_cursor": following})

    assert list(transport_to(handler).pages("/v1/jobs", {"limit": 2, "method": None})) == ["a", "b", "c"]
