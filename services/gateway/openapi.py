"""The OpenAPI document: schemas that no route's signature carries, and an example for each request and answer."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from libs.jobs.references import roles_of
from libs.jobs.spec import JobSpec
from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS
from libs.web.problems import Problem, problem_responses
from services.gateway.examples import EXAMPLES, PASSED_ON, SPEC
from services.gateway.jobs.service import NO_DIRECT

DESCRIPTION = """Train, distil, compress, adapt and serve models behind one REST API.

Send an API key with every request: `Authorization: Bearer oct_…`. Errors are `application/problem+json` (RFC 9457)
with a stable `code`, the `request_id` and a JSON pointer to each wrong field. Lists page by `cursor`. Every `POST`
that creates something takes an `Idempotency-Key`, so that it may be sent again when its answer was lost.
"""
_CONFIGS: dict[str, type[BaseModel]] = {
    **{name: method.config for name, method in METHODS.items()},
    **{name: task.config for name, task in TASKS.items() if name not in NO_DIRECT},
}
_UPLOAD = {
    "artifact": "3f0c1e6d-0d6f-4a7c-9d1f-8f6f0a4b2c1d",
    "labels": ["cat", "dog"],
    "recipe": {"channels": 3, "height": 32, "width": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}
_CONFIG_EXAMPLES: dict[str, dict[str, Any]] = {
    **{name: {"epochs": 5} for name in METHODS},
    "compare": {"of": "frskd", "config": {"epochs": 5}, "seeds": [0, 1, 2], "baselines": ["supervised"]},
    "estimate": {"of": "frskd", "config": {"epochs": 5}},
    "evaluate": {"split": "test"},
    "predict": {"top_k": 3},
    "import-onnx": _UPLOAD,
    "import-safetensors": {**_UPLOAD, "architecture": "resnet20"},
}
_DISTILLATION = {"method": "afd", "datasets": {"train": "digits"}, "config": {"model": "wrn-16-1", "epochs": 5}}
_MORE_JOBS: dict[str, dict[str, Any]] = {
    "a teacher trained first": {**_DISTILLATION, "teacher": {"train": {"model": "wrn-40-2", "epochs": 10}}},
    "a teacher tuned first": {**_DISTILLATION, "teacher": {"init": "cats-frskd@production", "finetune": {"epochs": 5}}},
    "a comparison": {
        **_DISTILLATION,
        "teacher": {"train": {"model": "wrn-40-2", "epochs": 10}},
        "compare": {"seeds": [0, 1, 2], "baselines": ["supervised", "kd"]},
    },
    "a comparison of recommenders": {
        "method": "rksa",
        "datasets": {"train": "clicks"},
        "config": {"epochs": 50},
        "compare": {"seeds": [0, 1, 2], "baselines": ["sasrec", "gru4rec.untied", "no-skew"]},
    },
    "a registered model measured beside": {
        "method": "hcrnn",
        "datasets": {"train": "clicks"},
        "models": {"gru4rec": "clicks-gru4rec@production"},
        "config": {"epochs": 50},
    },
}
"""Job requests of more than one job, or that read more than their method needs."""
_BY_NAME = {model.__name__: example for model, example in EXAMPLES.items()}
_REFS = "#/components/schemas/{model}"


def install_openapi(app: FastAPI) -> None:
    """Complete the document the framework makes; built once, on first use."""
    make = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _add_schemas(document)
            _describe_job_body(document)
            for _, operation in operations_of(document):
                _add_problems(operation)
                _add_examples(operation, document["components"]["schemas"])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _add_schemas(document: dict[str, Any]) -> None:
    wanted: list[type[BaseModel]] = [Problem, JobSpec, *_CONFIGS.values()]
    _, schemas = models_json_schema([(model, "validation") for model in wanted], ref_template=_REFS)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in schemas["$defs"].items():
        known.setdefault(name, schema)


def _describe_job_body(document: dict[str, Any]) -> None:
    """A job is one of the methods' specs: the same schema, with the method's own `config`."""
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    base = document["components"]["schemas"]["JobSpec"]
    content["schema"] = {"oneOf": [_spec_schema(base, name, config.__name__) for name, config in _CONFIGS.items()]}
    examples = {name: {"method": name, **_job_example(name)} for name in _CONFIGS} | _MORE_JOBS
    content["examples"] = {name: {"value": example} for name, example in examples.items()}


def _job_example(name: str) -> dict[str, Any]:
    roles, config = roles_of(name), _CONFIG_EXAMPLES.get(name, {})
    datasets = dict.fromkeys(sorted(roles.datasets), "digits")
    models = dict.fromkeys(sorted(roles.models), "cats-frskd@production")
    return {key: value for key, value in (("datasets", datasets), ("models", models), ("config", config)) if value}


def operations_of(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every operation of a document with its name, `get /v1/jobs`."""
    return [(f"{verb} {path}", one) for path, item in document["paths"].items() for verb, one in item.items()]


def _add_problems(operation: dict[str, Any]) -> None:
    """What any operation may answer with: what is wrong with its body, the database away, a fault of ours."""
    body = operation.get("requestBody", {}).get("content", {})
    statuses = {422, 500, *((503,) if "security" in operation else ()), *((413,) if body else ())}
    statuses |= {415} if "application/json" in body else set()
    for status, answer in problem_responses(*statuses).items():
        operation["responses"].setdefault(str(status), answer)
    if "422" in operation["responses"]:
        operation["responses"]["422"] = problem_responses(422)[422]


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content is None or not status.startswith("2"):
            continue
        route = operation["operationId"].partition("_v1_")[0].partition("_v2")[0]
        passed_on = PASSED_ON.get(route)
        content["example"] = passed_on if passed_on is not None else _example(content["schema"], schemas)


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The example of a schema: its model's own, or put together of those of its parts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _BY_NAME[name] if name in _BY_NAME else _example(schemas[name], schemas)
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    if schema.get("additionalProperties") is True:
        return SPEC
    return {name: _example(below, schemas) for name, below in schema.get("properties", {}).items()} or None


def _spec_schema(base: dict[str, Any], name: str, config: str) -> dict[str, Any]:
    properties = {**base["properties"], "method": {"const": name, "type": "string"}}
    properties["config"] = {"$ref": _REFS.format(model=config)}
    return {**base, "title": f"Job ({name})", "properties": properties, "required": ["method"]}
