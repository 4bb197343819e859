"""Data used in place, as a worker hands it to a child: a folder where it lies, a bucket through the cache."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image

from libs.data.config import ValidationConfig
from libs.data.errors import DataError
from libs.data.images import ImageData, open_images
from libs.data.loading import training_batches
from libs.data.preprocess import default_recipe
from libs.data.validate import run as validate
from libs.database.tables import DatasetVersion
from libs.registry.artifacts import ArtifactStore, StoredFolder
from libs.registry.cache import FolderCache
from libs.training.config import ImageTrainingConfig
from libs.training.local_run import LocalRun
from libs.training.run import Inputs
from services.worker.places import with_pictures
from services.worker.uploads import fetch_upload
from tests.support.s3 import s3_server, use_s3

URL = "s3://pictures/some pets"


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Class folders of 20 pictures, and a file that is none."""
    root = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for number in range(20):
        (root / f"class {number % 2}").mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        picture.save(root / f"class {number % 2}" / f"{number}.png")
    (root / "README.md").write_text("two kinds")
    return root


@contextmanager
def bucket_client() -> Iterator[Any]:
    client = boto3.client("s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Mapping[str, str], pets: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The pets below `URL`, beside an object that does not belong to them."""
    use_s3(s3, monkeypatch)
    with bucket_client() as client:
        client.create_bucket(Bucket="pictures")
        client.put_object(Bucket="pictures", Key="some pets and more/x.png", Body=b"no")
        for path in pets.rglob("*.*"):
            client.put_object(
                Bucket="pictures", Key=f"some pets/{path.relative_to(pets).as_posix()}", Body=path.read_bytes()
            )
    return URL


class Worker:
    """What a worker does with data sets, without its queue: its store and cache are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ArtifactStore((folder / "store").as_uri())
        self.cache = FolderCache(folder / "cache", self.store)

    def validated(self, uri: str) -> StoredFolder:
        """Fetch, validate and store a data set; the fetched content is gone afterwards, as an attempt's folder is."""
        given = fetch_upload(DatasetVersion(upload_uri=uri, source={"path": uri}), self.folder / "given", self.store)
        run = LocalRun(self.folder / "run", quiet=True)
        outcome = validate(ValidationConfig(), Inputs(datasets={"upload": given}), run)
        assert outcome.dataset is not None
        given.rename(self.folder / "over")
        return self.store.put_folder(outcome.dataset)

    @contextmanager
    def opened(self, stored: StoredFolder) -> Iterator[ImageData]:
        (self.folder / "attempt").mkdir(exist_ok=True)
        with (
            self.cache.lease(stored.digest, stored.uri) as folder,
            with_pictures(folder, self.cache, self.folder / "attempt") as whole,
        ):
            yield open_images(whole)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "worker")


def epoch(data: ImageData) -> list[tuple[int, ...]]:
    split = data.split("train")
    config = ImageTrainingConfig(batch_size=7, augment="none", workers=0)
    batches = training_batches(split, default_recipe(split.manifest), config, seed=0, epoch=0)
    return [tuple(x.shape) for x, _ in batches]


def assert_equals_files(data: ImageData, pets: Path) -> None:
    every = data.split("all")
    assert len(every) == 20
    for position in range(20):
        with Image.open(pets / every.name_of(position)) as picture:
            np.testing.assert_array_equal(every.picture(position), np.asarray(picture))


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_from_the_place_to_the_batches(worker: Worker, pets: Path, place: str, request: pytest.FixtureRequest) -> None:
    url = pets.as_uri() if place == "folder" else request.getfixturevalue("bucket")
    stored = worker.validated(url)
    assert set(stored.files) == {"manifest.json", "index.csv.gz"}
    with worker.opened(stored) as data:
        assert data.manifest.in_place is not None
        assert data.manifest.in_place.root == url
        assert_equals_files(data, pets)
        assert epoch(data) == [(7, 3, 8, 8)] * 2


def test_a_bucket_is_fetched_once(worker: Worker, bucket: str) -> None:
    stored = worker.validated(bucket)
    with worker.opened(stored) as data:
        assert {path.name for path in data.pictures.resolve().iterdir()} == {"class 0", "class 1"}
    with bucket_client() as client:
        client.delete_object(Bucket="pictures", Key="some pets/class 0/0.png")
    with worker.opened(stored) as data:
        assert epoch(data) == [(7, 3, 8, 8)] * 2


def test_an_object_that_changed_or_went_is_named(worker: Worker, bucket: str) -> None:
    stored = worker.validated(bucket)
    with bucket_client() as client:
        client.put_object(Bucket="pictures", Key="some pets/class 0/4.png", Body=b"other")
    with (
        pytest.raises(DataError, match=r"s3://pictures/some pets/class 0/4.png has changed since .* new version"),
        worker.opened(stored),
    ):
        pass
    with bucket_client() as client:
        client.delete_object(Bucket="pictures", Key="some pets/class 1/7.png")
    with (
        pytest.raises(DataError, match=r"s3://pictures/some pets/class 1/7.png is not there any more.* new version"),
        worker.opened(stored),
    ):
        pass
    assert list((worker.folder / "cache").glob(".incoming-*")) == []


def test_an_archive_in_place_is_unpacked_into_the_data_set(worker: Worker, pets: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", pets))
    stored = worker.validated(archive.as_uri())
    archive.unlink()
    with worker.opened(stored) as data:
        assert data.manifest.in_place is None
        assert_equals_files(data, pets)


def test_a_link_that_came_after_the_gateway_looked_is_not_followed(worker: Worker, pets: Path) -> None:
    link = pets.with_name("allowed")
    link.symlink_to(pets)
    with pytest.raises(DataError, match=r"allowed leads over a link to .*pets"):
        worker.validated(f"file://{link}")


def test_a_place_that_is_not_mounted_is_said(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent is not on this worker. Data used in place must be mounted"):
        worker.validated((tmp_path / "absent").as_uri())
