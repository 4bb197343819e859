"""A running model server over a fresh database, with keys and a way to register tiny models."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion
from libs.registry.artifacts import ArtifactStore
from libs.registry.models import register_version
from libs.settings import PlatformSettings
from services.model_server.app import make_app
from services.model_server.settings import ModelServerSettings
from tests.support.bundles import make_bundle
from tests.support.serving import Register, add_key


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> ModelServerSettings:
    platform = PlatformSettings(database_url=SecretStr(postgres_url), home=tmp_path / "home")
    return ModelServerSettings(platform=platform, poll_s=0.5, load_wait_s=20.0, max_pixels=1_000_000)


@pytest.fixture
def store(settings: ModelServerSettings) -> ArtifactStore:
    return ArtifactStore(settings.platform.artifact_root)


@pytest.fixture
def key(engine: Engine) -> str:
    return add_key(engine, ["admin"])


@pytest.fixture
def register(engine: Engine, store: ArtifactStore, tmp_path: Path) -> Register:
    """Store and register one version of a tiny model; keyword arguments go to `make_bundle`."""

    def run(name: str = "shades", project_id: UUID = DEFAULT_PROJECT_ID, **wanted: object) -> ModelVersion:
        folder = tmp_path / f"bundle-{uuid4().hex}"
        bundle = make_bundle(folder, **wanted)
        stored = store.put_folder(folder)
        with transaction(engine) as session:
            return register_version(session, project_id=project_id, model_name=name, bundle=bundle, folder=stored)

    return run


@pytest.fixture
def client(settings: ModelServerSettings, key: str) -> Iterator[TestClient]:
    with TestClient(make_app(settings), headers={"Authorization": f"Bearer {key}"}) as client:
        client.app.state.server.runtime.states.first_look.wait(20)
        yield client
