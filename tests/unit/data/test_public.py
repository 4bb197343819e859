"""Public data sets from a folder mirror, a server, and nowhere; with small files in the real formats."""

import gzip
import hashlib
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from libs.data.errors import InvalidDatasetError, PublicDatasetError
from libs.data.events.dataset import open_event_data
from libs.data.public import CATALOG, PublicDataset, fetch_public, public_dataset, pull
from libs.data.public.catalog import RemoteFile
from libs.data.public.formats import read_cifar, read_idx
from libs.training.run import Outcome, Stopped

RNG = np.random.default_rng(0)
X_TRAIN, Y_TRAIN = RNG.integers(0, 256, (20, 4, 4), np.uint8), (np.arange(20) % 10).astype(np.uint8)
X_TEST, Y_TEST = RNG.integers(0, 256, (10, 4, 4), np.uint8), np.arange(10, dtype=np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes())


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def published(
    dataset: PublicDataset, contents: Sequence[bytes], root: Path, base: str = "http://127.0.0.1:1/"
) -> PublicDataset:
    """The data set as if these small files were the published ones; they are laid into a mirror at `root`."""
    folder = root / "datasets" / dataset.name
    folder.mkdir(parents=True)
    files = []
    for file, content in zip(dataset.files, contents, strict=True):
        (folder / file.name).write_bytes(content)
        md5 = hashlib.md5(content).hexdigest()
        files.append(replace(file, url=base + file.name, checksum=f"md5:{md5}"))
    return replace(dataset, files=tuple(files))


@pytest.fixture
def fashion(tmp_path: Path) -> PublicDataset:
    contents = [idx(array) for array in (X_TRAIN, Y_TRAIN, X_TEST, Y_TEST)]
    return published(CATALOG["fashion-mnist"], contents, tmp_path / "mirror")


