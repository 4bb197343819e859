"""The recommender as a process beside a model server: what it imports and weighs, and which one answers for what."""

import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
from pydantic import SecretStr
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.artifacts import ArtifactStore
from libs.registry.deployments import create_deployment, find_deployment
from libs.registry.models import register_version
from libs.settings import PlatformSettings
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from services.recommender.settings import RecommenderSettings
from tests.integration.recommendations.conftest import Release
from tests.support.bundles import make_bundle
from tests.support.model_server import model_server, recommender
from tests.support.serving import picture
from tests.support.waiting import until

ASKED = {"model": "films", "items": ["i1", "i4"], "k": 3}


def test_neither_torch_nor_onnx_is_imported() -> None:
    program = (
        "import sys; import services.recommender.__main__, services.recommender.app; "
        "print(sorted({'torch', 'onnx', 'torchvision', 'celery', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_each_service_answers_for_its_task_through_the_gateway(
    settings: RecommenderSettings, postgres_url: str, valkey_url: str, engine: Engine, key: str, release: Release,
    tmp_path: Path,
) -> None:  # fmt: skip
    release()
    store = ArtifactStore(settings.platform.artifact_root)
    bundle = make_bundle(tmp_path / "shades")
    with transaction(engine) as session:
        register_version(
            session, project_id=DEFAULT_PROJECT_ID, model_name="shades", bundle=bundle,
            folder=store.put_folder(tmp_path / "shades"),
        )  # fmt: skip
        for name in ("films", "shades"):
            create_deployment(session, DEFAULT_PROJECT_ID, name, name)
    home = settings.platform.home
    with (
        model_server(postgres_url, home, poll_s=0.5) as pictures,
        recommender(postgres_url, home, poll_s=0.5, sessions_url=valkey_url) as films,
    ):
        for name in ("films", "shades"):
            until(lambda name=name: status(engine, name) == "ready", f"{name} is ready")
        through_gateway(settings.platform, postgres_url, key, pictures.url, films.url)
        resident_bytes = psutil.Process(films.process.pid).memory_info().rss
    assert resident_bytes < 250 * 2**20
    assert films.process.returncode == 0


def status(engine: Engine, name: str) -> str:
    with transaction(engine) as session:
        return find_deployment(session, DEFAULT_PROJECT_ID, name).status


def through_gateway(platform: PlatformSettings, database_url: str, key: str, pictures: str, films: str) -> None:
    platform = platform.model_copy(update={"database_url": SecretStr(database_url)})
    settings = GatewaySettings(platform=platform, model_server_url=pictures, recommender_url=films)
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {key}"}) as client:
        answer = client.post("/v1/recommendations", json=ASKED)
        assert (answer.status_code, answer.json()["strategy"]) == (200, "model")
        assert "compute;dur=" in answer.headers["Server-Timing"]
        classified = client.post("/v1/classify/films", content=picture(5), headers={"Content-Type": "image/png"})
        wanted = "ask POST /v1/recommendations, or `octavo recommend films --items ITEM,ITEM`."
        assert refusal(classified) == f"'films' serves a model of the task next-item: {wanted}"
        recommended = client.post("/v1/recommendations", json={**ASKED, "model": "shades"})
        wanted = "ask POST /v1/classify/shades, or `octavo predict shades PICTURE`."
        assert refusal(recommended) == f"'shades' serves a model of the task image-classification: {wanted}"
        event = {"user_id": "a/b", "item_id": "i1"}
        assert client.post("/v1/events", json=[event]).json() == {"accepted": 1, "duplicates": 0}
        assert client.get("/v1/users/a%2Fb/history").json()["items"][0]["item_id"] == "i1"
        assert client.delete("/v1/users/a%2Fb/history").status_code == 204


def refusal(answer: httpx2.Response) -> str:
    assert (answer.status_code, answer.json()["code"]) == (404, "wrong_task")
    return str(answer.json()["detail"])
