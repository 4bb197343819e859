"""What spans are to those who make them: `libs.tracing` asks for them, `libs.tracing_otlp` makes and sends them."""

from collections.abc import Mapping
from typing import Literal, Protocol

SpanKind = Literal["internal", "server", "producer", "consumer"]
Attribute = str | int | float | bool


class Span(Protocol):
    """A span that is not over yet."""

    def rename(self, name: str) -> None:
        """Give it another name."""

    def set(self, name: str, value: Attribute) -> None:
        """Add an attribute."""

    def fail(self, message: str) -> None:
        """What it stands for went wrong."""

    def drop(self) -> None:
        """It stands for nothing: it is not sent."""

    @property
    def traceparent(self) -> str:
        """Where spans below it belong."""

    def end(self, at_ns: int | None = None) -> None:
        """It is over, now or at a time since 1970."""


class Tracer(Protocol):
    """Makes spans and sends them away."""

    def begin(
        self,
        name: str,
        kind: SpanKind,
        parent: str | None,
        attributes: Mapping[str, Attribute],
        at_ns: int | None = None,
    ) -> Span:
        """A span below `parent`, else the first of a trace; begun now or at a time since 1970."""

    def close(self, within_s: float) -> None:
        """Send what is left, for at most so long."""
