"""Requests passed on to the model server, bodies streamed both ways."""

from collections.abc import AsyncIterator

import httpx2
from fastapi import Request
from starlette.responses import StreamingResponse

from libs.web.problems import BadGatewayError, UnavailableError, UpstreamTimeoutError
from libs.web.request_id import current_request_id

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


async def forward(client: httpx2.AsyncClient, request: Request) -> StreamingResponse:
    """The model server's answer to this request.

    The key goes along: the model server checks it against its own copy of the keys, so that it is safe by itself.

    Raises:
        UnavailableError: the model server does not accept connections.
        UpstreamTimeoutError: it accepted, and gave no answer in time.
        BadGatewayError: it broke off.
    """
    headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
    headers["X-Request-ID"] = current_request_id()
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    outgoing = client.build_request(
        request.method,
        request.url.path,
        params=request.url.query or None,
        headers=headers,
        content=request.stream() if has_body else None,
    )
    answer = await _send(client, outgoing)
    return StreamingResponse(_body(answer), answer.status_code, headers=_headers_back(answer))


async def _send(client: httpx2.AsyncClient, outgoing: httpx2.Request) -> httpx2.Response:
    try:
        return await client.send(outgoing, stream=True)
    except httpx2.ConnectError:
        raise UnavailableError(
            "The model server does not answer; deployments are served again when it is back.",
            code="model_server_down",
            headers={"Retry-After": "2"},
        ) from None
    except httpx2.TimeoutException:
        raise UpstreamTimeoutError("The model server gave no answer in time.") from None
    except httpx2.TransportError as error:
        raise BadGatewayError(f"The model server broke off: {type(error).__name__}.") from None


def _headers_back(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name in _PASSED_BACK}


async def _body(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
