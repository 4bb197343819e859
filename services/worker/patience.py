"""How long what is away for a while is waited for."""

from collections.abc import Iterator

from libs.registry.artifacts import ArtifactError

_FIRST_S, _LONGEST_S = 0.5, 10.0


def waits() -> Iterator[float]:
    """Seconds to wait before each further try, without end: half a second, then more, at most ten."""
    wait_s = _FIRST_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, _LONGEST_S)


def is_worth_waiting(error: OSError) -> bool:
    """Whether it is about the store or the disk; an OSError of ours without a number is about the files themselves."""
    return isinstance(error, ArtifactError) or error.errno is not None
