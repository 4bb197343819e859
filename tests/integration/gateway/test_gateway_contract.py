"""The gateway keeps what its OpenAPI document promises, for generated requests, right and wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr
from schemathesis.specs.openapi import checks

from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.settings import PlatformSettings
from libs.web.auth import Scope, make_key
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import running_gateway
from tests.support.datasets import add_dataset
from tests.support.postgres import cloned_database
from tests.support.registry import add_version


def only_the_model_server_is_away(_: object, answer: Any, __: object) -> None:
    """No answer is a server error, but for those of routes that pass on to the model server, which does not run."""
    if answer.status_code >= 500:
        assert answer.json()["code"] == "model_server_down"


CHECKS = [
    only_the_model_server_is_away,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@dataclass(frozen=True)
class Api:
    """A document and the headers that carry a key."""

    schema: schemathesis.BaseSchema
    headers: dict[str, str]


@pytest.fixture(scope="module")
def api(postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The document of a gateway process that has a data set, a model and a job."""
    home: Path = tmp_path_factory.mktemp("contract")
    key = make_key()
    with cloned_database(postgres_server_url) as url:
        engine = make_engine(url)
        with transaction(engine) as session:
            session.add(
                ApiKey(
                    project_id=DEFAULT_PROJECT_ID,
                    name="contract",
                    prefix=key.prefix,
                    digest=key.digest,
                    scopes=[Scope.ADMIN],
                )
            )
            add_dataset(session, "digits")
            add_version(session, "cats")
        engine.dispose()
        platform = PlatformSettings(database_url=SecretStr(url), home=home)
        with running_gateway(GatewaySettings(platform=platform)) as address:
            found = schemathesis.openapi.from_url(f"{address}/openapi.json")
            yield Api(found, {"Authorization": f"Bearer {key.text}"})


def operations() -> list[tuple[str, str]]:
    """Every method and path of the document."""
    paths = create_app().openapi()["paths"]
    return [(method, path) for path, item in paths.items() for method in item]


@pytest.mark.parametrize(("method", "path"), operations())
def test_the_answer_is_one_the_document_names(api: Api, method: str, path: str) -> None:
    @given(case=api.schema[path][method].as_strategy())
    @settings(max_examples=5, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        answer = case.call(headers=api.headers, timeout=20)
        assert answer.status_code != 401
        case.validate_response(answer, checks=CHECKS)

    check()
