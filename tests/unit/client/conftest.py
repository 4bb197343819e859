"""A client, and the whole `octavo` command, whose answers come from the test."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from libs.client.cli import main
from libs.client.discovery import Target
from libs.client.transport import Retries, Transport

Handler = Callable[[httpx2.Request], httpx2.Response]


@dataclass
class FakeGateway:
    """Answers by method and path, such as `GET /v1/jobs`; remembers what it was asked.

    An answer is JSON (in a list where there are several in a row, the last one for ever), a response, or a function.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[httpx2.Request] = field(default_factory=list)
    otherwise: Handler | None = None
    """Answers what `answers` does not name."""

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.get(f"{request.method} {request.url.path}", self.otherwise)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(request)
        if answer is None:
            return httpx2.Response(404, json={"detail": f"There is no {request.url.path}.", "code": "not_found"})
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    def sent(self, method: str, path: str) -> list[Any]:
        """The JSON bodies of the requests to this address."""
        fitting = [one for one in self.asked if (one.method, one.url.path) == (method, path)]
        return [json.loads(one.content) if one.content else None for one in fitting]


@dataclass(frozen=True)
class Ended:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output line by line, without padding."""
        return [line.rstrip() for line in self.out.splitlines()]


@pytest.fixture
def gateway() -> FakeGateway:
    """The gateway that `octavo` talks to; fill in its answers."""
    return FakeGateway()


@pytest.fixture
def octavo(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs the command in this process."""

    def connected(target: Target, **_: object) -> Transport:
        return Transport(target, transport=httpx2.MockTransport(gateway), sleep=lambda _: None)

    monkeypatch.setattr("libs.client.client.Transport", connected)
    monkeypatch.setenv("OCTAVO_URL", "http://gateway.test")
    monkeypatch.setenv("OCTAVO_API_KEY", "oct_key")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def naps() -> list[float]:
    """Every wait between two tries."""
    return []


@pytest.fixture
def transport_to(naps: list[float]) -> Iterator[Callable[..., Transport]]:
    """A transport to a handler; it waits by writing the time down."""
    made: list[Transport] = []

    def make(handler: Handler, **retries: object) -> Transport:
        one = Transport(
            Target("http://gateway.test", "oct_key"),
            retries=Retries(**retries),
            transport=httpx2.MockTransport(handler),
            sleep=naps.append,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
