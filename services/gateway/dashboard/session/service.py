"""Logging in with an API key, and what a browser's cookie stands for afterwards.

The cookie holds a random token; the database holds its SHA-256 and the key, sealed under a pad of that token. So
neither alone can act: a copy of the table opens nothing, and the cookie of a session that was ended opens nothing.
"""

import hashlib
import secrets
from collections import deque
from dataclasses import dataclass
from time import monotonic

from libs.web.auth import Caller, identify
from libs.web.problems import ProblemError, UnauthorizedError
from services.gateway.context import Gateway
from services.gateway.dashboard.session import repository

_TOKEN_BYTES = 32
_WRONG_KEYS = 20
_WRONG_WITHIN_S = 60.0


class TooManyAttemptsError(ProblemError):
    """Too many wrong keys came from this address."""

    status, code = 429, "too_many_attempts"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page.

    Attributes:
        key_text: the API key, for requests that are passed on to an inference service.
        csrf: what every form of this session carries.
    """

    caller: Caller
    key_name: str
    key_text: str
    csrf: str


class WrongKeys:
    """Counts wrong keys by address, so that nobody makes this process look up keys without end."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Refuse an address that has sent too many wrong keys lately.

        Raises:
            TooManyAttemptsError: it has.
        """
        times = self._times.get(address)
        if times is not None and len(times) == _WRONG_KEYS and monotonic() - times[0] < _WRONG_WITHIN_S:
            raise TooManyAttemptsError("Too many wrong keys came from your address; wait a minute.")

    def note(self, address: str) -> None:
        """A wrong key came from this address."""
        if len(self._times) > 10_000:
            self._times.clear()
        self._times.setdefault(address, deque(maxlen=_WRONG_KEYS)).append(monotonic())


def log_in(gateway: Gateway, key_text: str) -> str:
    """Begin a session; its token, for the cookie.

    Raises:
        UnauthorizedError: the key is not valid.
    """
    caller = identify(key_text, gateway.keys)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with gateway.writing() as session:
        repository.add(session, _digest(token), caller.key_id, _sealed(token, key_text.encode()))
    return token


def log_out(gateway: Gateway, token: str) -> None:
    """End the session of a token."""
    with gateway.writing() as session:
        repository.remove(session, _digest(token))


def visitor_of(gateway: Gateway, token: str) -> Visitor:
    """Who the token of a cookie stands for.

    Raises:
        UnauthorizedError: the session has ended, or its key was revoked.
    """
    digest = _digest(token)
    found = repository.find(gateway.engine, digest)
    if found is None:
        raise UnauthorizedError("Log in first: this session has ended.")
    key_text = _sealed(token, found.sealed_key).decode()
    caller = identify(key_text, gateway.keys)
    if not found.noted:
        repository.note_use(gateway.engine, digest)
    return Visitor(caller, found.key_name, key_text, _derived("csrf", token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _derived(purpose: str, token: str) -> str:
    return hashlib.sha256(f"octavo {purpose}:{token}".encode()).hexdigest()


def _sealed(token: str, data: bytes) -> bytes:
    """`data` under, or from under, a pad that is as long and used for nothing else: the token is random and new."""
    pad = hashlib.shake_256(f"octavo seal:{token}".encode()).digest(len(data))
    return bytes(left ^ right for left, right in zip(data, pad, strict=True))
