"""What a few letters mean: a job, its report, a group."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest

from libs.client.cli.lookup import find_group, find_job, find_report
from libs.client.errors import NotFoundError

CATS, OLD_CATS, DOGS = (f"{letters}-0000-0000-0000-000000000000" for letters in ("aaaa1111", "aaaa2222", "bbbb0000"))
GROUP = "fc500000-0000-0000-0000-000000000000"


class Gateway:
    """Knows some jobs, newest first; the older cats alone have a report."""

    def __init__(self) -> None:
        self.jobs = self
        self._jobs = [
            SimpleNamespace(id=CATS, name="cats-frskd", status="succeeded", group_id=None),
            SimpleNamespace(id=OLD_CATS, name="cats-frskd", status="succeeded", group_id=None),
            SimpleNamespace(id=DOGS, name="dogs-frskd", status="queued", group_id=GROUP),
        ]

    def get(self, job_id: str) -> SimpleNamespace:
        return next(job for job in self._jobs if job.id == job_id)

    def list(
        self, *, name: str | None = None, status: Sequence[str] = (), limit: int = 50
    ) -> Iterator[SimpleNamespace]:
        return (
            job for job in self._jobs if (name is None or job.name == name) and (not status or job.status in status)
        )

    def report(self, job_id: str) -> str:
        if job_id != OLD_CATS:
            raise NotFoundError(404, "report_not_found", f"Job {job_id} has no report.")
        return "<html>cats"

    def group(self, group_id: str) -> dict[str, str]:
        return {"id": group_id}


JOBS = Gateway()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bbbb0000-0000-0000-0000-000000000000", "bbbb0000"),
        ("bb", "bbbb0000"),
        ("aaaa2", "aaaa2222"),
        ("cats-frskd", "aaaa1111"),
        ("AAAA2", "aaaa2222"),
    ],
)
def test_a_job_is_found_by_id_beginning_or_name(text: str, found: str):
    assert find_job(JOBS, text).id.startswith(found)


@pytest.mark.parametrize(("text", "message"), [("cc", "no job called 'cc'"), ("aaaa", "2 jobs whose ids begin")])
def test_a_job_that_is_not_clear_is_not_guessed(text: str, message: str):
    with pytest.raises(NotFoundError, match=message):
        find_job(JOBS, text)


def test_a_report_is_that_of_the_newest_job_of_the_name_that_has_one():
    job, text = find_report(JOBS, "cats-frskd")
    assert (job.id, text) == (OLD_CATS, "<html>cats")
    assert find_report(JOBS, OLD_CATS)[0].id == OLD_CATS


@pytest.mark.parametrize("text", [CATS, "dogs-frskd", "bbbb"])
def test_a_job_without_a_report_says_so(text: str):
    with pytest.raises(NotFoundError, match="has no report"):
        find_report(JOBS, text)


@pytest.mark.parametrize("text", [GROUP, "fc50", "FC50", "bb", "dogs-frskd"])
def test_a_group_is_found_by_its_first_letters_or_by_one_of_its_jobs(text: str):
    assert find_group(JOBS, text) == {"id": GROUP}


@pytest.mark.parametrize("text", ["cats-frskd", "00", "aaaa1111"])
def test_what_belongs_to_no_group_is_not_guessed(text: str):
    with pytest.raises(NotFoundError, match="There is no group"):
        find_group(JOBS, text)
