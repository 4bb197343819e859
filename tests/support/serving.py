"""Keys and pictures for tests of the model server."""

import io
from collections.abc import Callable
from uuid import UUID

import numpy as np
from PIL import Image
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey, ModelVersion, Project
from libs.web.auth import make_key

Register = Callable[..., ModelVersion]


def add_key(engine: Engine, scopes: list[str], project_id: UUID = DEFAULT_PROJECT_ID) -> str:
    new = make_key()
    with transaction(engine) as session:
        if session.get(Project, project_id) is None:
            session.add(Project(id=project_id, name=project_id.hex))
            session.flush()
        session.add(ApiKey(project_id=project_id, name="test", prefix=new.prefix, digest=new.digest, scopes=scopes))
    return new.text


def picture(value: int, size: int = 8, file_format: str = "PNG") -> bytes:
    """An even grey picture file."""
    file = io.BytesIO()
    Image.fromarray(np.full((size, size), value, np.uint8)).save(file, file_format)
    return file.getvalue()
