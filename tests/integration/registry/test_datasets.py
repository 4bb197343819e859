"""Data-set versions, on a real Postgres."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy.orm import Session

from libs.data.manifest import ImagesManifest
from libs.data.write import write_arrays_dataset
from libs.database.tables import DEFAULT_PROJECT_ID, DatasetVersion
from libs.registry.artifacts import ArtifactStore, StoredFolder
from libs.registry.datasets import (
    create_version,
    delete_dataset,
    find_dataset,
    mark_invalid,
    mark_ready,
    mark_uploaded,
    resolve,
)
from libs.registry.errors import BadReference, ConflictError, DatasetNotFound, DatasetVersionNotFound, NotReady

P = DEFAULT_PROJECT_ID


@pytest.fixture
def validated(tmp_path: Path) -> tuple[StoredFolder, ImagesManifest]:
    folder = tmp_path / "validated"
    pictures = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8)
    manifest = write_arrays_dataset(folder, pictures, np.arange(12) % 2, ["a", "b"])
    return ArtifactStore((tmp_path / "store").as_uri()).put_folder(folder), manifest


def begin(db: Session) -> DatasetVersion:
    version = create_version(db, P, "digits", {"upload": "digits.zip"})
    return mark_uploaded(db, version.id, "file:///store/uploads/1", 100, uuid4())


def test_from_upload_to_ready(db: Session, validated: tuple[StoredFolder, ImagesManifest]) -> None:
    folder, manifest = validated
    version = begin(db)
    with pytest.raises(NotReady, match="1 is validating"):
        resolve(db, P, "digits")

    mark_ready(db, version.id, folder, manifest, {"pictures": 12})

    assert (version.status, version.size_bytes) == ("ready", folder.size_bytes)
    assert ImagesManifest.model_validate(version.manifest) == manifest
    found = resolve(db, P, "digits")
    assert found == resolve(db, P, "digits@1") == (1, "images", folder.uri, folder.digest)


def test_a_version_that_ended_never_changes(db: Session, validated: tuple[StoredFolder, ImagesManifest]) -> None:
    ready, invalid = begin(db), begin(db)
    mark_ready(db, ready.id, *validated, {})
    mark_invalid(db, invalid.id, {"problems": []})
    for version in (ready, invalid):
        with pytest.raises(ConflictError, match="cannot become"):
            mark_invalid(db, version.id, {})
        with pytest.raises(ConflictError, match="cannot become"):
            mark_ready(db, version.id, *validated, {})
    with pytest.raises(NotReady, match="digits@2 is invalid"):
        resolve(db, P, "digits@2")
    assert resolve(db, P, "digits").version == 1
    with pytest.raises(DatasetVersionNotFound, match="no version 3"):
        resolve(db, P, "digits@3")


def test_what_does_not_exist(db: Session) -> None:
    begin(db)
    with pytest.raises(DatasetNotFound, match="Did you mean 'digits'"):
        resolve(db, P, "digit")
    with pytest.raises(DatasetVersionNotFound, match="no version 4"):
        resolve(db, P, "digits@4")
    with pytest.raises(BadReference, match="no aliases"):
        resolve(db, P, "digits@production")
    with pytest.raises(BadReference):
        create_version(db, P, "../x", {})


def test_a_deleted_data_set_leaves_its_name_free(db: Session) -> None:
    begin(db)
    delete_dataset(db, P, "digits")
    with pytest.raises(DatasetNotFound):
        find_dataset(db, P, "digits")
    assert begin(db).version == 1
