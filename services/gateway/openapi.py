"""The OpenAPI document: schemas that no route's signature carries, and one example request for each method."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from libs.jobs.spec import JobSpec
from libs.models.catalog import METHODS
from libs.web.problems import Problem

DESCRIPTION = """Train, distil, compress, adapt and serve models behind one REST API.

Send an API key with every request: `Authorization: Bearer oct_…`. Errors are `application/problem+json` (RFC 9457)
with a stable `code`, the `request_id` and a JSON pointer to each wrong field. Lists page by `cursor`. Every `POST`
that creates something takes an `Idempotency-Key`, so that it may be sent again when its answer was lost.
"""
_REFS = "#/components/schemas/{model}"


def install_openapi(app: FastAPI) -> None:
    """Complete the document the framework makes; built once, on first use."""
    make = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _add_schemas(document)
            _describe_job_body(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _add_schemas(document: dict[str, Any]) -> None:
    wanted: list[type[BaseModel]] = [Problem, JobSpec, *(method.config for method in METHODS.values())]
    _, schemas = models_json_schema([(model, "validation") for model in wanted], ref_template=_REFS)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in schemas["$defs"].items():
        known.setdefault(name, schema)


def _describe_job_body(document: dict[str, Any]) -> None:
    """A job is one of the methods' specs: the same schema, with the method's own `config`."""
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    base = document["components"]["schemas"]["JobSpec"]
    content["schema"] = {
        "oneOf": [_spec_schema(base, method.name, method.config.__name__) for method in METHODS.values()]
    }
    content["examples"] = {
        method.name: {
            "summary": method.title,
            "value": {"method": method.name, "datasets": {"train": "digits"}, "config": {"epochs": 5}},
        }
        for method in METHODS.values()
    }


def _spec_schema(base: dict[str, Any], name: str, config: str) -> dict[str, Any]:
    properties = {**base["properties"], "method": {"const": name, "type": "string"}}
    properties["config"] = {"$ref": _REFS.format(model=config)}
    return {**base, "title": f"Job ({name})", "properties": properties, "required": ["method", "datasets"]}
