"""Data in place from the request to the trained model, and out again: the user's files are only ever read."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import boto3
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, text
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DatasetVersion
from libs.jobs.spec import parse_spec
from tests.support.gateway import gateway_of
from tests.support.platform import Platform
from tests.support.s3 import s3_server, use_s3

pytestmark = pytest.mark.timeout(900)  # real trainings, on machines that may be busy

BUCKET = "in-place"
TRAINING = parse_spec(
    {
        "method": "supervised",
        "name": "tiny",
        "datasets": {"train": "pets"},
        "config": {"epochs": 1, "model": "resnet8", "batch_size": 16, "augment": "none"},
    }
)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "my pets"
    rng = np.random.default_rng(0)
    for number in range(60):
        (root / f"kind {number % 2}").mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        picture.save(root / f"kind {number % 2}" / f"{number}.png")
    return root


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, pets: Path) -> Iterator[Mapping[str, str]]:
    """The pets in a bucket, too; the environment of a process that may read it."""
    with s3_server() as environment:
        use_s3(environment, monkeypatch)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for path in pets.rglob("*.png"):
            key = path.relative_to(pets.parent).as_posix()
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        client.close()
        yield environment


@pytest.fixture
def gateway(octavo: Platform, pets: Path) -> Iterator[TestClient]:
    """A gateway that allows the pets' folder and their prefix of the bucket."""
    with gateway_of(octavo, data_roots=f"{pets.parent}:::s3://{BUCKET}/my pets") as client:
        yield client


def contents(url: str) -> Mapping[str, bytes]:
    """Every file of a place."""
    if url.startswith("file://"):
        root = Path(unquote(urlsplit(url).path))
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    client = boto3.client("s3")
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    found = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    client.close()
    return found


def begin(gateway: TestClient, url: str) -> UUID:
    """The job that validates a new version of the pets."""
    answer = gateway.post("/v1/datasets", json={"name": "pets", "source": {"path": url}})
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["validation_job_id"])


def collect_everything(octavo: Platform, gateway: TestClient) -> int:
    """`octavo gc` as if a year had passed; how many files went."""
    with transaction(octavo.engine) as session:
        session.execute(text("UPDATE datasets SET deleted_at = deleted_at - interval '1 year'"))
    for entry in octavo.store.entries():
        os.utime(unquote(urlsplit(entry.uri).path), (1e9, 1e9))
    return int(gateway.post("/v1/storage/gc").json()["files"])


def test_a_bucket_is_validated_and_trained_on(octavo: Platform, gateway: TestClient, s3: Mapping[str, str]):
    octavo.start_relay()
    octavo.start_worker(**s3)
    octavo.wait_for(begin(gateway, f"s3://{BUCKET}/my pets"), "succeeded")
    version = gateway.get("/v1/datasets/pets/versions/1").json()
    assert (version["status"], version["summary"]["pictures"]) == ("ready", 60)
    octavo.wait_for(octavo.submit(TRAINING), "succeeded")


@pytest.mark.parametrize("scheme", ["file", "s3"])
def test_files_in_place_are_not_counted_and_outlive_their_data_set(
    octavo: Platform, gateway: TestClient, pets: Path, s3: Mapping[str, str], scheme: str
):
    url = pets.as_uri() if scheme == "file" else f"s3://{BUCKET}/my pets"
    before = contents(url)
    octavo.start_relay()
    octavo.start_worker(**s3)
    octavo.wait_for(begin(gateway, url), "succeeded")
    with transaction(octavo.engine) as session:
        uri = str(session.scalars(select(DatasetVersion.uri)).one())
    stored = {f"{uri}/manifest.json", f"{uri}/index.csv.gz"}
    assert {entry.uri for entry in octavo.store.entries() if entry.uri.startswith(uri)} == stored
    (used,) = [one for one in gateway.get("/v1/storage").json()["items"] if one["noun"] == "dataset"]
    assert used["size_bytes"] == octavo.store.size_bytes(uri)
    assert gateway.delete("/v1/datasets/pets").status_code == 204
    assert collect_everything(octavo, gateway) >= len(stored)
    assert not any(octavo.store.exists(name) for name in stored)
    assert contents(url) == before


def test_a_file_that_changed_fails_the_job_once_by_name(octavo: Platform, gateway: TestClient, pets: Path):
    octavo.start_relay()
    octavo.start_worker()
    octavo.wait_for(begin(gateway, pets.as_uri()), "succeeded")
    for path in pets.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"more")
    job = octavo.wait_for(octavo.submit(TRAINING), "failed")
    assert job.attempts_used == 1
    assert job.error["error"] == "PictureError"
    assert f"{pets.as_uri()}/kind " in job.error["message"]
    assert "has changed since the data set was validated" in job.error["message"]


@pytest.mark.parametrize("path", [f"s3://{BUCKET}/my pets more", f"s3://{BUCKET}/my pets/../x", f"s3://{BUCKET}"])
def test_a_bucket_outside_the_allowed_prefix_is_refused(gateway: TestClient, path: str):
    answer = gateway.post("/v1/datasets", json={"name": "pets", "source": {"path": path}})
    assert (answer.status_code, answer.json()["code"]) == (422, "path_not_allowed")
