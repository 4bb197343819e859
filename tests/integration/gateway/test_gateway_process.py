"""The gateway as a process: what it imports and weighs, what it says when a part it needs is away."""

import subprocess
import sys

import httpx2
import psutil
import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import running_gateway

HEAVY = ("torch", "numpy", "onnxruntime", "PIL", "celery", "matplotlib", "pandas")


def test_importing_the_gateway_imports_nothing_heavy() -> None:
    code = f"""
import sys
from services.gateway.app import create_app
import services.gateway.__main__
create_app().openapi()
print([name for name in {HEAVY} if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_shares_the_gateways_image_needs_no_more_than_it_holds() -> None:
    code = """
import sys
import services.gateway.prepare, services.worker.relay
print([name for name in ("torch", "numpy", "onnxruntime", "PIL", "matplotlib", "polars") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_gateway_weighs_at_most_150_mb_after_it_has_served(
    settings: GatewaySettings, admin: dict[str, str], digits: str
) -> None:
    with running_gateway(settings) as url, httpx2.Client(base_url=url, headers=admin, timeout=20) as client:
        spec = {"method": "frskd", "datasets": {"train": "digits"}}
        assert {client.post("/v1/jobs", json=spec).status_code for _ in range(20)} == {202}
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/v1/methods/frskd").status_code == 200
        port = int(url.rpartition(":")[2])
        (process,) = [
            child
            for child in psutil.Process().children()
            if any(one.laddr.port == port and one.status == psutil.CONN_LISTEN for one in child.net_connections())
        ]
        assert process.memory_info().rss <= 150e6


def test_health(client: TestClient) -> None:
    del client.headers["Authorization"]
    assert client.get("/livez").json() == {"status": "live"}
    assert client.get("/readyz").json()["status"] == "ready"
    assert client.get("/version").json()["version"]
    assert "octavo_gateway_requests" in client.get("/metrics").text


def test_metrics_count_by_route_and_never_by_address(client: TestClient) -> None:
    for number in range(3):
        client.get(f"/v1/models/model-{number}")
        client.get(f"/nowhere/{number}")
        client.request(f"BREW{number}", "/v1/jobs")
    found = client.get("/metrics").text
    counted = 'octavo_gateway_requests_total{method="GET",route="/v1/models/{name}",status="404"} 3.0'
    assert counted in found
    assert 'route="unmatched",status="404"} 3.0' in found
    assert 'method="other"' in found
    assert "model-1" not in found
    assert "BREW" not in found


def test_a_database_of_another_schema_is_not_ready(client: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "schema_mismatch")
    assert "libs.database.migrate upgrade" in answer.json()["detail"]


@pytest.fixture
def nowhere(settings: GatewaySettings) -> GatewaySettings:
    """The settings with a database nobody listens at."""
    url = "postgresql+psycopg://octavo@127.0.0.1:1/octavo"
    platform = settings.platform.model_copy(update={"database_url": type(settings.platform.database_url)(url)})
    return settings.model_copy(update={"platform": platform})


def test_without_postgres_the_gateway_starts_and_says_what_is_missing(
    nowhere: GatewaySettings, admin: dict[str, str]
) -> None:
    with running_gateway(nowhere) as url, httpx2.Client(base_url=url, headers=admin, timeout=20) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", "/v1/jobs"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["content-type"] == "application/problem+json"
