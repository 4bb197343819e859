"""Uploads into a folder and into a bucket keep the same promises."""

import errno
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from starlette.exceptions import HTTPException

from libs.registry.artifacts import ArtifactError, ArtifactStore
from libs.web.problems import ConflictError, TooLargeError, UnprocessableError
from services.gateway.datasets.uploads import MIN_PART_BYTES, Upload, open_upload
from services.gateway.errors import PROBLEMS
from tests.support.s3 import s3_server, use_s3

pytestmark = pytest.mark.anyio
LIMIT = 100 * MIN_PART_BYTES
KEY = "uploads/1/cats.zip"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    """An S3 of this module."""
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return tmp_path.as_uri() if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture
def bucket(s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket."""
    use_s3(s3, monkeypatch)
    client = boto3.client("s3")
    name = f"octavo-{len(client.list_buckets()['Buckets'])}"
    client.create_bucket(Bucket=name)
    return f"s3://{name}"


async def sent(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def stored(upload: Upload, root: str) -> bytes:
    with ArtifactStore(root).open(upload.uri) as file:
        return file.read()


async def test_chunks_become_one_file(root: str) -> None:
    upload = open_upload(root, KEY)
    first, last = b"a" * MIN_PART_BYTES, b"b" * 10
    assert upload.offset() == 0
    assert await upload.append(0, sent(first[:7], first[7:]), LIMIT) == len(first)
    assert open_upload(root, KEY).offset() == len(first)
    assert await upload.append(len(first), sent(last), LIMIT) == len(first) + len(last)
    assert upload.finish() == len(first) + len(last)
    assert upload.finish() == upload.offset() == len(first) + len(last)
    assert stored(upload, root) == first + last


async def test_a_chunk_at_a_wrong_offset_changes_nothing(root: str) -> None:
    upload = open_upload(root, KEY)
    await upload.append(0, sent(b"abc"), LIMIT)
    for offset in (0, 2, 4):
        with pytest.raises(ConflictError) as caught:
            await upload.append(offset, sent(b"x"), LIMIT)
        assert caught.value.headers["Upload-Offset"] == "3"
    assert upload.offset() == 3


async def test_a_chunk_over_the_limit_is_taken_back(root: str) -> None:
    upload = open_upload(root, KEY)
    await upload.append(0, sent(b"abc"), 5)
    with pytest.raises(TooLargeError):
        await upload.append(3, sent(b"de", b"f"), 5)
    assert upload.offset() == 3


async def test_a_bucket_cannot_join_small_parts_and_says_so(bucket: str) -> None:
    upload = open_upload(bucket, KEY)
    await upload.append(0, sent(b"a"), LIMIT)
    await upload.append(1, sent(b"b"), LIMIT)
    with pytest.raises(UnprocessableError, match="larger chunks"):
        upload.finish()


async def test_a_bucket_whose_parts_were_half_removed_still_has_the_whole(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = open_upload(bucket, KEY)
    first, last = b"a" * MIN_PART_BYTES, b"b" * 10
    await upload.append(0, sent(first), LIMIT)
    await upload.append(len(first), sent(last), LIMIT)

    def killed_in_the_middle(parts: str, recursive: bool) -> None:
        upload._fs.rm_file(f"{parts}/{len(first):020d}")
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(upload._fs, "rm", killed_in_the_middle)
        with pytest.raises(ConnectionError):
            upload.finish()
    assert upload.offset() == len(first) + len(last)
    with pytest.raises(ConflictError, match="complete"):
        await upload.append(len(first), sent(b"more"), LIMIT)
    assert upload.finish() == len(first) + len(last)
    assert stored(upload, bucket) == first + last


async def test_what_came_before_a_client_fell_silent_is_kept(tmp_path: Path) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"abc"
        raise HTTPException(408)  # as libs.web.body_limit does

    upload = open_upload(tmp_path.as_uri(), KEY)
    with pytest.raises(HTTPException):
        await upload.append(0, stalled(), LIMIT)
    assert upload.offset() == 3
    assert await upload.append(3, sent(b"d"), LIMIT) == 4


async def test_nothing_is_readable_before_it_is_whole(root: str) -> None:
    upload = open_upload(root, KEY)
    await upload.append(0, sent(b"abc"), LIMIT)
    assert not ArtifactStore(root).exists(upload.uri)


def test_a_full_disk_is_named() -> None:
    full = PROBLEMS[OSError](OSError(errno.ENOSPC, "No space left on device"))
    other = PROBLEMS[OSError](OSError(errno.EIO, "/secret/path"))
    assert (full.status, full.problem_code) == (507, "disk_full")
    assert other.status == 503
    assert "secret" not in other.detail


async def test_a_bucket_that_does_not_answer_is_no_error_of_ours(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3({"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}, monkeypatch)
    with pytest.raises(ArtifactError, match="fails: Could not connect") as raised:
        await open_upload(bucket, KEY).append(0, sent(b"abc"), LIMIT)
    assert PROBLEMS[type(raised.value)](raised.value).status == 503
