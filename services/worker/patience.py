"""How long what is away for a while is waited for: an artifact store that fails, a disk that is full."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TypeVar

from libs.registry.artifacts import ArtifactError, ArtifactNotFound, ArtifactRefused, DigestMismatch
from services.worker.devices import NoLongerWanted

T = TypeVar("T")
_FIRST_S, _LONGEST_S = 0.5, 10.0
_FINAL = (ArtifactNotFound, ArtifactRefused, DigestMismatch)


def waits() -> Iterator[float]:
    """Seconds to wait before each further try, without end: half a second, then more, at most ten."""
    wait_s = _FIRST_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, _LONGEST_S)


def is_worth_waiting(error: OSError) -> bool:
    """Whether it is about the store or the disk, and may pass.

    An OSError of ours without a number is about the files themselves.
    """
    return not isinstance(error, _FINAL) and (isinstance(error, ArtifactError) or error.errno is not None)


@dataclass(frozen=True, slots=True)
class Patience:
    """That of one attempt.

    Attributes:
        wait_s: how long a store may fail.
        is_unwanted: whether the attempt was told to stop.
        pause: waits so many seconds, or until the worker ends.
        tell: says what went wrong, each time.
    """

    wait_s: float
    is_unwanted: Callable[[], bool]
    pause: Callable[[float], object]
    tell: Callable[[OSError], None]

    def check(self) -> None:
        """Raises: NoLongerWanted: the attempt was told to stop."""
        if self.is_unwanted():
            raise NoLongerWanted

    def until_done(self, work: Callable[[], T]) -> T:
        """What `work` returns; while the store fails it is done again.

        Raises:
            NoLongerWanted: the attempt was told to stop meanwhile.
            OSError: the store failed for `wait_s`, or waiting does not help.
        """
        gives_up_at, further = time.monotonic() + self.wait_s, waits()
        while True:
            try:
                return work()
            except OSError as error:
                pause_s = next(further)
                if not is_worth_waiting(error) or time.monotonic() + pause_s > gives_up_at:
                    raise
                self.tell(error)
            self.check()
            self.pause(pause_s)

    def until_entered(self, stack: ExitStack, make: Callable[[], AbstractContextManager[T]]) -> T:
        """What a context that `make` makes gives, once it can be entered; `stack` leaves it. Raises as `until_done`."""
        return self.until_done(lambda: stack.enter_context(make()))