class _Handler(SimpleHTTPRequestHandler):
    served: list[str]

    def log_message(self, *args: object) -> None:
        type(self).served.append(self.path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The mirror folder over HTTP, and what was asked of it."""
    handler = type("Handler", (_Handler,), {"served": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path / "mirror"))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", handler.served
        http.shutdown()
        thread.join()


def assert_fashion(npz: Path) -> None:
    with np.load(npz) as arrays:
        np.testing.assert_array_equal(arrays["x_train"], X_TRAIN)
        np.testing.assert_array_equal(arrays["y_train"], Y_TRAIN)
        np.testing.assert_array_equal(arrays["x_test"], X_TEST)
        np.testing.assert_array_equal(arrays["y_test"], Y_TEST)
        assert arrays["classes"][0] == "T-shirt/top"


def test_from_a_mirror_folder(fashion: PublicDataset, tmp_path: Path) -> None:
    assert_fashion(fetch_public(fashion, tmp_path / "cache", str(tmp_path / "mirror")))


def test_from_a_mirror_server_once(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    address, served = server
    assert_fashion(fetch_public(fashion, tmp_path / "cache", address + "/"))
    assert sorted(served) == sorted(f"/datasets/fashion-mnist/{file.name}" for file in fashion.files)
    assert_fashion(fetch_public(fashion, tmp_path / "cache", address))
    assert len(served) == 4


def test_from_the_official_address(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    address, _ = server
    files = tuple(replace(f, url=f"{address}/datasets/fashion-mnist/{f.name}") for f in fashion.files)
    assert_fashion(fetch_public(replace(fashion, files=files), tmp_path / "cache"))


def test_an_interrupted_fetch_goes_on_with_what_is_there(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    address, served = server

    def stop_at_half(fraction: float) -> None:
        if fraction >= 0.5:
            raise Stopped("cancel")

    with pytest.raises(Stopped):
        fetch_public(fashion, tmp_path / "cache", address, stop_at_half)
    assert len(served) == 3  # the third came, but was not kept
    assert_fashion(fetch_public(fashion, tmp_path / "cache", address))
    assert len(served) == 5


def test_another_file_than_the_published_is_refused(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    target = tmp_path / "mirror" / "datasets" / "fashion-mnist" / fashion.files[0].name
    target.write_bytes(idx(X_TRAIN[::-1]))
    found, expected = hashlib.md5(target.read_bytes()).hexdigest(), fashion.files[0].checksum.removeprefix("md5:")
    said = f"{target.name} is not the file that was published: its md5 is {found}, expected is {expected}"
    for mirror in (server[0], str(tmp_path / "mirror")):
        with pytest.raises(PublicDatasetError, match=said):
            fetch_public(fashion, tmp_path / "cache", mirror)
    assert not list((tmp_path / "cache").rglob("*ubyte.gz"))
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_a_file_larger_than_expected_is_stopped(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    files = tuple(replace(file, largest_bytes=10) for file in fashion.files)
    with pytest.raises(PublicDatasetError, match="larger than the expected 10 bytes"):
        fetch_public(replace(fashion, files=files), tmp_path / "cache", server[0])


def test_offline_the_error_says_what_to_do(fashion: PublicDataset, tmp_path: Path) -> None:
    with pytest.raises(
        PublicDatasetError,
        match=r"cannot be fetched .*into <folder>/datasets/fashion-mnist/.* OCTAVO_MIRROR",
    ):
        fetch_public(fashion, tmp_path / "cache")
    with pytest.raises(PublicDatasetError, match=r"The mirror has no .*OCTAVO_MIRROR"):
        fetch_public(fashion, tmp_path / "cache", str(tmp_path / "empty"))


def test_a_mirror_without_the_file_is_said(fashion: PublicDataset, tmp_path: Path, server: tuple) -> None:
    (tmp_path / "mirror" / "datasets" / "fashion-mnist" / fashion.files[0].name).unlink()
    with pytest.raises(PublicDatasetError, match="404"):
        fetch_public(fashion, tmp_path / "cache", server[0])


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(PublicDatasetError, match="did you mean fashion-mnist"):
        public_dataset("fashion_mnist")
    with pytest.raises(PublicDatasetError, match="known are mnist, fashion-mnist"):
        public_dataset("imagenet")


def cifar_records(x: np.ndarray, labels: list[np.ndarray]) -> bytes:
    planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return np.hstack([*(column[:, None] for column in labels), planes]).astype(np.uint8).tobytes()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_comes_from_the_binary_version(tmp_path: Path, name: str) -> None:
    x, y = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12, dtype=np.uint8) % 10
    labels = [y] if name == "cifar10" else [y // 5, y]
    classes = "".join(f"thing {k}\n" for k in range(10)).encode()
    if name == "cifar10":
        members = {
            f"data_batch_{k + 1}.bin": cifar_records(x[2 * k : 2 * k + 2], [y[2 * k : 2 * k + 2]]) for k in range(5)
        }
        members |= {"test_batch.bin": cifar_records(x[10:], [y[10:]]), "batches.meta.txt": classes + b"\n"}
        train = 10
    else:
        members = {"train.bin": cifar_records(x[:8], [column[:8] for column in labels])}
        members |= {
            "test.bin": cifar_records(x[8:], [column[8:] for column in labels]),
            "fine_label_names.txt": classes,
        }
        train = 8
    dataset = published(CATALOG[name], [tar(members)], tmp_path / "mirror")
    with np.load(fetch_public(dataset, tmp_path / "cache", str(tmp_path / "mirror"))) as arrays:
        np.testing.assert_array_equal(arrays["x_train"], x[:train])
        np.testing.assert_array_equal(arrays["x_test"], x[train:])
        np.testing.assert_array_equal(arrays["y_train"], y[:train])
        np.testing.assert_array_equal(arrays["y_test"], y[train:])
        assert arrays["classes"].tolist() == [f"thing {k}" for k in range(10)]


def test_a_cifar_archive_without_its_files_is_refused(tmp_path: Path) -> None:
    dataset = published(CATALOG["cifar10"], [tar({"data_batch_1.bin": b""})], tmp_path / "mirror")
    with pytest.raises(PublicDatasetError, match=r"data_batch_1.bin has 0 bytes"):
        fetch_public(dataset, tmp_path / "cache", str(tmp_path / "mirror"))


def test_half_a_cifar_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(3073 + 5))
    with pytest.raises(PublicDatasetError, match="not a multiple of 3073"):
        read_cifar(tmp_path / "x.bin", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is broken"),
        (idx(X_TRAIN)[:40], "is broken"),
        (idx(X_TRAIN, kind=13), "no idx file of bytes"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + b"1234"), "but holds 4 bytes"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + b"123456"), "but holds 6 bytes"),
        (gzip.compress(b"\0"), "is broken"),
    ],
    # Names of their own: gzip writes the time into its header, and each test process would name the case differently.
    ids=["no gzip", "cut off", "no bytes", "too short", "too long", "cut header"],
)
def test_a_broken_idx_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(PublicDatasetError, match=f"x.gz.*{message}"):
        read_idx(tmp_path / "x.gz")


def test_digits_come_from_scikit_learn(tmp_path: Path) -> None:
    with np.load(pull("digits", tmp_path, "")) as arrays:
        assert arrays["x"].shape == (1797, 8, 8)
        assert arrays["x"].max() == 255


def test_every_file_of_the_catalog_has_a_checksum_and_a_limit() -> None:
    for dataset in CATALOG.values():
        for file in dataset.files:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size
            assert file.largest_bytes > 0
            assert isinstance(file, RemoteFile)
            assert file.url.endswith(file.name)


def test_validation_fetches_a_public_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validated: Callable[..., Outcome]
) -> None:
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path / "home"))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "upload.public").write_text("digits")
    outcome = validated(tmp_path / "input")
    assert outcome.details["report"]["pictures"] == 1797
    assert outcome.details["report"]["upload"]["name"] == "digits"


def test_validation_takes_a_public_data_set_from_the_mirror_and_goes_on_after_a_wrong_file(
    fashion: PublicDataset,
    tmp_path: Path,
    server: tuple,
    monkeypatch: pytest.MonkeyPatch,
    validated: Callable[..., Outcome],
    recording_run,
) -> None:
    address, served = server
    monkeypatch.setitem(CATALOG, fashion.name, fashion)
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OCTAVO_MIRROR", address)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "upload.public").write_text(fashion.name)
    last = tmp_path / "mirror" / "datasets" / fashion.name / fashion.files[-1].name
    published_labels = last.read_bytes()
    last.write_bytes(idx(Y_TEST[::-1]))
    with pytest.raises(InvalidDatasetError, match="is not the file that was published") as refused:
        validated(tmp_path / "input")
    assert [problem["code"] for problem in refused.value.problems] == ["public"]
    assert len(served) == 4
    last.write_bytes(published_labels)
    recording_run.folder = tmp_path / "again"
    recording_run.folder.mkdir()
    report = validated(tmp_path / "input").details["report"]
    assert served[4:] == [f"/datasets/{fashion.name}/{last.name}"]
    assert report["splits"]["train"]["pictures"] + report["splits"]["val"]["pictures"] == len(X_TRAIN)
    assert report["splits"]["test"] == {"pictures": len(X_TEST), "origin": "given"}
    assert report["classes"][9]["name"] == "Ankle boot"


def test_validation_of_an_unknown_public_data_set_says_so(tmp_path: Path, validated: Callable[..., Outcome]) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "upload.public").write_text("mnits")
    with pytest.raises(InvalidDatasetError, match="did you mean mnist"):
        validated(tmp_path / "input")


def test_movielens_becomes_events_with_the_titles_of_the_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validated: Callable[..., Outcome]
) -> None:
    films = ("1|Toy Story (1995)|01-Jan-1995||http://x|0|1", "2|Léon, the cat|01-Jan-1994||http://y|1|1")
    rows = [f"{user}\t{1 + (user + step) % 2}\t3\t{881_250_949 + step}" for step in range(4) for user in (7, 8)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("ml-100k/u.data", "\n".join(rows))
        archive.writestr("ml-100k/u.item", "\n".join(films).encode("iso-8859-1"))
        archive.writestr("ml-100k/u.genre", "Action|0\nComedy|1\n\n")
    dataset = published(CATALOG["movielens-100k"], [stream.getvalue()], tmp_path / "mirror")
    monkeypatch.setitem(CATALOG, dataset.name, dataset)
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OCTAVO_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "upload.public").write_text(dataset.name)
    outcome = validated(tmp_path / "input")
    assert outcome.dataset is not None
    data = open_event_data(outcome.dataset)
    assert (data.manifest.users, data.manifest.items, data.manifest.events) == (2, 2, 8)
    assert data.manifest.first_time.isoformat() == "1997-12-04T15:55:49+00:00"
    assert data.items.features(["id", "title", "genres"]).sort("id").rows() == [
        ("1", "Toy Story (1995)", "Comedy"),
        ("2", "Léon, the cat", "Action|Comedy"),
    ]
