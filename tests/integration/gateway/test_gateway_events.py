"""Events, metrics, artifacts and reports of jobs, from rows a worker would have written."""

from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Artifact
from libs.jobs import events, wishes
from libs.jobs.moves import lock
from libs.jobs.reports import MetricPoint, record_metrics
from libs.registry.artifacts import ArtifactStore
from services.gateway.jobs.service import curves
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import running_gateway
from tests.support.waiting import until

SPEC = {"method": "frskd", "datasets": {"train": "digits"}}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def job_id(engine: Engine, digits: str) -> UUID:
    """A queued job; its only event is number 1."""
    from libs.jobs.spec import parse_spec
    from libs.jobs.submit import submit

    with transaction(engine) as session:
        return submit(session, DEFAULT_PROJECT_ID, parse_spec(SPEC)).id


def log(engine: Engine, job_id: UUID, count: int = 1) -> None:
    """Write log events as a worker does."""
    with transaction(engine) as session:
        job = lock(session, job_id)
        events.append(session, job, [("log", {"message": f"line {n}"}) for n in range(count)])


def cancel(engine: Engine, job_id: UUID) -> None:
    with transaction(engine) as session:
        wishes.cancel(session, DEFAULT_PROJECT_ID, job_id)


class Stream:
    """What arrives on an event stream."""

    def __init__(self, response: httpx2.Response) -> None:
        self.lines = response.iter_lines()
        self.seen: list[int] = []

    def next_event(self) -> dict[str, str]:
        """The next event's fields; comments are passed over."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line and fields.keys() & {"event"}:
                return fields
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields

    def take(self, count: int) -> list[int]:
        """The numbers of the next events."""
        return [int(self.next_event()["id"]) for _ in range(count)]


def test_events_as_json_by_pages(client: TestClient, engine: Engine, job_id: UUID) -> None:
    log(engine, job_id, 5)
    first = client.get(f"/v1/jobs/{job_id}/events", params={"limit": 4}).json()
    assert [event["seq"] for event in first["items"]] == [1, 2, 3, 4]
    assert first["items"][0]["kind"] == "status"
    second = client.get(f"/v1/jobs/{job_id}/events", params={"after": first["next_after"]}).json()
    assert [event["seq"] for event in second["items"]] == [5, 6]
    assert not second["ended"]
    cancel(engine, job_id)
    last = client.get(f"/v1/jobs/{job_id}/events", params={"after": 6}).json()
    assert [event["data"]["to"] for event in last["items"]] == ["cancelled"]
    assert last["ended"]


def test_a_stream_of_a_finished_job_that_was_read_whole_is_204(
    client: TestClient, engine: Engine, job_id: UUID
) -> None:
    cancel(engine, job_id)
    answer = client.get(f"/v1/jobs/{job_id}/events", headers={**STREAM, "Last-Event-ID": "2"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_stream_follows_a_job_to_its_end(remote: httpx2.Client, engine: Engine, job_id: UUID) -> None:
    with remote.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert stream.take(1) == [1]
        log(engine, job_id, 3)
        assert stream.take(3) == [2, 3, 4]
        cancel(engine, job_id)
        assert stream.take(1) == [5]
        assert stream.next_event()["event"] == "end"
        assert list(stream.lines) == []


def test_a_stream_resumes_by_last_event_id_through_a_restart(
    settings: GatewaySettings, engine: Engine, job_id: UUID, admin: dict[str, str]
) -> None:
    log(engine, job_id, 3)
    address = f"/v1/jobs/{job_id}/events"
    with running_gateway(settings) as url:
        read_from(f"{url}{address}", {**admin, **STREAM}, [1, 2, 3])
    log(engine, job_id, 2)
    cancel(engine, job_id)
    with running_gateway(settings) as url:
        read_from(f"{url}{address}", {**admin, **STREAM, "Last-Event-ID": "3"}, [4, 5, 6, 7])


def read_from(url: str, headers: dict[str, str], numbers: list[int]) -> None:
    with httpx2.stream("GET", url, headers=headers, timeout=20) as response:
        assert Stream(response).take(len(numbers)) == numbers


def test_stopping_the_gateway_ends_open_streams_at_once(
    settings: GatewaySettings, engine: Engine, job_id: UUID, admin: dict[str, str]
) -> None:
    """`running_gateway` fails when the process needs longer than its drain time to stop."""
    with running_gateway(settings, OCTAVO_GATEWAY_DRAIN_S="15") as url:
        client = httpx2.Client(base_url=url, headers=admin, timeout=20)
        response = client.send(client.build_request("GET", f"/v1/jobs/{job_id}/events", headers=STREAM), stream=True)
        stream = Stream(response)
        assert stream.take(1) == [1]
    assert list(stream.lines) == []
    client.close()


def test_many_streams_share_one_listening_connection(remote: httpx2.Client, engine: Engine, job_id: UUID) -> None:
    opened = [
        remote.send(remote.build_request("GET", f"/v1/jobs/{job_id}/events", headers=STREAM), stream=True)
        for _ in range(8)
    ]
    streams = [Stream(response) for response in opened]
    assert [stream.take(1) for stream in streams] == [[1]] * 8
    log(engine, job_id)
    assert [stream.take(1) for stream in streams] == [[2]] * 8
    with engine.connect() as connection:
        listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'octavo-listener'"
        assert connection.exec_driver_sql(f"{listening} AND datname = current_database()").scalar() == 1
    for response in opened:
        response.close()


def test_a_stream_survives_the_loss_of_the_listening_connection(
    settings: GatewaySettings, engine: Engine, job_id: UUID, admin: dict[str, str]
) -> None:
    """The heartbeat is set so long that only a notification can bring the event in time."""
    kill = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name = 'octavo-listener' AND datname = current_database()"""
    with (
        running_gateway(settings, OCTAVO_GATEWAY_HEARTBEAT_S="600") as url,
        httpx2.stream("GET", f"{url}/v1/jobs/{job_id}/events", headers={**admin, **STREAM}, timeout=20) as response,
    ):
        stream = Stream(response)
        assert stream.take(1) == [1]
        with engine.connect() as connection:
            until(lambda: connection.exec_driver_sql(kill).scalar(), "a connection to cut")
            connection.commit()
        log(engine, job_id)
        assert stream.take(1) == [2]


