"""Following a job: every event once and in order, whatever happens to the connection."""

import json

import httpx2
import pytest

from libs.client.errors import JobFailedError, UnreachableError, WaitTimeoutError
from libs.client.jobs import Job, Jobs

JOB = {"id": "j1", "name": "cats-frskd", "method": "frskd", "status": "succeeded", "progress": 1.0}


def wire(*seqs: int, end: bool = False) -> str:
    events = [
        f"id: {n}\nevent: log\ndata: {json.dumps({'message': f'line {n}', 'at': '2026-01-01'})}\n\n" for n in seqs
    ]
    return "retry: 1000\n\n" + "".join(events) + (": heartbeat\n\n") + ("event: end\ndata: {}\n\n" if end else "")


def stream(text: str) -> httpx2.Response:
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


def test_a_broken_stream_goes_on_after_the_last_event_seen(transport_to):
    asked = []
    answers = [stream(wire(1, 2)), httpx2.ConnectError("restarting"), httpx2.Response(503), stream(wire(3, end=True))]

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["Last-Event-ID"])
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = list(Jobs(transport_to(handler)).events("j1"))
    assert [event.seq for event in events] == [1, 2, 3]
    assert asked == ["0", "2", "2", "2"]
    assert (events[0].kind, events[0].data, events[0].at) == ("log", {"message": "line 1"}, "2026-01-01")


def test_a_job_whose_events_were_all_seen_ends_the_stream_at_once(transport_to):
    assert list(Jobs(transport_to(lambda _: httpx2.Response(204))).events("j1", after=7)) == []


def test_following_gives_up_when_nothing_answers_for_too_long(transport_to):
    def handler(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(UnreachableError):
        list(Jobs(transport_to(handler)).events("j1", patience_s=0.0))


def test_waiting_polls_until_the_end_and_says_why_a_job_failed(transport_to):
    states = ["queued", "running", "failed"]

    def handler(request: httpx2.Request) -> httpx2.Response:
        assert float(request.url.params["wait"]) == 30.0
        return httpx2.Response(200, json={**JOB, "status": states.pop(0), "error": {"message": "disk full"}})

    with pytest.raises(JobFailedError, match="Job j1 failed: disk full"):
        Jobs(transport_to(handler)).wait("j1")
    assert states == []


def test_waiting_has_a_limit_after_which_the_job_goes_on(transport_to):
    running = Jobs(transport_to(lambda _: httpx2.Response(200, json={**JOB, "status": "running"})))
    with pytest.raises(WaitTimeoutError, match="still running after 0 s; it goes on"):
        running.wait("j1", timeout_s=0.0)


def test_metrics_come_as_numbers_even_when_they_are_none(transport_to):
    series = {"name": "train/loss", "steps": [1, 2], "values": [0.5, "NaN"], "thinned": False}
    jobs = Jobs(transport_to(lambda _: httpx2.Response(200, json={"items": [series], "next_after": None})))
    (first, second) = jobs.metrics("j1")["train/loss"]
    assert first == (1, 0.5)
    assert second[1] != second[1]


def test_metrics_are_read_page_by_page(transport_to):
    def handler(request: httpx2.Request) -> httpx2.Response:
        after = request.url.params.get("after")
        items = [{"name": "a/b" if after is None else "c", "steps": [1], "values": [0.5], "thinned": False}]
        return httpx2.Response(200, json={"items": items, "next_after": "a/b" if after is None else None})

    assert Jobs(transport_to(handler)).metrics("j1") == {"a/b": [(1, 0.5)], "c": [(1, 0.5)]}


def test_unknown_fields_of_a_newer_gateway_stay_in_raw(transport_to):
    job = Jobs(transport_to(lambda _: httpx2.Response(200, json={**JOB, "mood": "good"}))).get("j1")
    assert (job.name, job.queue, job.raw["mood"]) == ("cats-frskd", None, "good")


def test_a_job_waits_and_shows_its_events_itself(transport_to):
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/events"):
            return stream(wire(1, 2, end=True))
        return httpx2.Response(200, json={**JOB, "status": "succeeded" if "wait" in request.url.params else "running"})

    job = Jobs(transport_to(handler)).get("j1")
    assert job.status == "running"
    assert [event.seq for event in job.events()] == [1, 2]
    assert job.wait(timeout_s=5.0).status == "succeeded"
    assert job.refresh() == job
    with pytest.raises(ValueError, match=r"octavo\.jobs\.get"):
        Job.of(JOB).wait()


def test_a_failure_after_several_attempts_says_which_one_was_the_last():
    failed = {**JOB, "status": "failed", "status_reason": "error (attempt 3 of 3)", "error": {"message": "disk full"}}
    assert Job.of({**failed, "attempts_used": 3, "max_attempts": 3}).reason == "disk full (attempt 3 of 3)"
    assert Job.of({**failed, "attempts_used": 1, "max_attempts": 3}).reason == "disk full"
    assert Job.of({**JOB, "status_reason": "worker_lost"}).reason == "worker_lost"


def test_a_trial_for_an_estimate_has_one_attempt(transport_to):
    sent = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
            return httpx2.Response(202, json={**JOB, "status": "queued"})
        error = {"message": "There is no network 'resnet9000'.", "user_error": True}
        return httpx2.Response(200, json={**JOB, "status": "failed", "error": error})

    with pytest.raises(JobFailedError, match="no network 'resnet9000'") as refused:
        Jobs(transport_to(handler)).estimate("frskd", config={"model": "resnet9000"}, seed=1)
    assert refused.value.user_error
    (spec,) = sent
    assert (spec["method"], spec["max_attempts"], spec["seed"]) == ("estimate", 1, 1)
    assert spec["config"] == {"of": "frskd", "config": {"model": "resnet9000"}}
