"""The gateway keeps what its OpenAPI document promises, for generated requests, right and wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from pydantic import SecretStr
from schemathesis.specs.openapi import checks
from sqlalchemy.orm import Session

from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.jobs.firing import run_now
from libs.jobs.schedules import Plan, create, lock
from libs.jobs.submit import submit
from libs.registry.aliases import set_alias
from libs.registry.artifacts import StoredFolder
from libs.registry.deployments import create_deployment
from libs.settings import PlatformSettings
from libs.web.auth import Scope, make_key
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import running_gateway
from tests.support.datasets import add_dataset
from tests.support.postgres import cloned_database
from tests.support.registry import add_version
from tests.support.schedules import JOB
from tests.support.specs import tiny_spec


def only_inference_services_are_away(_: object, answer: Any, __: object) -> None:
    """No answer is a server error, but for those of routes that pass on to inference services, which do not run."""
    if answer.status_code >= 500:
        assert answer.json()["code"] in ("model_server_down", "recommender_down")


CHECKS = [
    only_inference_services_are_away,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@dataclass(frozen=True)
class Api:
    """A document, the headers that carry a key, and what lies behind some addresses."""

    schema: schemathesis.BaseSchema
    headers: dict[str, str]
    known: dict[str, dict[str, object]]


def fill(session: Session, prefix: str, digest: str, store: str) -> dict[str, dict[str, object]]:
    """One of each: data set, model, alias, deployment, job, schedule, key; path parameters that lead to them."""
    key = ApiKey(project_id=DEFAULT_PROJECT_ID, name="contract", prefix=prefix, digest=digest, scopes=[Scope.ADMIN])
    session.add(key)
    add_dataset(session, "digits")
    add_version(session, "cats", folder=StoredFolder(f"{store}/gone", "0" * 64, 10, {}))
    set_alias(session, DEFAULT_PROJECT_ID, "cats", "production", 1)
    create_deployment(session, DEFAULT_PROJECT_ID, "live", "cats@production")
    job = submit(session, DEFAULT_PROJECT_ID, tiny_spec(), group_id=uuid4())
    create(session, DEFAULT_PROJECT_ID, "nightly", Plan(job=JOB, cron="0 3 * * *"), "")
    run_now(session, lock(session, DEFAULT_PROJECT_ID, "nightly"), "")
    return {
        "/v1/datasets/": {"name": "digits", "number": 1},
        "/v1/models/": {"name": "cats", "number": 1, "alias": "production"},
        "/v1/deployments/": {"name": "live"},
        "/v1/methods/": {"name": "frskd"},
        "/v1/jobs/": {"job_id": str(job.id)},
        "/v1/job-groups/": {"group_id": str(job.group_id)},
        "/v1/schedules/": {"name": "nightly"},
    }


@pytest.fixture(scope="module")
def api(postgres_server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The document of a gateway process on a filled database."""
    key = make_key()
    with cloned_database(postgres_server_url) as url:
        engine = make_engine(url)
        platform = PlatformSettings(database_url=SecretStr(url), home=tmp_path_factory.mktemp("contract"))
        with transaction(engine) as session:
            known = fill(session, key.prefix, key.digest, platform.artifact_root)
        engine.dispose()
        with running_gateway(GatewaySettings(platform=platform), OCTAVO_GATEWAY_MAX_WAIT_S="0.2") as address:
            found = schemathesis.openapi.from_url(f"{address}/openapi.json")
            yield Api(found, {"Authorization": f"Bearer {key.text}"}, known)


def operations() -> list[tuple[str, str]]:
    """Every method and path of the document; what deletes comes last."""
    paths = create_app().openapi()["paths"]
    found = [(method, path) for path, item in paths.items() for method in item]
    return sorted(found, key=lambda operation: operation[0] == "delete")


@pytest.mark.parametrize(("method", "path"), operations())
def test_the_answer_is_one_the_document_names(api: Api, method: str, path: str) -> None:
    operation = api.schema[path][method]
    known = next((found for prefix, found in api.known.items() if path.startswith(prefix)), {})

    @given(case=operation.as_strategy(), lead_somewhere=booleans())
    @settings(max_examples=6, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case, lead_somewhere: bool) -> None:
        if lead_somewhere:
            parameters = {**case.path_parameters, **known}
            case.path_parameters = {name: parameters[name] for name in case.path_parameters}
        answer = case.call(headers=api.headers, timeout=20)
        assert answer.status_code != 401
        case.validate_response(answer, checks=CHECKS)

    check()