def test_metrics_by_name(client: TestClient, engine: Engine, job_id: UUID) -> None:
    write_metrics(engine, job_id, {"train/loss": [3.0, 2.0, float("nan")], "val/accuracy": [0.5]})
    found = client.get(f"/v1/jobs/{job_id}/metrics").json()["items"]
    assert [one["name"] for one in found] == ["train/loss", "val/accuracy"]
    assert found[0] == {"name": "train/loss", "steps": [0, 1, 2], "values": [3.0, 2.0, "NaN"], "thinned": False}
    one = client.get(f"/v1/jobs/{job_id}/metrics", params={"name": "val/accuracy"}).json()["items"]
    assert [series["name"] for series in one] == ["val/accuracy"]


def test_metrics_come_by_pages_of_bounded_size(client: TestClient, engine: Engine, job_id: UUID) -> None:
    names = sorted(f"part{n:02}" for n in range(50))
    write_metrics(engine, job_id, {name: [1.0] for name in names})
    path = f"/v1/jobs/{job_id}/metrics"
    whole = client.get(path).json()
    assert ([one["name"] for one in whole["items"]], whole["next_after"]) == (names, None)
    write_metrics(engine, job_id, {"part\n50": [1.0], "": [1.0]})
    names = ["", *names, "part\n50"]
    seen, after = [], None
    while after is not None or not seen:
        page = client.get(path, params={} if after is None else {"after": after}).json()
        seen.append([one["name"] for one in page["items"]])
        after = page["next_after"]
    assert [len(part) for part in seen] == [50, 2]
    assert sorted(seen[0] + seen[1]) == sorted(names)
    asked = {"name": ["part07", "part01", "none", "part01", "part04"], "limit": 2}
    page = client.get(path, params=asked).json()
    assert ([one["name"] for one in page["items"]], page["next_after"]) == (["part01", "part04"], "part04")
    page = client.get(path, params={**asked, "after": "part04"}).json()
    assert ([one["name"] for one in page["items"]], page["next_after"]) == (["part07"], None)


@pytest.mark.parametrize(
    ("name", "value"), [("limit", "51"), ("limit", "0"), ("after", "\0"), ("after", "x" * 201), ("points", "10001")]
)
def test_a_bad_page_of_metrics_is_a_problem_of_its_field(
    client: TestClient, job_id: UUID, name: str, value: str
) -> None:
    answer = client.get(f"/v1/jobs/{job_id}/metrics", params={name: value})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [one["pointer"] for one in answer.json()["errors"]] == [f"/{name}"]


