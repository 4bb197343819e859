"""Schedules: jobs that are submitted again and again."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from libs.client.jobs import Job, Jobs
from libs.client.records import Schedule, ScheduleRun
from libs.client.transport import Transport


class Schedules:
    """`/v1/schedules`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def create(self, name: str, job: Mapping[str, Any], *, idempotency_key: str | None = None, **plan: Any) -> Schedule:
        """Submit a job again and again.

            create("nightly", {"method": "update", …}, cron="0 3 * * *", timezone="Europe/Berlin")

        Args:
            job: a request as `POST /v1/jobs` takes it.
            plan: `cron` (and `timezone`) or `every_s`; `dataset`, a version that is made first, as `POST /v1/datasets`
                takes it; `overlap`: skip, allow; `misfire`: once, skip.

        Raises:
            InvalidRequestError: with a pointer to each wrong field.
            ConflictError: there is a schedule of this name.
        """
        body = {"name": name, "job": dict(job), **_given(plan)}
        return Schedule.of(self._http.post("/v1/schedules", body, key=idempotency_key))

    def replace(self, name: str, job: Mapping[str, Any], **plan: Any) -> Schedule:
        """Give a schedule another plan; arguments as of `create`."""
        return Schedule.of(self._http.json("PUT", f"/v1/schedules/{name}", json={"job": dict(job), **_given(plan)}))

    def list(self) -> Iterator[Schedule]:
        """Every schedule, newest first."""
        yield from map(Schedule.of, self._http.pages("/v1/schedules"))

    def get(self, name: str) -> Schedule:
        """One schedule."""
        return Schedule.of(self._http.json("GET", f"/v1/schedules/{name}"))

    def pause(self, name: str) -> Schedule:
        """Have it submit nothing until it is resumed."""
        return Schedule.of(self._http.json("POST", f"/v1/schedules/{name}/pause"))

    def resume(self, name: str) -> Schedule:
        """Have it go on with the first time from now."""
        return Schedule.of(self._http.json("POST", f"/v1/schedules/{name}/resume"))

    def run(self, name: str, *, idempotency_key: str | None = None) -> ScheduleRun:
        """Submit its job now, beside its own times.

        Raises:
            ConflictError: the job of an earlier time has not ended, and its jobs do not overlap.
        """
        return ScheduleRun.of(self._http.post(f"/v1/schedules/{name}/runs", key=idempotency_key))

    def runs(self, name: str) -> Iterator[ScheduleRun]:
        """What became of its times, newest first."""
        yield from map(ScheduleRun.of, self._http.pages(f"/v1/schedules/{name}/runs"))

    def jobs(self, name: str, *, limit: int = 50) -> Iterator[Job]:
        """The jobs it submitted, newest first, `limit` of them a page; `octavo.jobs.list(schedule=…)` filters more."""
        jobs = Jobs(self._http)
        for raw in self._http.pages(f"/v1/schedules/{name}/jobs", {"limit": limit}):
            yield replace(Job.of(raw), jobs=jobs)

    def delete(self, name: str) -> None:
        """Forget a schedule and the list of its runs; its jobs stay."""
        self._http.json("DELETE", f"/v1/schedules/{name}")


def _given(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plan.items() if value is not None}
