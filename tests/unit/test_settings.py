"""Settings from the environment: passwords by file, and wrong values said in one line without the secret."""

from pathlib import Path

import pytest

from libs.settings import PlatformSettings, WrongSettings
from services.gateway.settings import GatewaySettings
from services.recommender.settings import RecommenderSettings
from services.worker.settings import WorkerSettings

PASSWORD = "p@ss/w:rd%"
QUOTED = "p%40ss%2Fw%3Ard%25"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return file


def test_a_password_file_completes_the_address(password: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCTAVO_DATABASE_URL", "postgresql+psycopg://me:old@db:5433/octavo?sslmode=require")
    monkeypatch.setenv("OCTAVO_DATABASE_PASSWORD_FILE", str(password))
    monkeypatch.setenv("OCTAVO_BROKER_PASSWORD_FILE", str(password))
    for platform in (PlatformSettings(), WorkerSettings(), GatewaySettings().platform):
        found = platform.database_url.get_secret_value()
        assert found == f"postgresql+psycopg://me:{QUOTED}@db:5433/octavo?sslmode=require"
        assert platform.broker_url.get_secret_value() == f"redis://:{QUOTED}@127.0.0.1:6379/0"
    assert PASSWORD not in repr(platform)
    assert QUOTED not in repr(platform)


def test_the_session_cache_has_a_password_of_its_own(password: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCTAVO_RECOMMENDER_SESSIONS_PASSWORD_FILE", str(password))
    with pytest.raises(WrongSettings, match="OCTAVO_RECOMMENDER_SESSIONS_PASSWORD_FILE: there is no sessions_url"):
        RecommenderSettings()
    monkeypatch.setenv("OCTAVO_RECOMMENDER_SESSIONS_URL", "redis://sessions:6379/0")
    assert RecommenderSettings().memory.session_cache_url == f"redis://:{QUOTED}@sessions:6379/0"


@pytest.mark.parametrize(
    ("settings", "variable", "value", "said"),
    [
        (GatewaySettings, "OCTAVO_GATEWAY_PORT", "http", "OCTAVO_GATEWAY_PORT: Input should be a valid integer"),
        (GatewaySettings, "OCTAVO_LEASE_S", "-1", "OCTAVO_LEASE_S: Input should be greater than 0"),
        (PlatformSettings, "OCTAVO_LEASE_S", "8", "OCTAVO_HEARTBEAT_S: every 5 s is too seldom for leases of 8 s"),
        (PlatformSettings, "OCTAVO_DATABASE_URL", f"mysql://{QUOTED}@db", "OCTAVO_DATABASE_URL: the address has to"),
        (PlatformSettings, "OCTAVO_ARTIFACTS_URL", "/var/artifacts", "OCTAVO_ARTIFACTS_URL: the address has to"),
        (WorkerSettings, "OCTAVO_BROKER_PASSWORD_FILE", "/nowhere", "OCTAVO_BROKER_PASSWORD_FILE: /nowhere cannot"),
        (WorkerSettings, "OCTAVO_BROKER_PASSWORD_FILE", "/dev/null", "/dev/null is empty"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(
    settings: type[PlatformSettings], variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as raised:
        settings()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert QUOTED not in str(raised.value)
