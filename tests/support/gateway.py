"""The gateway beside the real processes of a platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.settings import PlatformSettings
from libs.web.auth import Scope, make_key
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.support.platform import Platform


@contextmanager
def gateway_of(platform: Platform, **settings: Any) -> Iterator[TestClient]:
    """A gateway in this process on the platform's database and store, asked with an admin key.

    Args:
        settings: of `libs.settings.PlatformSettings`.
    """
    url = SecretStr(platform.engine.url.render_as_string(hide_password=False))
    shared = PlatformSettings(database_url=url, home=platform.home, **settings)
    new = make_key()
    with transaction(platform.engine) as session:
        row = ApiKey(
            project_id=DEFAULT_PROJECT_ID, name="test", prefix=new.prefix, digest=new.digest, scopes=[Scope.ADMIN]
        )
        session.add(row)
    headers = {"Authorization": f"Bearer {new.text}"}
    with TestClient(create_app(GatewaySettings(platform=shared, pool_size=5)), headers=headers) as client:
        yield client
