"""Commands of `octavo` that delete, against a gateway process."""

import io
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Engine, func, update

from libs.database.engine import transaction
from libs.database.tables import Job
from tests.support.command_line import CommandLine, Finished

SPEC = {"method": "frskd", "datasets": {"train": "digits"}}


class Command:
    """`octavo` on the gateway of the test."""

    def __init__(self, home: Path, url: str, key: str) -> None:
        self._line = CommandLine(home)
        self._environment = {"OCTAVO_URL": url, "OCTAVO_API_KEY": key}

    def __call__(self, *arguments: str) -> Finished:
        return self._line.call(*arguments, **self._environment)


@pytest.fixture
def octavo_command(tmp_path: Path, server_url: str, admin: dict[str, str]) -> Command:
    return Command(tmp_path / "cli", server_url, admin["Authorization"].removeprefix("Bearer "))


def cancelled(remote: httpx2.Client, name: str) -> str:
    job_id = str(remote.post("/v1/jobs", json={**SPEC, "name": name}).json()["id"])
    remote.post(f"/v1/jobs/{job_id}/cancel")
    return job_id


def test_jobs_are_removed_by_id_beginning_or_name(
    remote: httpx2.Client, digits: str, octavo_command: Command, monkeypatch: pytest.MonkeyPatch
):
    first, second, third = (cancelled(remote, name) for name in ("first", "second", "third"))
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = octavo_command("jobs", "rm", "first", second[:8])
    assert (refused.code, "first (" in refused.err, "second (" in refused.err) == (1, True, True)
    assert len(remote.get("/v1/jobs").json()["items"]) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    removed = octavo_command("jobs", "rm", "first", second[:8])
    assert (removed.code, removed.out.lstrip()) == (0, f"Deleted: first {first}\nDeleted: second {second}\n")
    assert octavo_command("jobs", "rm", third, third, "--yes", "--json").json == [
        {"id": third, "name": "third", "deleted": True}
    ]
    assert remote.get("/v1/jobs").json()["items"] == []
    assert octavo_command("jobs", "rm", third, "--yes").code == 5


def test_a_job_that_lives_is_not_removed(remote: httpx2.Client, digits: str, octavo_command: Command):
    job_id = remote.post("/v1/jobs", json=SPEC).json()["id"]
    refused = octavo_command("jobs", "rm", job_id, "--yes")
    assert (refused.code, "Cancel it first" in refused.err) == (4, True)
    assert remote.get(f"/v1/jobs/{job_id}").status_code == 200


def test_gc_takes_old_jobs_when_it_is_told_an_age(
    remote: httpx2.Client, digits: str, octavo_command: Command, engine: Engine
):
    job_id = cancelled(remote, "old")
    with transaction(engine) as session:
        session.execute(update(Job).values(finished_at=func.now() - timedelta(days=3)))
    assert octavo_command("gc").out == "0 files of 0 B are gone\n"
    assert octavo_command("gc", "--jobs-older-than", "1w").out == "0 jobs and 0 files of 0 B are gone\n"
    rehearsed = octavo_command("gc", "--jobs-older-than", "2d", "--dry-run", "--json")
    assert rehearsed.json == {"jobs": 1, "files": 0, "size_bytes": 0, "dry_run": True}
    assert remote.get(f"/v1/jobs/{job_id}").status_code == 200
    assert octavo_command("gc", "--jobs-older-than", "2d").out == "1 jobs and 0 files of 0 B are gone\n"
    assert remote.get(f"/v1/jobs/{job_id}").status_code == 404
    assert octavo_command("gc", "--jobs-older-than", "soon").code == 2
