"""The libraries' exceptions as problems: which status each class is, in one table."""

import math

from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.registry.errors import ConflictError as RegistryConflict
from libs.registry.errors import NotFoundError as RegistryNotFound
from libs.registry.errors import RegistryError
from libs.serving.errors import DeadlineExceeded, ModelNotLoaded, Overloaded, RequestError, ServingError, WrongTask
from libs.web.problems import (
    ConflictError,
    FieldProblem,
    NotFoundError,
    ProblemError,
    ProblemMap,
    UnavailableError,
    UnprocessableError,
    UpstreamTimeoutError,
)


def _overloaded(error: Overloaded) -> ProblemError:
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
    return UnavailableError(str(error), code="overloaded", headers=headers)


def _request(error: RequestError) -> ProblemError:
    fields = [FieldProblem(pointer=one.pointer, message=one.message) for one in error.problems]
    return UnprocessableError(str(error), errors=fields)


def _database_away(error: Exception) -> ProblemError:
    if isinstance(getattr(error, "orig", None), QueryCanceled):
        detail = "Postgres ended a statement that took too long. Ask for less at once, such as fewer days."
        return UnavailableError(detail, code="statement_timeout", headers={"Retry-After": "2"})
    detail = "Postgres does not answer; what is loaded serves on for keys this server knows. Try again shortly."
    return UnavailableError(detail, code="database_unavailable", headers={"Retry-After": "2"})


PROBLEMS: ProblemMap = {
    RegistryNotFound: lambda error: NotFoundError(str(error), code=error.code),
    RegistryConflict: lambda error: ConflictError(str(error), code=error.code),
    RegistryError: lambda error: UnprocessableError(str(error), code=error.code),
    ModelNotLoaded: lambda error: NotFoundError(str(error), code="model_not_loaded"),
    WrongTask: lambda error: NotFoundError(str(error), code="wrong_task"),
    Overloaded: _overloaded,
    DeadlineExceeded: lambda error: UpstreamTimeoutError(str(error), code="deadline_exceeded"),
    RequestError: _request,
    ServingError: lambda error: UnavailableError(str(error), code="serving_failed"),
    OperationalError: _database_away,
    PoolTimeoutError: _database_away,
}


def as_problem(error: Exception, problems: ProblemMap) -> ProblemError:
    """What an error is over HTTP by a service's table.

    Raises:
        Exception: the error itself, when it is none that is expected.
    """
    if isinstance(error, ProblemError):
        return error
    for kind in type(error).__mro__:
        if kind in problems:
            return problems[kind](error)
    raise error
