"""Job groups: submitted in one transaction, shown as one table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from libs.database.tables import Job
from libs.jobs.errors import GroupNotFound, RequestRefused
from libs.jobs.plan import Planned, plan
from libs.jobs.spec import JobSpec
from libs.jobs.states import JobStatus
from libs.jobs.submit import submit_planned
from libs.models.compare_config import CompareConfig
from libs.web.problems import FieldProblem, UnprocessableError
from services.gateway.errors import below, refused
from services.gateway.job_groups.schemas import MAX_JOBS, Group, GroupMember, GroupRequest
from services.gateway.jobs.repository import members
from services.gateway.jobs.schemas import JobSummary
from services.gateway.jobs.service import read_spec


@dataclass(frozen=True, slots=True)
class PlacedSpec:
    """A job of a group and the JSON pointer to where the request describes it."""

    place: str
    spec: JobSpec


def read_specs(request: GroupRequest) -> list[PlacedSpec]:
    """The jobs a request asks for.

    Raises:
        UnprocessableError: one of them is not valid, with pointers into the request; or they are too many.
    """
    if request.jobs is not None:
        return [_read(body, f"/jobs/{index}") for index, body in enumerate(request.jobs)]
    bodies = list(islice(_varied(request), MAX_JOBS + 1))
    if len(bodies) > MAX_JOBS:
        raise _wrong("/grid", f"Seeds and grid make more than {MAX_JOBS} jobs.")
    specs = [_read(body, "/job") for body in bodies]
    if request.seeds and (specs[0].spec.compare is not None or isinstance(specs[0].spec.config, CompareConfig)):
        raise _wrong("/seeds", "A comparison has seeds of its own: give them there.")
    return specs


def _wrong(pointer: str, message: str) -> UnprocessableError:
    return UnprocessableError(message, errors=[FieldProblem(pointer=pointer, message=message)])


def _varied(request: GroupRequest) -> Iterator[dict[str, Any]]:
    """One job for every combination of the grid and every seed."""
    base = request.job or {}
    given = base.get("config", {})
    for values in product(*request.grid.values()):
        combination = dict(zip(request.grid, values, strict=True))
        config = {**given, **combination} if isinstance(given, dict) else given  # what is wrong is said by `_read`
        for seed in request.seeds or [base.get("seed", 0)]:
            yield {**base, "config": config, "seed": seed}


def _read(body: dict[str, Any], place: str) -> PlacedSpec:
    try:
        return PlacedSpec(place, read_spec(body))
    except UnprocessableError as error:
        raise below(place, error) from None


def submit_group(session: Session, project_id: UUID, jobs: Sequence[PlacedSpec]) -> Group:
    """Queue all of them, or none.

    Raises:
        UnprocessableError: a reference of one means nothing usable; or with the jobs they need they are too many.
    """
    group_id, plans, count = uuid4(), list[Planned](), 0
    for job in jobs:
        try:
            plans.append(plan(session, project_id, job.spec))
        except RequestRefused as error:
            raise below(job.place, refused(error)) from None
        count += sum(1 for _ in plans[-1].first_to_last())
        if count > MAX_JOBS:
            raise _wrong(job.place, f"With the jobs that are made first, these are more than {MAX_JOBS} jobs.")
    for one in plans:
        submit_planned(session, project_id, one, group_id=group_id)
    return table(session, project_id, group_id)


def table(session: Session, project_id: UUID, group_id: UUID) -> Group:
    """A group as a table.

    Raises:
        GroupNotFound: the project has none of this id.
    """
    jobs = members(session, project_id, group_id)
    if not jobs:
        raise GroupNotFound(group_id)
    names = _varied_names([job.spec["config"] for job in jobs])
    counts = Counter(JobStatus(job.status) for job in jobs)
    return Group(id=group_id, counts=dict(counts), members=[_member(job, names) for job in jobs])


def _varied_names(configs: Sequence[dict[str, Any]]) -> list[str]:
    first = configs[0]
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if any(config.get(key) != first.get(key) for config in configs)]


def _member(job: Job, names: Sequence[str]) -> GroupMember:
    return GroupMember(
        job=JobSummary.model_validate(job),
        seed=job.spec["seed"],
        varied={name: job.spec["config"].get(name) for name in names},
        metrics=(job.result or {}).get("metrics", {}),
    )
