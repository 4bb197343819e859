"""Uploads are found by their own project alone."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Artifact
from libs.registry.artifacts import StoredFile
from libs.registry.errors import UploadNotFound
from libs.registry.uploads import find_upload, record_upload

STORED = StoredFile("file:///store/x", "0" * 64, 5)


def test_an_upload_is_found_by_its_own_project_alone(db: Session) -> None:
    row = record_upload(db, DEFAULT_PROJECT_ID, "model.onnx", STORED)
    assert find_upload(db, DEFAULT_PROJECT_ID, row.id).uri == STORED.uri
    with pytest.raises(UploadNotFound):
        find_upload(db, uuid4(), row.id)
    report = Artifact(project_id=DEFAULT_PROJECT_ID, kind="report", name="r", uri="u", digest="0", size_bytes=1)
    db.add(report)
    db.flush()
    with pytest.raises(UploadNotFound):
        find_upload(db, DEFAULT_PROJECT_ID, report.id)
