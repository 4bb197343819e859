"""A client whose answers come from a function of the test."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from libs.client.discovery import Target
from libs.client.transport import Retries, Transport

Handler = Callable[[httpx2.Request], httpx2.Response]


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
