"""Data sets over HTTP: uploads that go on after an interruption, data in place, and what validation left."""

import socket
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, DatasetVersion, Job
from libs.registry.artifacts import ArtifactStore
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import running_gateway
from tests.support.datasets import EVENTS_MANIFEST, add_dataset
from tests.support.waiting import until

CHUNK = {"Content-Type": "application/offset+octet-stream"}


def begin(client: TestClient | httpx2.Client, name: str = "cats", **changes: object) -> dict:
    answer = client.post("/v1/datasets", json={"name": name, "source": {"upload": "cats.zip"}, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(client: TestClient | httpx2.Client, url: str, offset: int, content: bytes) -> httpx2.Response:
    return client.patch(url, content=content, headers={**CHUNK, "Upload-Offset": str(offset)})


def arrived(client: TestClient | httpx2.Client, url: str) -> int:
    return int(client.head(url).headers["Upload-Offset"])


def test_an_upload_in_chunks_is_validated_when_it_is_complete(
    client: TestClient, engine: Engine, settings: GatewaySettings
) -> None:
    version = begin(client, validation={"val_fraction": 0.2}, description="Cats.")
    url = version["upload_url"]
    assert (version["status"], version["version"], arrived(client, url)) == ("uploading", 1, 0)
    for offset, content in ((0, b"abc"), (3, b""), (3, b"defg")):
        answer = send(client, url, offset, content)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(offset + len(content)))
    done = client.post(f"{url.removesuffix('upload')}complete", json={"size_bytes": 7})
    assert (done.status_code, done.json()["status"], done.json()["upload_url"]) == (202, "validating", None)
    with transaction(engine) as session:
        row = session.get_one(DatasetVersion, UUID(version["id"]))
        job = session.get_one(Job, UUID(done.json()["validation_job_id"]))
        assert (job.method, job.status) == ("validate-dataset", "queued")
        assert job.spec["datasets"] == {"upload": "cats@1"}
        assert job.spec["config"]["val_fraction"] == 0.2
        assert row.upload_size_bytes == 7
        with ArtifactStore(settings.platform.artifact_root).open(row.upload_uri) as stored:
            assert stored.read() == b"abcdefg"
    assert row.upload_uri.endswith("/cats.zip")


def test_a_chunk_at_a_wrong_offset_is_told_the_right_one(client: TestClient) -> None:
    url = begin(client)["upload_url"]
    send(client, url, 0, b"abc")
    for offset in (0, 2, 4):
        answer = send(client, url, offset, b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset_mismatch")
        assert answer.headers["Upload-Offset"] == "3"
    assert arrived(client, url) == 3


def test_what_arrived_of_an_interrupted_chunk_is_kept(server_url: str, remote: httpx2.Client, admin: dict) -> None:
    url = begin(remote)["upload_url"]
    host, port = server_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PATCH {url} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {admin['Authorization']}\r\n"
        head += f"Content-Type: {CHUNK['Content-Type']}\r\nUpload-Offset: 0\r\nContent-Length: 9999999\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 3_000_000)
        until(lambda: arrived(remote, url) >= 2_000_000, "the first blocks to be written")
        busy = send(remote, url, arrived(remote, url), b"y")
        assert busy.status_code == 409
    until(lambda: arrived(remote, url) == 3_000_000, "the rest to be written after the connection broke")
    assert until(lambda: send(remote, url, 3_000_000, b"y" * 10).status_code == 204, "the lock to be released")
    assert arrived(remote, url) == 3_000_010


def test_completing_twice_or_too_early_is_a_conflict(client: TestClient) -> None:
    url = begin(client)["upload_url"]
    complete = url.removesuffix("upload") + "complete"
    assert client.post(complete).json()["code"] == "upload_incomplete"
    send(client, url, 0, b"abc")
    early = client.post(complete, json={"size_bytes": 4})
    assert (early.status_code, early.headers["Upload-Offset"]) == (409, "3")
    assert client.post(complete).status_code == 202
    assert client.post(complete).status_code == 409
    assert send(client, url, 3, b"d").status_code == 409
    assert client.head(url).status_code == 409


def test_an_upload_over_the_limit_keeps_what_it_had(settings: GatewaySettings, admin: dict[str, str]) -> None:
    limit = {"OCTAVO_GATEWAY_MAX_UPLOAD_BYTES": "10", "OCTAVO_GATEWAY_MAX_CHUNK_BYTES": "8"}
    with running_gateway(settings, **limit) as url, httpx2.Client(base_url=url, headers=admin) as client:
        upload = begin(client)["upload_url"]
        assert send(client, upload, 0, b"x" * 8).status_code == 204
        assert send(client, upload, 8, b"x" * 9).json()["code"] == "too_large"
        assert send(client, upload, 8, b"x" * 3).json()["code"] == "upload_too_large"
        assert arrived(client, upload) == 8


def test_a_chunk_is_bytes(client: TestClient) -> None:
    url = begin(client)["upload_url"]
    answer = client.patch(url, json={}, headers={"Upload-Offset": "0"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("name", ["../cats.zip", "a/b.zip", ".hidden", "", "x" * 200, "a\nb"])
def test_a_file_name_that_could_lead_elsewhere_is_refused(client: TestClient, name: str) -> None:
    answer = client.post("/v1/datasets", json={"name": "cats", "source": {"upload": name}})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("source", "pointer", "said"),
    [
        ({}, "/source", "`upload`"),
        ({"upload": "a.zip", "path": "/x"}, "/source", "exactly one"),
        ({"url": "http://x"}, "/source/url", "Known: path, public, recorded, upload."),
        (None, "/source", "JSON object"),
        ("x", "/source", "JSON object"),
        ({"upload": "../x.zip"}, "/source/upload", "plain file name"),
        ({"upload": "x.exe"}, "/source/upload", "ends in .zip"),
        ({"public": "mnst"}, "/source/public", "mnist or kmnist"),
        ({"path": "/x\0"}, "/source/path", "pattern"),
    ],
)
def test_a_wrong_source_is_said_once_and_in_words(client: TestClient, source: object, pointer: str, said: str) -> None:
    answer = client.post("/v1/datasets", json={"name": "cats", "source": source})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["message"]
    assert client.get("/v1/datasets").json()["items"] == []


@pytest.mark.parametrize(
    ("name", "like"), [("My Cats", ", like 'my-cats'."), ("../etc", ", like 'etc'."), ("кошки", "letter or digit.")]
)
def test_a_wrong_name_is_explained_with_one_that_fits(client: TestClient, name: str, like: str) -> None:
    answer = client.post("/v1/datasets", json={"name": name, "source": {"upload": "cats.zip"}})
    assert answer.status_code == 422
    assert "lower-case letters, digits, '.', '-' and '_'" in answer.json()["detail"]
    assert answer.json()["detail"].endswith(like)


def test_a_data_set_that_an_unfinished_job_uses_is_deleted_only_by_force(client: TestClient, digits: str) -> None:
    job = client.post("/v1/jobs", json={"method": "frskd", "datasets": {"train": "digits"}}).json()
    refused = client.delete("/v1/datasets/digits")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert job["id"] in refused.json()["detail"]
    assert client.delete("/v1/datasets/digits?force=true").status_code == 204
    assert client.get("/v1/datasets/digits").status_code == 404


def test_an_ended_job_or_one_of_another_data_set_holds_nothing(client: TestClient, engine: Engine, digits: str) -> None:
    with transaction(engine) as session:
        add_dataset(session, "digits2")
    client.post("/v1/jobs", json={"method": "frskd", "datasets": {"train": "digits2"}})
    ended = client.post("/v1/jobs", json={"method": "frskd", "datasets": {"train": "digits"}}).json()
    assert client.post(f"/v1/jobs/{ended['id']}/cancel").json()["status"] == "cancelled"
    assert client.delete("/v1/datasets/digits").status_code == 204


def test_data_in_place_is_validated_at_once(client: TestClient, settings: GatewaySettings, engine: Engine) -> None:
    root = Path(settings.platform.data_roots)
    version = begin(client, source={"path": f"{root}/./cats/../dogs/"})
    assert version["status"] == "validating"
    assert version["source"]["path"] == (root / "dogs").as_uri()
    with transaction(engine) as session:
        job = session.get_one(Job, UUID(version["validation_job_id"]))
    assert job.spec["datasets"] == {"upload": "cats@1"}


def test_recorded_events_are_validated_at_once_on_top_of_a_pinned_base(
    client: TestClient, engine: Engine, digits: str
) -> None:
    with transaction(engine) as session:
        add_dataset(session, "clicks", manifest=EVENTS_MANIFEST)
    body = {"name": "fresh", "source": {"recorded": {"since_days": 30, "base": "clicks"}}}
    answer = client.post("/v1/datasets", json=body)
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["status"], version["upload_url"]) == ("validating", None)
    assert version["source"]["recorded"] == {"since_days": 30, "base": "clicks@1"}
    job = client.get(f"/v1/jobs/{version['validation_job_id']}").json()
    assert job["spec"]["datasets"] == {"upload": "fresh@1", "base": "clicks@1"}
    assert client.post("/v1/datasets", json={"name": "all", "source": {"recorded": {}}}).status_code == 201


@pytest.mark.parametrize(
    ("recorded", "pointer", "said"),
    [
        ({"base": "digits"}, "/source/recorded/base", "It holds pictures"),
        ({"base": "nothing"}, "/source/recorded/base", "no data set 'nothing'"),
        ({"since_days": 0}, "/source/recorded/since_days", "greater than or equal to 1"),
        ({"types": []}, "/source/recorded/types", "at least 1 item"),
    ],
)
def test_a_wrong_choice_of_recorded_events_is_pointed_to(
    client: TestClient, digits: str, recorded: dict, pointer: str, said: str
) -> None:
    answer = client.post("/v1/datasets", json={"name": "fresh", "source": {"recorded": recorded}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert said in answer.json()["errors"][0]["message"]


def test_data_in_place_stays_under_the_allowed_roots(client: TestClient, settings: GatewaySettings) -> None:
    root = Path(settings.platform.data_roots)
    (root / "link").symlink_to("/etc")
    elsewhere = [
        "/etc",
        f"{root}/..",
        f"{root}/link",
        f"{root}-more",
        "relative",
        "s3://bucket/x",
        "http://x/y",
        "file:///etc",
    ]
    for path in elsewhere:
        answer = client.post("/v1/datasets", json={"name": "cats", "source": {"path": path}})
        assert (answer.status_code, answer.json()["code"]) == (422, "path_not_allowed"), path
        assert answer.json()["errors"][0]["pointer"] == "/source/path"


def test_versions_count_up_and_a_new_one_needs_the_data_set(client: TestClient) -> None:
    begin(client)
    assert begin(client)["version"] == 2
    answer = client.post("/v1/datasets/cats/versions", json={"source": {"upload": "more.zip"}})
    assert (answer.status_code, answer.json()["version"]) == (201, 3)
    assert answer.headers["Location"] == "/v1/datasets/cats/versions/3"
    assert client.post("/v1/datasets/cast/versions", json={"source": {"upload": "a.zip"}}).status_code == 404
    found = client.get("/v1/datasets/cats").json()
    assert [version["version"] for version in found["versions"]] == [3, 2, 1]
    assert found["latest"]["version"] == 3
    first = client.get("/v1/datasets/cats/versions", params={"limit": 2}).json()
    assert [version["version"] for version in first["items"]] == [3, 2]
    last = client.get("/v1/datasets/cats/versions", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([version["version"] for version in last["items"]], last["next_cursor"]) == ([1], None)


def test_a_ready_version_shows_its_figures(client: TestClient, digits: str) -> None:
    version = client.get("/v1/datasets/digits/versions/1").json()
    assert (version["status"], version["digest"]) == ("ready", digits)
    assert version["summary"]["splits"] == {"train": 6, "val": 2}
    assert client.get("/v1/datasets/digits/versions/1/statistics").json()["manifest"]["mean"] == [0.5]
    assert client.get("/v1/datasets/digits/versions/1/report").json()["report"] == {"problems": []}


def test_what_is_not_there_yet_says_so(client: TestClient) -> None:
    begin(client)
    for part in ("report", "statistics", "preview"):
        answer = client.get(f"/v1/datasets/cats/versions/1/{part}")
        assert (answer.status_code, answer.json()["code"]) == (404, f"{part}_not_found")
        assert "uploading" in answer.json()["detail"]
    assert client.get("/v1/datasets/cats/versions/9").json()["code"] == "dataset_version_not_found"
    answer = client.get("/v1/datasets/cast")
    assert (answer.json()["code"], "Did you mean 'cats'?" in answer.json()["detail"]) == ("dataset_not_found", True)


def test_the_preview_is_the_sheet_of_the_validation_job(
    client: TestClient, engine: Engine, settings: GatewaySettings, tmp_path: Path
) -> None:
    version = begin(client, source={"path": settings.platform.data_roots})
    sheet = tmp_path / "preview.png"
    sheet.write_bytes(b"\x89PNG")
    stored = ArtifactStore(settings.platform.artifact_root).put_file(sheet)
    fields = {"uri": stored.uri, "digest": stored.digest, "size_bytes": stored.size_bytes, "media_type": "image/png"}
    with transaction(engine) as session:
        job_id = UUID(version["validation_job_id"])
        session.add(Artifact(project_id=DEFAULT_PROJECT_ID, job_id=job_id, kind="file", name="preview.png", **fields))
    answer = client.get("/v1/datasets/cats/versions/1/preview")
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")


def test_a_deleted_data_set_is_gone_and_its_name_free(client: TestClient, digits: str) -> None:
    assert client.delete("/v1/datasets/digits").status_code == 204
    assert client.delete("/v1/datasets/digits").status_code == 404
    assert client.get("/v1/datasets").json()["items"] == []
    assert begin(client, "digits")["version"] == 1


def test_a_list_pages_with_the_newest_version_of_each(client: TestClient, digits: str) -> None:
    begin(client, "a")
    begin(client, "digits")
    first = client.get("/v1/datasets", params={"limit": 1}).json()
    second = client.get("/v1/datasets", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [item["name"] for item in first["items"] + second["items"]] == ["a", "digits"]
    assert second["items"][0]["latest"]["version"] == 2
    assert second["next_cursor"] is None


def test_other_projects_see_nothing(client: TestClient, digits: str, other_project: dict[str, str]) -> None:
    url = begin(client)["upload_url"]
    assert client.get("/v1/datasets", headers=other_project).json()["items"] == []
    for path in ("/v1/datasets/digits", "/v1/datasets/digits/versions/1", "/v1/datasets/digits/versions/1/report"):
        assert client.get(path, headers=other_project).status_code == 404
    assert client.head(url, headers=other_project).status_code == 404
    assert client.patch(url, content=b"x", headers={**other_project, **CHUNK, "Upload-Offset": "0"}).status_code == 404
    assert client.delete("/v1/datasets/digits", headers=other_project).status_code == 404
    assert begin(client, "digits")["version"] == 2
