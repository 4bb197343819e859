"""A running recommender over a fresh database, with keys and a way to deploy tiny models."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion
from libs.registry.artifacts import ArtifactStore
from libs.registry.deployments import create_deployment
from libs.registry.models import register_version
from libs.settings import PlatformSettings
from services.recommender.app import make_app
from services.recommender.memory_settings import MemorySettings
from services.recommender.settings import RecommenderSettings
from tests.support.bundles import PASSED
from tests.support.recommenders import make_recommender
from tests.support.serving import add_key
from tests.support.waiting import until

Release = Callable[..., ModelVersion]


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str, valkey_url: str) -> RecommenderSettings:
    platform = PlatformSettings(
        database_url=SecretStr(postgres_url), broker_url=SecretStr(valkey_url), home=tmp_path / "home"
    )
    return RecommenderSettings(platform=platform, memory=MemorySettings(platform=platform), poll_s=0.5)


@pytest.fixture
def key(engine: Engine) -> str:
    return add_key(engine, ["admin"])


@pytest.fixture
def release(engine: Engine, settings: RecommenderSettings, tmp_path: Path) -> Release:
    """Store and register one version of a tiny model; keyword arguments go to `make_recommender`."""

    def run(name: str = "films", **wanted: object) -> ModelVersion:
        folder = tmp_path / f"bundle-{uuid4().hex}"
        bundle = make_recommender(folder, **wanted).model_copy(update={"parity": PASSED})
        stored = ArtifactStore(settings.platform.artifact_root).put_folder(folder)
        with transaction(engine) as session:
            return register_version(
                session, project_id=DEFAULT_PROJECT_ID, model_name=name, bundle=bundle, folder=stored
            )

    return run


@pytest.fixture
def client(settings: RecommenderSettings, key: str) -> Iterator[TestClient]:
    with TestClient(make_app(settings), headers={"Authorization": f"Bearer {key}"}) as client:
        until(lambda: client.get("/readyz").status_code == 200, "the first look")
        yield client


@pytest.fixture
def deploy(client: TestClient, engine: Engine, release: Release) -> Release:
    """Release a version of a tiny model and serve it under its name."""

    def run(name: str = "films", **wanted: object) -> ModelVersion:
        version = release(name, **wanted)
        with transaction(engine) as session:
            create_deployment(session, DEFAULT_PROJECT_ID, name, name)
        asked = {"model": name, "item_id": "i1"}
        until(lambda: client.post("/v1/similar", json=asked).status_code == 200, f"{name} is served")
        return version

    return run


@pytest.fixture
def films(deploy: Release) -> ModelVersion:
    """`films` is served: the mean of the history's vectors, 12 items."""
    return deploy()
