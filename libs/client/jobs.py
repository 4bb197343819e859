"""Jobs: submit, follow, steer."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import httpx2

from libs.client.downloads import download
from libs.client.errors import JobFailedError, UnavailableError, UnreachableError, WaitTimeoutError
from libs.client.records import Artifact, Event, Record
from libs.client.transport import Transport

Series = dict[str, list[tuple[int, float]]]
"""Metric → (step, value) pairs."""
ENDED = frozenset({"succeeded", "failed", "cancelled"})
_LONGEST_POLL_S = 30.0
_READ_TIMEOUT = httpx2.Timeout(45.0, connect=5.0)  # three of the stream's heartbeats


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    """A job as the gateway last showed it; the methods ask the gateway again."""

    id: str
    name: str
    method: str
    status: str
    status_reason: str | None
    queue: str
    progress: float
    progress_note: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    spec: dict[str, Any] | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    group_id: str | None
    teacher_job: str | None
    children: list[dict[str, Any]] | None
    """Jobs whose models it needs: summaries, each with the `role` of its model. Only of a job read by itself."""
    schedule: str | None
    jobs: Optional["Jobs"] = field(default=None, repr=False, compare=False)
    """Where it was read; None for a record made by hand."""

    def _jobs(self) -> "Jobs":
        if self.jobs is None:
            raise ValueError(f"Job {self.id} was not read from a gateway; use octavo.jobs.get({self.id!r}).")
        return self.jobs

    def wait(self, timeout_s: float | None = None) -> "Job":
        """The job when it has succeeded; see `Jobs.wait` for what it raises."""
        return self._jobs().wait(self.id, timeout_s)

    def events(self, after: int = 0) -> Iterator[Event]:
        """Its events as they happen, until it has ended; see `Jobs.events`."""
        return self._jobs().events(self.id, after)

    def refresh(self) -> "Job":
        """The job as it is now."""
        return self._jobs().get(self.id)

    def cancel(self) -> "Job":
        """Ask it to stop; a running one writes a last checkpoint."""
        return self._jobs().cancel(self.id)

    @property
    def ended(self) -> bool:
        """Whether it is in a state that is never left."""
        return self.status in ENDED

    def raise_for_status(self) -> None:
        """Raise unless the job succeeded.

        Raises:
            JobFailedError: it failed or was cancelled.
        """
        if self.status != "succeeded":
            is_user_error = bool((self.error or {}).get("user_error"))
            raise JobFailedError(self.id, self.status, self.reason, user_error=is_user_error)

    @property
    def reason(self) -> str:
        """Why it is where it is, for people; empty when there is nothing to say."""
        message = (self.error or {}).get("message")
        if not message:
            return self.status_reason or ""
        used = self.raw.get("attempts_used") or 0
        return f"{message} (attempt {used} of {self.raw['max_attempts']})" if used > 1 else str(message)


class Jobs:
    """`/v1/jobs`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def _job(self, raw: dict[str, Any]) -> Job:
        return replace(Job.of(raw), jobs=self)

    def submit(self, method: str, *, idempotency_key: str | None = None, **spec: Any) -> Job:
        """Submit a job: `submit("frskd", datasets={"train": "cats"}, config={"epochs": 20}, seed=1)`.

        With `teacher={"train": {"model": "wrn-40-2"}}` its teacher is trained first; with
        `compare={"seeds": [0, 1, 2], "baselines": ["supervised"]}` it becomes a comparison.

        Raises:
            InvalidRequestError: with a pointer to each wrong field.
        """
        return self._job(self._http.post("/v1/jobs", {"method": method, **spec}, key=idempotency_key))

    def dry_run(self, method: str, **spec: Any) -> dict[str, Any]:
        """Check a job and see it complete, without queueing it."""
        answer: dict[str, Any] = self._http.post("/v1/jobs", {"method": method, **spec}, {"dry_run": True})
        return answer

    def estimate(self, method: str, *, timeout_s: float | None = None, **spec: Any) -> dict[str, Any]:
        """What a training would cost, from three real steps on a worker: steps, seconds, parameters, bytes.

        It is tried once: what fails here says so at once.

        Raises:
            JobFailedError: it could not be tried, and why.
            WaitTimeoutError: no answer after `timeout_s`.
        """
        wanted = {"of": method, "config": spec.get("config", {})}
        passed = {name: spec[name] for name in ("datasets", "models", "teacher", "resources", "seed") if name in spec}
        job = self.submit("estimate", config=wanted, priority=10, max_attempts=1, **passed)
        details: dict[str, Any] = (self.wait(job.id, timeout_s).result or {})["details"]
        return details

    def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """One job; with `wait_s`, when it has ended or that time is over."""
        return self._job(self._http.json("GET", f"/v1/jobs/{job_id}", params={"wait": wait_s} if wait_s else None))

    def list(
        self,
        *,
        status: Sequence[str] = (),
        method: str | None = None,
        name: str | None = None,
        schedule: str | None = None,
        limit: int = 50,
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page as they are taken; `schedule`: those it submitted."""
        wanted = {"status": list(status) or None, "method": method, "name": name, "schedule": schedule}
        params = {**wanted, "limit": min(limit, 200)}
        yield from map(self._job, self._http.pages("/v1/jobs", params))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait until the job has succeeded, through any restart of the gateway.

        Raises:
            JobFailedError: it failed or was cancelled.
            WaitTimeoutError: it runs on after `timeout_s`.
        """
        job = self.wait_ended(job_id, timeout_s)
        job.raise_for_status()
        return job

    def wait_ended(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait until the job has ended, well or not.

        Raises:
            WaitTimeoutError: it runs on after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _LONGEST_POLL_S if deadline is None else max(0.0, deadline - time.monotonic())
            job = self.get(job_id, wait_s=min(_LONGEST_POLL_S, left_s))
            if job.ended:
                return job
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"Job {job_id} is still {job.status} after {timeout_s:g} s; it goes on.")

    def events(self, job_id: str, after: int = 0, patience_s: float = 60.0) -> Iterator[Event]:
        """Events as they happen, each once and in order, until the job has ended.

        A broken stream is opened again after the last event seen, so a restart of the gateway loses nothing.

        Raises:
            UnreachableError: nothing could be read for `patience_s`.
        """
        broken_since: float | None = None
        failures = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    if event is None:
                        return
                    broken_since, failures, after = None, 0, event.seq
                    yield event
            except (UnreachableError, UnavailableError) as error:
                broken_since = broken_since or time.monotonic()
                if time.monotonic() - broken_since > patience_s:
                    raise error from None
            failures += 1
            self._http.sleep(self._http.retries.wait_s(failures))

    def _stream(self, job_id: str, after: int) -> Iterator[Event | None]:
        """The events of one connection; None when the server says that none will follow."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"/v1/jobs/{job_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=_READ_TIMEOUT) as response:
            if response.status_code == 204:  # everything was seen
                yield None
                return
            for one in httpx2.EventSource(response):
                if one.event == "end":
                    yield None
                elif one.data:
                    data = one.json()
                    at = data.pop("at", None) if isinstance(data, dict) else None
                    yield Event.of({"seq": int(one.id), "kind": one.event, "data": data, "at": at})

    def history(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """Events so far, without waiting for more."""
        while True:
            page = self._http.json("GET", f"/v1/jobs/{job_id}/events", params={"after": after})
            yield from map(Event.of, page["items"])
            if not page["items"]:
                return
            after = page["next_after"]

    def metrics(self, job_id: str, names: Sequence[str] = ()) -> Series:
        """Metrics over steps, all of them without `names`; long series are thinned out by the gateway."""
        found: Series = {}
        params: dict[str, Any] = {"name": names} if names else {}
        while True:
            page = self._http.json("GET", f"/v1/jobs/{job_id}/metrics", params=params)
            for one in page["items"]:
                values = zip(one["steps"], one["values"], strict=True)
                found[one["name"]] = [(step, float(value)) for step, value in values]
            if page["next_after"] is None:
                return found
            params["after"] = page["next_after"]

    def cancel(self, job_id: str) -> Job:
        """Ask it to stop; a running one writes a last checkpoint."""
        return self._act(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        """Ask it to write a checkpoint and give its place to others."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Go on from the checkpoint of a paused job."""
        return self._act(job_id, "resume")

    def retry(self, job_id: str) -> Job:
        """A new job with the request of one that has ended; from its last checkpoint when it has one."""
        return self._act(job_id, "retry")

    def clone(self, job_id: str) -> Job:
        """A new job with the request of another one, from its beginning."""
        return self._act(job_id, "clone")

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its events, metrics and files; models it made stay.

        Raises:
            ConflictError: it has not ended.
        """
        self._http.json("DELETE", f"/v1/jobs/{job_id}")

    def spec(self, job_id: str) -> dict[str, Any]:
        """The request of a job, complete and pinned: submitting it again runs the same."""
        answer: dict[str, Any] = self._http.json("GET", f"/v1/jobs/{job_id}/spec")
        return answer

    def _act(self, job_id: str, action: str) -> Job:
        return self._job(self._http.post(f"/v1/jobs/{job_id}/{action}"))

    def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """The files the job made."""
        return [Artifact.of(one) for one in self._http.json("GET", f"/v1/jobs/{job_id}/artifacts")["items"]]

    def download_artifact(self, job_id: str, artifact: Artifact, target: Path) -> Path:
        """Fetch one file and check its digest."""
        path = f"/v1/jobs/{job_id}/artifacts/{artifact.id}"
        return download(self._http, path, target, digest=artifact.digest)

    def report(self, job_id: str) -> str:
        """The HTML report."""
        response = self._http.send("GET", f"/v1/jobs/{job_id}/report", headers={"Accept": "text/html"})
        return response.text

    def submit_group(self, specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Submit several jobs as one group: all of them, or none when one is not valid."""
        answer: dict[str, Any] = self._http.post("/v1/job-groups", {"jobs": list(specs)})
        return answer

    def group(self, group_id: str) -> dict[str, Any]:
        """Jobs that were submitted together, as one table."""
        answer: dict[str, Any] = self._http.json("GET", f"/v1/job-groups/{group_id}")
        return answer
