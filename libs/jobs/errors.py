"""What can go wrong with a job.

JobError
├── JobNotFound          no such job in this project
├── GroupNotFound        no such group in this project
├── DependencyNotFound   a job that another should wait for does not exist, or has failed already
├── RequestRefused       fields of a request mean nothing usable, as things stand now
├── InvalidMove          the job is not in a state that allows this (cancel of a finished job, say)
├── JobNotEnded          only a job that has ended is deleted
├── JobInUse             it validated a data set that exists, or a job that has not ended needs it
├── ScheduleNotFound     no such schedule in this project
├── ScheduleNameTaken    a schedule has this name
├── ScheduleBusy         the job of its last time runs yet
└── LeaseLost            a worker writes for an attempt that is no longer the job's
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.jobs.states import JobStatus


class JobError(Exception):
    """A request the queue cannot fulfil; the message says why and what to do next."""

    code = "job_error"


class JobNotFound(JobError):
    code = "job_not_found"

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        super().__init__(f"There is no job {job_id}.")


class GroupNotFound(JobError):
    code = "group_not_found"

    def __init__(self, group_id: UUID) -> None:
        self.group_id = group_id
        super().__init__(f"There is no job group {group_id}.")


class DependencyNotFound(JobError):
    code = "dependency_not_found"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a request; `path` leads to it from the top."""

    path: tuple[str | int, ...]
    message: str


class RequestRefused(JobError):
    """A well-formed request that cannot be done as things stand: what it refers to is not there, or does not fit.

    Attributes:
        faults: one for each wrong field; at least one.
    """

    code = "invalid_reference"

    def __init__(self, faults: Sequence[Fault], code: str | None = None) -> None:
        self.faults = list(faults)
        self.code = code or self.code
        super().__init__(faults[0].message)

    def below(self, *path: str) -> "RequestRefused":
        """The same of a request that is a part of a larger one."""
        return RequestRefused([Fault((*path, *fault.path), fault.message) for fault in self.faults], self.code)


class InvalidMove(JobError):
    """The job's state does not allow it.

    Attributes:
        status: where the job stands.
        wanted: where it should have gone.
    """

    code = "invalid_move"

    def __init__(self, job_id: UUID, status: JobStatus, wanted: JobStatus, hint: str = "") -> None:
        self.job_id = job_id
        self.status = status
        self.wanted = wanted
        super().__init__(f"Job {job_id} is {status}; it cannot become {wanted}.{' ' + hint if hint else ''}")


class JobNotEnded(JobError):
    code = "job_not_ended"

    def __init__(self, job_id: UUID, status: JobStatus) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(f"Job {job_id} is {status}; only a job that has ended is deleted. Cancel it first.")


class JobInUse(JobError):
    code = "job_in_use"

    def __init__(self, job_id: UUID, reason: str) -> None:
        self.job_id = job_id
        super().__init__(f"Job {job_id} {reason}.")


class ScheduleNotFound(JobError):
    code = "schedule_not_found"

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"There is no schedule {name[:80]!r}.{hint}")


class ScheduleNameTaken(JobError):
    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a schedule {name!r} already; change it, or choose another name.")


class ScheduleBusy(JobError):
    code = "schedule_busy"

    def __init__(self, name: str, job_id: UUID) -> None:
        super().__init__(
            f"Job {job_id} of schedule {name!r} has not ended, and its jobs do not overlap. Wait for it, or cancel it."
        )


class LeaseLost(JobError):
    """The attempt is not the job's any more: it was reaped, or ended. Nothing was written.

    Attributes:
        epoch: the attempt that tried to write.
    """

    code = "lease_lost"

    def __init__(self, job_id: UUID, epoch: int) -> None:
        self.job_id = job_id
        self.epoch = epoch
        super().__init__(f"Attempt {epoch} of job {job_id} has lost its lease; nothing was written.")
