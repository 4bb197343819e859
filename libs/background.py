"""Threads that work beside the one that starts them."""

from collections.abc import Callable
from contextvars import copy_context
from threading import Event, Thread


class Background:
    """Runs `work` once in a daemon thread; `work` returns soon after `stopping` is set, and waits by it."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.stopping = Event()
        self._thread = Thread(target=work, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Tell it to stop and wait, at most `timeout_s`; whether it has ended."""
        self.stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def thread_of_this_context(work: Callable[[], object], name: str) -> Thread:
    """A daemon thread, not started yet, that logs and traces under what is bound here, such as the job at hand."""
    return Thread(target=copy_context().run, args=(work,), name=name, daemon=True)
