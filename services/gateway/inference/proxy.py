"""Requests passed on to an inference service, bodies streamed both ways."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import Request
from starlette.responses import StreamingResponse

from libs.origin import current_origin
from libs.web.problems import BadGatewayError, UnavailableError, UpstreamTimeoutError

_PASSED_ON = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "inference-header-content-length",
    }
)
_PASSED_BACK = _PASSED_ON - {"authorization", "accept", "accept-encoding"} | {
    "allow",
    "etag",
    "retry-after",
    "server-timing",
    "www-authenticate",
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service behind the gateway.

    Attributes:
        name: for people, `model server`.
    """

    name: str
    client: httpx2.AsyncClient


async def forward(
    upstream: Upstream, request: Request, path: str | None = None, key: str | None = None
) -> StreamingResponse:
    """The service's answer to this request.

    The key goes along: the service checks it against its own copy of the keys, so that it is safe by itself.

    Args:
        path: where the service is asked, percent-encoded; None: at the address of this request.
        key: the API key, where the request itself carries none.

    Raises:
        UnavailableError: the service does not accept connections.
        UpstreamTimeoutError: it accepted, and gave no answer in time.
        BadGatewayError: it broke off.
    """
    headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
    headers |= _origin_headers()
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    outgoing = upstream.client.build_request(
        request.method,
        path
        or request.scope["raw_path"].decode("ascii"),  # as it was sent: decoded, an id with / or ? would lead elsewhere
        params=request.url.query or None,
        headers=headers,
        content=request.stream() if has_body else None,
    )
    answer = await _send(upstream, outgoing)
    return StreamingResponse(_body(answer), answer.status_code, headers=_headers_back(answer))


async def ask(upstream: Upstream, path: str, key: str, body: Any = None) -> httpx2.Response:
    """The service's whole answer to a question of our own, for the holder of a key: a GET, or with a body a POST.

    Raises:
        UnavailableError, UpstreamTimeoutError, BadGatewayError: as `forward`.
    """
    headers = {"Authorization": f"Bearer {key}", **_origin_headers()}
    method = "GET" if body is None else "POST"
    answer = await _send(upstream, upstream.client.build_request(method, path, json=body, headers=headers))
    await answer.aread()
    return answer


def read_answer(upstream: Upstream, answer: httpx2.Response) -> tuple[dict[str, Any] | None, str]:
    """The JSON object of an answer 200; of any other None, and the service's words, or ours where it has none."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return None, f"The {upstream.name} answered {answer.status_code} with something that is no JSON object."
    if answer.status_code != 200:
        return None, str(found.get("detail", f"The {upstream.name} answered {answer.status_code}."))
    return found, ""


def _origin_headers() -> dict[str, str]:
    """So that the service logs and traces under the same request."""
    origin = current_origin()
    traceparent = {"traceparent": origin.traceparent} if origin.traceparent else {}
    return {"X-Request-ID": origin.request_id, **traceparent}


async def _send(upstream: Upstream, outgoing: httpx2.Request) -> httpx2.Response:
    try:
        return await upstream.client.send(outgoing, stream=True)
    except httpx2.ConnectError:
        raise UnavailableError(
            f"The {upstream.name} does not answer; deployments are served again when it is back.",
            code=f"{upstream.name.replace(' ', '_')}_down",
            headers={"Retry-After": "2"},
        ) from None
    except httpx2.TimeoutException:
        raise UpstreamTimeoutError(f"The {upstream.name} gave no answer in time.") from None
    except httpx2.TransportError as error:
        raise BadGatewayError(f"The {upstream.name} broke off: {type(error).__name__}.") from None


def _headers_back(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name in _PASSED_BACK}


async def _body(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
