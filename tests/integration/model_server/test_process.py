"""The model server as a process: what it imports, how much memory it takes, how it ends."""

import subprocess
import sys

import psutil
from sqlalchemy import Engine

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.deployments import create_deployment
from services.model_server.settings import ModelServerSettings
from tests.support.model_server import model_server
from tests.support.serving import Register, picture


def test_neither_torch_nor_onnx_is_imported() -> None:
    program = (
        "import sys; import services.model_server.__main__, services.model_server.app; "
        "print(sorted({'torch', 'onnx', 'torchvision', 'celery', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_memory_with_one_small_model(
    settings: ModelServerSettings, postgres_url: str, engine: Engine, key: str, register: Register
) -> None:
    register(channels=3, size=32)
    with transaction(engine) as session:
        create_deployment(session, DEFAULT_PROJECT_ID, "shades", "shades")
    with model_server(postgres_url, settings.platform.home) as server, server.client(key) as client:
        for _ in range(50):
            answer = client.post("/v1/classify/shades", content=picture(9, 64), headers={"Content-Type": "image/png"})
            assert answer.status_code == 200
        resident_bytes = psutil.Process(server.process.pid).memory_info().rss
    assert resident_bytes < 250 * 2**20
    assert server.process.returncode == 0
