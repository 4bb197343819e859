"""A thread that works until it is told to stop."""

from collections.abc import Callable
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
