"""Files people upload for a job to work on: artifacts of kind `upload`, of one project. Never commits."""

from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from libs.database.tables import Artifact
from libs.registry.artifacts import StoredFile
from libs.registry.errors import UploadNotFound

UPLOAD = "upload"


def record_upload(session: Session, project_id: UUID, name: str, stored: StoredFile) -> Artifact:
    """Note a stored upload; its id is what a job's config names."""
    row = Artifact(
        id=uuid4(),
        project_id=project_id,
        kind=UPLOAD,
        name=name[:200],
        uri=stored.uri,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
    )
    session.add(row)
    session.flush()
    return row


def find_upload(session: Session, project_id: UUID, artifact_id: UUID) -> Artifact:
    """The upload with this id in this project; other artifacts, and other projects' uploads, are not found.

    Raises:
        UploadNotFound: there is none.
    """
    wanted = select(Artifact).where(
        Artifact.id == artifact_id, Artifact.project_id == project_id, Artifact.kind == UPLOAD
    )
    row = session.scalar(wanted)
    if row is None:
        raise UploadNotFound(f"There is no upload {artifact_id} in this project.")
    return row
