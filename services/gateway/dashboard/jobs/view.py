"""What the page of a job shows: the API's own record of it, and what of it can be done now."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from libs.jobs.states import ALLOWED_MOVES, TERMINAL, JobStatus
from libs.training.comparison.details import Compared
from services.gateway.dashboard.formats import figure, size
from services.gateway.dashboard.jobs import repository
from services.gateway.jobs import service
from services.gateway.jobs.schemas import Artifact, Attempt, Event, JobDetail

_MOVES = 100
EVENTS = 200
_REPORT = "report.html"
_INTERRUPTIONS = {JobStatus.PAUSING, JobStatus.PAUSED}


@dataclass(frozen=True, slots=True)
class Move:
    """A change of state: which, why, when, and how long the state lasted."""

    to: str
    reason: str | None
    epoch: int | None
    at: datetime
    lasted_s: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint and its file."""

    step: int
    epoch: int
    size_bytes: int
    at: datetime
    artifact_id: UUID


@dataclass(frozen=True, slots=True)
class JobPage:
    """Everything that changes while a job lives, apart from its curves and events.

    Attributes:
        actions: of `cancel`, `pause`, `resume`, `retry`, those its state allows.
        hosts: epoch → host of the attempt's worker.
    """

    job: JobDetail
    actions: list[str]
    moves: list[Move]
    checkpoints: list[Kept]
    artifacts: list[Artifact]
    hosts: dict[int, str]

    @property
    def ended(self) -> bool:
        """Whether it is in a state that is never left."""
        return self.job.status in TERMINAL

    @property
    def has_report(self) -> bool:
        """Whether the job wrote a report."""
        return any(artifact.name == _REPORT for artifact in self.artifacts)

    @property
    def metrics(self) -> dict[str, Any]:
        """Final figures."""
        found: dict[str, Any] = (self.job.result or {}).get("metrics") or {}
        return dict(sorted(found.items()))

    @property
    def compared(self) -> Compared | None:
        """What a comparison came to; None for other jobs, and until it has ended."""
        return Compared.of(self.details) if self.job.method == "compare" and self.details else None

    @property
    def notes(self) -> list[str]:
        """What to know of the models that were measured beside the job's own."""
        if self.compared is not None:
            return self.compared.notes
        return [one["note"] for _, one in sorted((self.details.get("beside") or {}).items())]

    @property
    def made(self) -> dict[str, Any]:
        """What the job made, by kind: `model`, `dataset`."""
        result = self.job.result or {}
        return {kind: result[kind] for kind in ("model", "dataset") if result.get(kind)}

    @property
    def details(self) -> dict[str, Any]:
        """What else the method reported."""
        found: dict[str, Any] = (self.job.result or {}).get("details") or {}
        return found

    @property
    def last_error(self) -> dict[str, Any] | None:
        """Why it failed, or why its last attempt did."""
        of_attempts = [attempt.error for attempt in self.job.attempts if attempt.error]
        return self.job.error or (of_attempts[-1] if of_attempts and not self.made else None)

    def request(self) -> str:
        """The request as JSON, for people."""
        return json.dumps(self.job.spec, indent=2, ensure_ascii=False)


def job_page(session: Session, project_id: UUID, job_id: UUID) -> JobPage:
    """The page of a job.

    Raises:
        JobNotFound: the project has none of this id.
    """
    job = service.detail(session, project_id, job_id)
    checkpoints = [
        Kept(row[0].step, row[0].epoch, row[1].size_bytes, row[0].created_at, row[1].id)
        for row in repository.checkpoints(session, job_id)
    ]
    return JobPage(
        job=job,
        actions=actions_of(JobStatus(job.status)),
        moves=_moves(session, job_id, job.attempts),
        checkpoints=checkpoints,
        artifacts=service.artifact_list(session, project_id, job_id).items,
        hosts=repository.hosts(session, job_id),
    )


def actions_of(status: JobStatus) -> list[str]:
    """What a user may ask of a job in this state."""
    moves = ALLOWED_MOVES[status]
    possible = {
        "pause": status not in _INTERRUPTIONS and bool(moves & _INTERRUPTIONS),
        "resume": status == JobStatus.PAUSED,
        "cancel": bool(moves & {JobStatus.CANCELLED, JobStatus.CANCELLING}) and status != JobStatus.CANCELLING,
        "retry": status in (JobStatus.FAILED, JobStatus.CANCELLED),
    }
    return [action for action, allowed in possible.items() if allowed]


def _moves(session: Session, job_id: UUID, attempts: Sequence[Attempt]) -> list[Move]:
    rows = repository.latest_moves(session, job_id, _MOVES)
    ends = [row.at for row in rows[1:]]
    spans = [(end - row.at).total_seconds() for row, end in zip(rows, ends, strict=False)]
    messages = {attempt.epoch: (attempt.error or {}).get("message") for attempt in attempts}
    return [
        Move(row.data["to"], _reason(row.data, messages), row.data.get("epoch"), row.at, span)
        for row, span in zip(rows, [*spans, None], strict=True)
    ]


def _reason(data: dict[str, Any], messages: dict[int, str | None]) -> str | None:
    """The attempt's own words in place of a bare `error`."""
    if data["to"] in (JobStatus.FAILED, JobStatus.RETRY_WAIT):
        return messages.get(data.get("epoch", 0)) or data.get("reason")
    reason: str | None = data.get("reason")
    return reason


@dataclass(frozen=True, slots=True)
class Log:
    """Some of a job's events, oldest first, and where those before them begin."""

    events: list[Event]
    before: int
    last_seq: int


def log_page(session: Session, project_id: UUID, job: JobDetail, before: int | None) -> Log:
    """The newest events, or those just before number `before`."""
    last = job.last_event_seq if before is None else min(before - 1, job.last_event_seq)
    first = max(0, last - EVENTS)
    events = service.event_page(session, project_id, job.id, first, max(last - first, 1)).items if last > first else []
    return Log(events, first + 1 if first else 0, last)


def words_of(event: Event) -> str:
    """One line that says what an event says."""
    data = event.data
    match event.kind:
        case "log":
            fields = "".join(f"  {key}={value}" for key, value in (data.get("fields") or {}).items())
            return f"{data.get('message', '')}{fields}"
        case "status":
            reason = f": {data['reason']}" if data.get("reason") else ""
            return f"{data.get('from') or 'new'} → {data.get('to')}{reason}"
        case "progress":
            return f"{float(data.get('fraction') or 0):.0%} {data.get('note', '')}".rstrip()
        case "metrics":
            values = data.get("values", {})
            return "  ".join(f"{name}={figure(point['value'])} @{point['step']}" for name, point in values.items())
        case "checkpoint":
            return f"step {data.get('step')}, {size(data.get('size_bytes'))}"
        case "model" | "dataset":
            return f"{data.get('name')}@{data.get('version')} is {data.get('status')}"
    return json.dumps(data)
