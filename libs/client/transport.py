"""HTTP to the gateway: one connection pool, retries that do nothing twice, typed errors."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

from libs.client.discovery import Target
from libs.client.errors import UnreachableError, problem_of

_SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_PASSING_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, and how long the waits are.

    The defaults bridge 20 s: a restart of the gateway takes less.
    """

    attempts: int = 8
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0

    def wait_s(self, failures: int) -> float:
        """Wait after the `failures`-th failure: doubling, with a random part so that clients spread out."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class Transport:
    """Sends requests; every answer that is not a success becomes an error of `libs.client.errors`."""

    def __init__(
        self,
        target: Target,
        *,
        timeout_s: float = 90.0,
        retries: Retries | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.target = target
        self.retries = retries or Retries()
        self.sleep = sleep
        self._client = httpx2.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.api_key}", "Accept": "application/json"},
            timeout=httpx2.Timeout(timeout_s, connect=5.0),
            transport=transport,
            trust_env=not _is_local(target.url),  # a proxy of the environment cannot reach this machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the JSON of its answer; None when the answer has no body."""
        response = self.send(method, path, **options)
        return response.json() if response.content else None

    def post(self, path: str, body: Any = None, params: Mapping[str, Any] | None = None, key: str | None = None) -> Any:
        """POST JSON under an idempotency key, to an address that takes one: a repeat does nothing twice."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        return self.json("POST", path, json=body, params=_present(params), headers=headers)

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request, again where that is safe and may help.

        Raises:
            UnreachableError: no answer came.
            ProblemError: the answer is not a success.
        """
        repeatable = method in _SAFE_METHODS or "Idempotency-Key" in (options.get("headers") or {})
        failures = 0
        while True:
            failures += 1
            last = not repeatable or failures >= self.retries.attempts
            try:
                response = self._client.request(method, path, **options)
            except httpx2.ConnectError as error:  # nothing was sent: safe for every request
                if failures >= self.retries.attempts:
                    raise self._unreachable(error) from error
            except httpx2.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
            else:
                if response.is_success:
                    return response
                if last or response.status_code not in _PASSING_STATUSES:
                    raise problem_of(response.status_code, _json_of(response))
            self.sleep(self.retries.wait_s(failures))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """Send a request whose answer is read piece by piece; no retries.

        Raises:
            UnreachableError: no answer came, or it broke off.
            ProblemError: the answer is not a success.
        """
        try:
            with self._client.stream(method, path, **options) as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response.status_code, _json_of(response))
                yield response
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Every item of a list, page by page."""
        wanted = dict(_present(params))
        while True:
            page = self.json("GET", path, params=wanted)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            wanted["cursor"] = page["next_cursor"]

    def _unreachable(self, error: Exception) -> UnreachableError:
        what = str(error) or type(error).__name__
        return UnreachableError(
            f"{self.target.url} does not answer ({what}). Does it run? `octavo status` tells of the local stack."
        )


def _present(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _json_of(response: httpx2.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None


def _is_local(url: str) -> bool:
    return httpx2.URL(url).host in ("127.0.0.1", "localhost", "::1")