@pytest.mark.parametrize("points", [1, 2, 7, 50, 99, 100, 1000])
def test_long_metrics_are_thinned_out_and_keep_their_last_value(
    client: TestClient, engine: Engine, job_id: UUID, points: int
) -> None:
    write_metrics(engine, job_id, {"loss": [float(n) for n in range(100)]})
    (series,) = client.get(f"/v1/jobs/{job_id}/metrics", params={"points": points}).json()["items"]
    assert len(series["steps"]) <= points
    assert len(series["steps"]) >= min(points, 100) // 2
    assert series["steps"][-1] == 99
    assert series["thinned"] == (points < 100)


def test_of_uneven_steps_each_part_of_the_way_is_seen(client: TestClient, engine: Engine, job_id: UUID) -> None:
    with transaction(engine) as session:
        steps = [*range(50), 10**12, 2**62]
        record_metrics(session, lock(session, job_id), [MetricPoint("loss", step, step / 2) for step in steps])
    (series,) = client.get(f"/v1/jobs/{job_id}/metrics", params={"points": 10}).json()["items"]
    assert series["steps"] == [10**12, 2**62]
    (series,) = client.get(f"/v1/jobs/{job_id}/metrics", params={"points": 52}).json()["items"]
    assert series["steps"] == steps
    assert series["values"] == [step / 2 for step in steps]


def test_many_curves_of_a_page_get_coarser(engine: Engine, job_id: UUID) -> None:
    names = sorted(f"part{n}" for n in range(30))
    write_metrics(engine, job_id, {name: [float(value) for value in range(40)] for name in names})
    with transaction(engine) as session:
        found = curves(session, DEFAULT_PROJECT_ID, job_id, names, 400, most=300)
        assert curves(session, DEFAULT_PROJECT_ID, job_id, [], 400, most=300) == {}
    assert list(found) == names
    assert {len(steps) for steps, _ in found.values()} == {10}


def write_metrics(engine: Engine, job_id: UUID, values: dict[str, list[float]]) -> None:
    points = [MetricPoint(name, step, value) for name, column in values.items() for step, value in enumerate(column)]
    with transaction(engine) as session:
        record_metrics(session, lock(session, job_id), points)


@pytest.fixture
def report(engine: Engine, job_id: UUID, settings: GatewaySettings, tmp_path: Path) -> str:
    """A report of the job in the artifact store; its digest."""
    page = tmp_path / "report.html"
    page.write_text("<script>1</script>")
    stored = ArtifactStore(settings.platform.artifact_root).put_file(page)
    row = Artifact(
        project_id=DEFAULT_PROJECT_ID,
        job_id=job_id,
        kind="report",
        name="report.html",
        uri=stored.uri,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        media_type="text/html",
    )
    with transaction(engine) as session:
        session.add(row)
    return stored.digest


def test_artifacts_are_listed_and_downloaded(client: TestClient, job_id: UUID, report: str) -> None:
    (artifact,) = client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
    assert (artifact["name"], artifact["digest"]) == ("report.html", report)
    answer = client.get(f"/v1/jobs/{job_id}/artifacts/{artifact['id']}")
    assert answer.text == "<script>1</script>"
    assert answer.headers["etag"] == f'"{report}"'
    assert answer.headers["content-disposition"].startswith("attachment")
    assert client.get(f"/v1/jobs/{job_id}/artifacts/{uuid4()}").json()["code"] == "artifact_not_found"


def test_a_report_is_shown_in_a_sandbox(client: TestClient, job_id: UUID, report: str) -> None:
    answer = client.get(f"/v1/jobs/{job_id}/report")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


def test_a_job_without_a_report_says_why(client: TestClient, job_id: UUID) -> None:
    answer = client.get(f"/v1/jobs/{job_id}/report")
    assert (answer.status_code, answer.json()["code"]) == (404, "report_not_found")
    assert "queued" in answer.json()["detail"]


def test_a_file_that_is_gone_from_the_store_is_a_404(
    client: TestClient, job_id: UUID, report: str, settings: GatewaySettings
) -> None:
    for path in Path(settings.platform.home / "artifacts").rglob("report.html"):
        path.unlink()
    answer = client.get(f"/v1/jobs/{job_id}/report")
    assert (answer.status_code, answer.json()["code"]) == (404, "file_gone")
