"""What a few letters at the command line mean: a job, its report, a group of jobs."""

from itertools import islice
from typing import TYPE_CHECKING, Any

from libs.client.errors import NotFoundError

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.jobs import Job

_LOOKED_THROUGH = 2000
"""Jobs that are looked through for a group, newest first."""


def find_job(octavo: "Octavo", text: str) -> "Job":
    """The job of this id, whose id begins like this, or the newest of this name.

    Raises:
        NotFoundError: there is none, or the beginning fits several.
    """
    if _is_id(text):
        return octavo.jobs.get(text)
    named = next(octavo.jobs.list(name=text.lower(), limit=1), None) if _is_name(text) else None
    if named is not None:
        return octavo.jobs.get(named.id)
    fitting = [job for job in octavo.jobs.list(limit=200) if job.id.startswith(text.lower())]
    if len(fitting) == 1:
        return octavo.jobs.get(fitting[0].id)
    if fitting:
        raise NotFoundError(404, "job_not_found", f"There are {len(fitting)} jobs whose ids begin with {text!r}.")
    raise NotFoundError(404, "job_not_found", f"There is no job called {text!r}.")


def find_report(octavo: "Octavo", text: str) -> tuple["Job", str]:
    """A job and its HTML report; of several jobs with one name, the newest that has a report.

    Raises:
        NotFoundError: there is no such job, or none of them has a report.
    """
    named = octavo.jobs.list(name=text.lower(), status=("succeeded",)) if _is_name(text) and not _is_id(text) else ()
    for job in named:
        try:
            return job, octavo.jobs.report(job.id)
        except NotFoundError:  # it succeeded without one
            continue
    found = find_job(octavo, text)
    return found, octavo.jobs.report(found.id)


def find_group(octavo: "Octavo", text: str) -> dict[str, Any]:
    """The group of this id, whose id begins like this, or that a job so called belongs to.

    Raises:
        NotFoundError: there is none, or the beginning fits several.
    """
    if _is_id(text):
        return octavo.jobs.group(text)
    wanted = text.lower()
    fitting = {
        job.group_id
        for job in islice(octavo.jobs.list(limit=200), _LOOKED_THROUGH)
        if job.group_id and (job.name == wanted or job.group_id.startswith(wanted) or job.id.startswith(wanted))
    }
    if len(fitting) == 1:
        return octavo.jobs.group(fitting.pop())
    found = f"There are {len(fitting)} groups that {text!r} fits." if fitting else f"There is no group {text!r}."
    raise NotFoundError(404, "group_not_found", found)


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4


def _is_name(text: str) -> bool:
    return bool(text) and len(text) <= 64 and all(letter.isalnum() or letter in "._-" for letter in text)
