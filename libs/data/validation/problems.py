"""Everything that is wrong or odd about an upload, each with its place."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]

_LISTED_PER_CODE = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing found.

    Attributes:
        severity: an error makes the data set invalid, a warning does not.
        code: stable name for programs.
        message: for people; says what is wrong and what to do.
        file: name of the file inside the upload.
        row: row of an array or table, from 0.
        column: array or column it is about.
    """

    severity: Severity
    code: str
    message: str
    file: str | None = None
    row: int | None = None
    column: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Fields that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(slots=True)
class Problems:
    """Collects problems; lists the first of each code and counts them all, so a report stays small.

    Attributes:
        listed: in the order they were found.
        counts: how often each code came.
    """

    listed: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _errors: int = 0

    def error(
        self, code: str, message: str, *, file: str | None = None, row: int | None = None, column: str | None = None
    ) -> None:
        """Note what makes the data set invalid."""
        self._errors += 1
        self._add(Problem("error", code, message, file, row, column))

    def warn(
        self, code: str, message: str, *, file: str | None = None, row: int | None = None, column: str | None = None
    ) -> None:
        """Note what people should know."""
        self._add(Problem("warning", code, message, file, row, column))

    @property
    def fatal(self) -> bool:
        """Whether an error was found."""
        return self._errors > 0

    def errors(self) -> list[dict[str, Any]]:
        """The listed errors as JSON objects."""
        return [problem.as_json() for problem in self.listed if problem.severity == "error"]

    def as_json(self) -> list[dict[str, Any]]:
        """Errors first."""
        return [problem.as_json() for problem in sorted(self.listed, key=lambda problem: problem.severity)]

    def _add(self, problem: Problem) -> None:
        self.counts[problem.code] += 1
        if self.counts[problem.code] <= _LISTED_PER_CODE:
            self.listed.append(problem)
