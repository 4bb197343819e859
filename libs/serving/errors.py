"""What can go wrong while a model is loaded or asked.

ServingError
├── LoadError             a model cannot be loaded; the one before keeps serving
│   └── ProviderError     the hardware asked for is not there
├── ModelNotLoaded        nothing of this name (or version) is loaded
│   └── WrongTask         it is served elsewhere, for another task
├── Overloaded            the queue is full: ask again after `retry_after_s`
├── DeadlineExceeded      it waited too long and was not computed
├── RequestError          the request is at fault; `problems` say where
└── MismatchError         a data set does not fit a model
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ServingError(Exception):
    """Something went wrong while serving; the message says what."""


class LoadError(ServingError):
    """A model cannot be loaded."""


class ProviderError(LoadError):
    """The execution provider asked for is not there."""


class ModelNotLoaded(ServingError):
    """Nothing of this name is loaded.

    Attributes:
        nearest: loaded names that look alike.
    """

    def __init__(self, message: str, nearest: Sequence[str] = ()) -> None:
        self.nearest = list(nearest)
        hint = f" Did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
        super().__init__(message + hint)


class WrongTask(ModelNotLoaded):
    """The deployment's model does something else, and another address answers for it."""


class Overloaded(ServingError):
    """Too much waits already.

    Attributes:
        retry_after_s: when the queue should have room, as far as recent batches tell.
    """

    def __init__(self, waiting_rows: int, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{waiting_rows} rows are waiting already. Ask again in {retry_after_s:.0f} s.")


class DeadlineExceeded(ServingError):
    """The request waited longer than its deadline and was not computed."""


@dataclass(frozen=True, slots=True)
class InputProblem:
    """What is wrong with one part of a request; `pointer` is a JSON pointer into its JSON part."""

    pointer: str
    message: str


class RequestError(ServingError):
    """A request no model could answer.

    Attributes:
        problems: each with the place it was found at.
    """

    def __init__(self, *problems: InputProblem) -> None:
        self.problems = problems
        first = problems[0]
        super().__init__(f"{first.pointer.removeprefix('/').replace('/', '.') or 'body'}: {first.message}")


class MismatchError(ServingError):
    """A data set does not fit a model; the same request cannot succeed later."""

    user_error = True
