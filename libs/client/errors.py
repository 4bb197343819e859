"""What can go wrong between a program and Octavo.

OctavoError
├── NotConfiguredError        no address or no key: nothing was sent
│   └── BadAddressError           the address is none
├── UnreachableError          no answer, also after retries
├── ProblemError              the gateway refused; carries status, code, request id and field problems
│   ├── InvalidRequestError       400, 413, 415, 422
│   ├── AuthenticationError       401
│   ├── ForbiddenError            403
│   ├── NotFoundError             404
│   ├── ConflictError             409, 412, 428
│   ├── UnavailableError          429, 502, 503, 504
│   └── ServerError               500 and anything else
├── JobFailedError            a job that was waited for failed or was cancelled
├── DeploymentFailedError     a model that was waited for could not be loaded
├── InvalidDatasetError       an upload that was waited for is not a data set
├── WaitTimeoutError          what was waited for takes longer than allowed
└── LocalFileError            a file of the user cannot be read, or changed while it was sent
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class OctavoError(Exception):
    """Something between this program and Octavo went wrong."""


class NotConfiguredError(OctavoError):
    """There is no address or no key to use."""


class BadAddressError(NotConfiguredError):
    """The address given is no address of a gateway."""


class UnreachableError(OctavoError):
    """The gateway does not answer."""


class WaitTimeoutError(OctavoError):
    """What was waited for takes longer than allowed; it goes on."""


class DeploymentFailedError(OctavoError):
    """A model could not be loaded."""


class LocalFileError(OctavoError):
    """A file on this machine cannot be used."""


class JobFailedError(OctavoError):
    """A job ended without success.

    Attributes:
        reason: why, for people; may be empty.
        user_error: whether the request is at fault, so that a retry would end the same way.
    """

    def __init__(self, job_id: str, status: str, reason: str, *, user_error: bool = False) -> None:
        self.job_id, self.status, self.reason, self.user_error = job_id, status, reason, user_error
        ended = f"Job {job_id} {'was cancelled' if status == 'cancelled' else status}"
        super().__init__(f"{ended}: {reason}" if reason else f"{ended}.")


class InvalidDatasetError(OctavoError):
    """An upload is not a usable data set.

    Attributes:
        reference: `name@version`.
        report: what validation found; empty when it did not come so far.
        problems: what makes it invalid, a sentence each.
    """

    def __init__(self, name: str, version: int, reason: str, report: Mapping[str, Any]) -> None:
        self.reference, self.report = f"{name}@{version}", report
        found = [str(one["message"]) for one in report.get("problems", []) if one.get("severity") == "error"]
        self.problems = found or [reason]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        super().__init__(f"Data set {self.reference} is invalid: {self.problems[0]}{more}")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request; `pointer` is a JSON pointer into `location`."""

    pointer: str
    message: str
    location: str = "body"


class ProblemError(OctavoError):
    """The gateway refused a request, and says why.

    Attributes:
        status: HTTP status.
        code: stable name of the problem; programs may depend on it.
        detail: for people.
        request_id: to be quoted when asking for help; it is in the service's log.
        fields: what is wrong with which field.
        options: pointer of a field → what the command that sent the request calls it, where that is its own name.
    """

    def __init__(
        self, status: int, code: str, detail: str, request_id: str = "", fields: tuple[FieldProblem, ...] = ()
    ) -> None:
        self.status, self.code, self.detail = status, code, detail
        self.request_id, self.fields = request_id, fields
        self.options: Mapping[str, str] = {}
        super().__init__(detail)


class InvalidRequestError(ProblemError):
    """The request is not valid."""


class AuthenticationError(ProblemError):
    """The key is missing, wrong or revoked."""


class ForbiddenError(ProblemError):
    """The key lacks a scope."""


class NotFoundError(ProblemError):
    """There is no such thing in this project."""


class ConflictError(ProblemError):
    """The state of the thing does not allow this, or it changed meanwhile."""


class UnavailableError(ProblemError):
    """A part of the platform does not answer now; trying later may help."""


class ServerError(ProblemError):
    """Something went wrong on the platform's side."""


_BY_STATUS: dict[int, type[ProblemError]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidRequestError),
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    **dict.fromkeys((409, 412, 428), ConflictError),
    **dict.fromkeys((429, 502, 503, 504), UnavailableError),
}


def problem_of(status: int, body: object) -> ProblemError:
    """The error for an answer that is not a success; `body` is its JSON, or anything when it has none."""
    problem: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    kind = _BY_STATUS.get(status, ServerError)
    fields = tuple(
        FieldProblem(str(one.get("pointer", "")), str(one.get("message", "")), str(one.get("location", "body")))
        for one in problem.get("errors", [])
    )
    detail = str(problem.get("detail") or f"The answer was HTTP {status} without an explanation.")
    return kind(status, str(problem.get("code", "unknown")), detail, str(problem.get("request_id", "")), fields)
