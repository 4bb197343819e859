"""Request bodies with a limit that holds whatever Content-Length says."""

from fastapi import Request

from libs.web.problems import BadRequestError, TooLargeError


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: it is longer than `limit_bytes`; the rest is not read.
        BadRequestError: there is none.
    """
    announced = request.headers.get("content-length", "0")
    if len(announced) > 15 or (announced.isascii() and announced.isdigit() and int(announced) > limit_bytes):
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    size_bytes = 0
    async for part in request.stream():
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
    if not size_bytes:
        raise BadRequestError("The request has no body.", code="empty_body")
    return b"".join(parts)


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {limit_bytes} bytes, the limit of this server.")
