"""What can be wrong with data from outside. All of it is the request's fault, never worth a retry.

DataError
├── ArchiveError          an archive that is unsafe, broken or not an archive
├── PictureError          one picture that cannot be read
├── InvalidDatasetError   an upload that is no data set; carries the whole report
└── PublicDatasetError    a public data set that cannot be fetched or converted

DiskFullError is an OSError: the machine's fault.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN_PROBLEMS = 5


class DataError(ValueError):
    """The data or the request about it is wrong; the message says what and what to do."""

    user_error = True


class ArchiveError(DataError):
    """An archive is unsafe, broken or not an archive.

    Attributes:
        member: name of the offending entry, when there is one.
    """

    def __init__(self, message: str, member: str | None = None) -> None:
        super().__init__(message if member is None else f"{member!r}: {message}")
        self.member = member


class PictureError(DataError):
    """A picture cannot be read."""


class InvalidDatasetError(DataError):
    """An upload is no valid data set.

    Attributes:
        problems: every problem found, as JSON objects with `code`, `message` and where it is.
        report: the report as far as validation came, JSON values only.
    """

    def __init__(self, problems: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> None:
        self.problems = [dict(problem) for problem in problems]
        self.report = dict(report)
        shown = " ".join(str(problem["message"]) for problem in self.problems[:_SHOWN_PROBLEMS])
        rest = len(self.problems) - _SHOWN_PROBLEMS
        more = f" (and {rest} more in the report)" if rest > 0 else ""
        super().__init__(f"The data set is invalid: {shown}{more}")


class PublicDatasetError(DataError):
    """A public data set cannot be fetched or converted."""


class DiskFullError(OSError):
    """There is no room to unpack; the message says where and how much is free."""
