"""Uploads go on where they stopped, and notice when the file is not what was begun."""

from pathlib import Path

import httpx2
import pytest

from libs.client import uploads
from libs.client.errors import ConflictError, LocalFileError
from libs.client.uploads import plain_name, source_of, upload


class Store:
    """The gateway's side of an upload; `faults` are raised or answered before a chunk is taken."""

    def __init__(self, *faults: object) -> None:
        self.content, self.faults, self.chunks = b"", list(faults), 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "HEAD":
            return self.offset(200)
        fault = self.faults.pop(0) if self.faults else None
        body = request.read()
        if fault == "half":
            self.content += body[: len(body) // 2]
            raise httpx2.ReadError("cut off")
        if isinstance(fault, int):
            return httpx2.Response(fault, json={"detail": "no", "code": "upload_offset_mismatch"})
        assert int(request.headers["Upload-Offset"]) == len(self.content)
        assert int(request.headers["Content-Length"]) == len(body)
        self.content += body
        self.chunks += 1
        return self.offset(204)

    def offset(self, status: int) -> httpx2.Response:
        return httpx2.Response(status, headers={"Upload-Offset": str(len(self.content))})


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK_BYTES", 1000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "cats.zip"
    made.write_bytes(bytes(n % 251 for n in range(4321)))
    return made


def test_a_file_arrives_in_chunks_and_tells_its_progress(transport_to, file):
    store, seen = Store(), []
    upload(transport_to(store), "/u", source_of(file), lambda done, total: seen.append((done, total)))
    assert store.content == file.read_bytes()
    assert store.chunks == 5
    assert seen == [(n, 4321) for n in (0, 1000, 2000, 3000, 4000, 4321)]


def test_a_chunk_cut_in_half_and_a_wrong_offset_lose_and_repeat_nothing(transport_to, file, naps):
    store = Store("half", 409, 503, "half")
    upload(transport_to(store), "/u", source_of(file))
    assert store.content == file.read_bytes()
    assert len(naps) == 4


def test_an_upload_begun_earlier_goes_on_there(transport_to, file):
    store = Store()
    store.content = file.read_bytes()[:2500]
    upload(transport_to(store), "/u", source_of(file))
    assert store.content == file.read_bytes()
    assert store.chunks == 2


def test_a_shorter_file_than_was_begun_is_refused(transport_to, file):
    store = Store()
    store.content = bytes(5000)
    with pytest.raises(LocalFileError, match=r"5000 bytes of this upload have arrived, more than cats\.zip has"):
        upload(transport_to(store), "/u", source_of(file))


def test_it_gives_up_when_no_chunk_gets_through(transport_to, file):
    with pytest.raises(ConflictError):
        upload(transport_to(Store(*[409] * 99), attempts=3), "/u", source_of(file))


def test_what_cannot_be_sent_is_named(tmp_path):
    with pytest.raises(LocalFileError, match="There is no file or folder"):
        source_of(tmp_path / "nothing.zip")
    (tmp_path / "empty.zip").touch()
    with pytest.raises(LocalFileError, match="is empty"):
        source_of(tmp_path / "empty.zip")


@pytest.mark.parametrize(
    ("given", "sent"), [("cats.zip", "cats.zip"), ("Meine Bilder (1).zip", "Meine_Bilder_1_.zip"), ("..zip", "zip")]
)
def test_file_names_become_plain(given, sent):
    assert plain_name(given) == sent
