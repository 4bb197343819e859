"""The libraries' exceptions as problems: which status each class is, in one table."""

import errno

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.jobs.errors import (
    DependencyNotFound,
    GroupNotFound,
    InvalidMove,
    JobInUse,
    JobNotEnded,
    JobNotFound,
    RequestRefused,
    ScheduleBusy,
    ScheduleNameTaken,
    ScheduleNotFound,
)
from libs.models.catalog import UnknownMethodError
from libs.registry.artifacts import ArtifactError, ArtifactNotFound
from libs.registry.errors import AliasConflict, InvalidError
from libs.registry.errors import ConflictError as RegistryConflict
from libs.registry.errors import NotFoundError as RegistryNotFound
from libs.web.problems import (
    ConflictError,
    FieldProblem,
    InsufficientStorageError,
    NotFoundError,
    PreconditionFailedError,
    ProblemError,
    ProblemMap,
    UnavailableError,
    UnprocessableError,
    pointer,
)


def refused(error: RequestRefused) -> UnprocessableError:
    """A request that cannot be done as things stand, with a pointer to each field."""
    fields = [FieldProblem(pointer=pointer(fault.path), message=fault.message) for fault in error.faults]
    return UnprocessableError(str(error), code=error.code, errors=fields)


def below(prefix: str, error: UnprocessableError) -> UnprocessableError:
    """The same problem of a part of a larger request; `prefix` is the JSON pointer to it."""
    fields = [field.model_copy(update={"pointer": prefix + field.pointer}) for field in error.errors]
    return UnprocessableError(f"{prefix.strip('/')}: {error.detail}", code=error.problem_code, errors=fields)


def _database_away(_: Exception) -> ProblemError:
    detail = "Postgres does not answer; try again shortly."
    return UnavailableError(detail, code="database_unavailable", headers={"Retry-After": "2"})


def _store_fails(_: Exception) -> ProblemError:
    return UnavailableError("The artifact store does not give what it should.", code="artifact_store_unavailable")


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def _storage(error: OSError) -> ProblemError:
    """A full disk is said; any other failure of the file system stays in the log."""
    if error.errno in _NO_ROOM:
        return InsufficientStorageError("The disk of the artifact store is full; what had arrived before is kept.")
    return UnavailableError("The artifact store cannot be written.", code="artifact_store_unavailable")


PROBLEMS: ProblemMap = {
    UnknownMethodError: lambda error: NotFoundError(str(error), code="method_not_found"),
    JobNotFound: lambda error: NotFoundError(str(error), code=error.code),
    GroupNotFound: lambda error: NotFoundError(str(error), code=error.code),
    RequestRefused: refused,
    DependencyNotFound: lambda error: UnprocessableError(str(error), code=error.code),
    InvalidMove: lambda error: ConflictError(str(error), code=error.code),
    JobNotEnded: lambda error: ConflictError(str(error), code=error.code),
    JobInUse: lambda error: ConflictError(str(error), code=error.code),
    ScheduleNotFound: lambda error: NotFoundError(str(error), code=error.code),
    ScheduleNameTaken: lambda error: ConflictError(str(error), code=error.code),
    ScheduleBusy: lambda error: ConflictError(str(error), code=error.code),
    RegistryNotFound: lambda error: NotFoundError(str(error), code=error.code),
    RegistryConflict: lambda error: ConflictError(str(error), code=error.code),
    AliasConflict: lambda error: PreconditionFailedError(str(error), code=error.code),
    InvalidError: lambda error: UnprocessableError(str(error), code=error.code),
    OSError: _storage,
    ArtifactError: _store_fails,
    ArtifactNotFound: lambda _: NotFoundError("The file is not stored any more.", code="file_gone"),
    OperationalError: _database_away,
    PoolTimeoutError: _database_away,
}
