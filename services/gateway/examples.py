"""One example of each answer, for the OpenAPI document; a test holds each against its schema."""

from typing import Any

from pydantic import BaseModel

from services.gateway.datasets import schemas as datasets
from services.gateway.deployments import schemas as deployments
from services.gateway.health import schemas as health
from services.gateway.inference.recommendation_examples import ANSWERS
from services.gateway.job_groups import schemas as job_groups
from services.gateway.jobs import schemas as jobs
from services.gateway.keys import schemas as keys
from services.gateway.methods import schemas as methods
from services.gateway.models import schemas as models
from services.gateway.schedules import schemas as schedules
from services.gateway.storage import schemas as storage
from services.gateway.uploads import schemas as uploads

Json = dict[str, Any]
_ID, _OTHER_ID = "3f0c1e6d-0d6f-4a7c-9d1f-8f6f0a4b2c1d", "9a51c2de-6d0b-4f4e-8a3b-2f9d7c6b5a41"
_AT, _LATER = "2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_JOB_SPEC = {
    "method": "frskd",
    "name": "cats-frskd",
    "datasets": {"train": "cats@1"},
    "models": {},
    "digests": {"datasets/train": _DIGEST},
    "seed": 0,
    "config": {"epochs": 5, "lr": 0.1},
}
_JOB: Json = {
    "id": _ID,
    "name": "cats-frskd",
    "method": "frskd",
    "status": "queued",
    "status_reason": None,
    "queue": "cpu",
    "priority": 0,
    "group_id": None,
    "schedule": None,
    "progress": 0.0,
    "progress_note": "",
    "created_at": _AT,
    "started_at": None,
    "finished_at": None,
}
_JOB_DETAIL: Json = {
    **_JOB,
    "spec": _JOB_SPEC,
    "parent_id": None,
    "retry_of": None,
    "clone_of": None,
    "attempts_used": 0,
    "max_attempts": 3,
    "timeout_s": None,
    "result": None,
    "error": None,
    "last_event_seq": 1,
    "request_id": "9c4f0f3b8f6a4b6f8a1f2d3c4b5a6978",
    "hint": None,
    "attempts": [],
    "teacher_job": None,
    "children": [],
}
_METHOD: Json = {
    "name": "frskd",
    "kind": "method",
    "title": "FRSKD",
    "summary": "Self-distillation by feature refinement.",
    "task": "image-classification",
    "data": "images",
    "reference": "CVPR 2021",
}
_DATASET_VERSION: Json = {
    "id": _ID,
    "dataset": "cats",
    "version": 1,
    "status": "uploading",
    "source": {"upload": "cats.zip", "validation": {"format": "auto"}},
    "upload_url": "/v1/datasets/cats/versions/1/upload",
    "size_bytes": 0,
    "digest": None,
    "validation_job_id": None,
    "summary": None,
    "created_at": _AT,
}
_DATASET: Json = {
    "id": _OTHER_ID,
    "name": "cats",
    "description": "",
    "created_at": _AT,
    "latest": _DATASET_VERSION,
}
_MODEL_VERSION: Json = {
    "id": _ID,
    "model": "cats-frskd",
    "version": 2,
    "status": "ready",
    "status_reason": None,
    "method": "frskd",
    "task": "image-classification",
    "job_id": _OTHER_ID,
    "digest": _DIGEST,
    "size_bytes": 1_204_331,
    "metrics": {"test/accuracy": 0.93},
    "created_at": _AT,
}
_ALIAS: Json = {"model": "cats-frskd", "alias": "production", "version": 2, "revision": 3, "updated_at": _AT}
_MODEL: Json = {"id": _OTHER_ID, "name": "cats-frskd", "description": "", "last_version": 2, "created_at": _AT}
_DEPLOYMENT: Json = {
    "id": _ID,
    "name": "cats",
    "model": "cats-frskd",
    "task": "image-classification",
    "alias": "production",
    "version": 2,
    "loaded_version": 2,
    "status": "ready",
    "status_reason": None,
    "settings": {},
    "created_at": _AT,
    "updated_at": _LATER,
}
_KEY: Json = {
    "id": _ID,
    "name": "ci",
    "prefix": "0123456789",
    "scopes": ["jobs:write"],
    "created_at": _AT,
    "last_used_at": None,
    "revoked_at": None,
}
_RUN: Json = {
    "id": _ID,
    "planned_at": _AT,
    "fired_at": _AT,
    "fired_by": "clock",
    "outcome": "submitted",
    "reason": None,
    "dataset": "clicks@7",
    "job": {
        "id": _OTHER_ID,
        "name": "clicks-update",
        "method": "update",
        "status": "succeeded",
        "reason": None,
        "model": {"name": "shop", "version": 4, "status": "ready", "promoted": "production"},
    },
}

EXAMPLES: dict[type[BaseModel], Json] = {
    methods.MethodSummary: _METHOD,
    methods.MethodDetail: {
        **_METHOD,
        "datasets": ["train"],
        "optional_datasets": [],
        "models": [],
        "optional_models": ["init"],
        "beside": [],
        "baselines": ["afd", "afd.kd", "supervised"],
        "config_schema": {"properties": {"epochs": {"type": "integer", "default": 200}}, "type": "object"},
        "defaults": {"epochs": 200},
    },
    jobs.JobSummary: _JOB,
    jobs.JobDetail: _JOB_DETAIL,
    jobs.DryRun: {"name": "cats-frskd", "queue": "cpu", "spec": _JOB_SPEC, "workers": 1, "first": []},
    jobs.EventPage: {
        "items": [{"seq": 1, "kind": "status", "data": {"from": None, "to": "queued"}, "at": _AT}],
        "next_after": 1,
        "ended": False,
    },
    jobs.MetricPage: {
        "items": [{"name": "train/loss", "steps": [10, 20], "values": [2.1, 1.7], "thinned": False}],
        "next_after": None,
    },
    jobs.Artifact: {
        "id": _OTHER_ID,
        "kind": "report",
        "name": "report.html",
        "digest": _DIGEST,
        "size_bytes": 48_211,
        "media_type": "text/html",
        "created_at": _LATER,
    },
    job_groups.Group: {
        "id": _OTHER_ID,
        "counts": {"queued": 1},
        "members": [{"job": {**_JOB, "group_id": _OTHER_ID}, "seed": 0, "varied": {"lr": 0.1}, "metrics": {}}],
    },
    schedules.ScheduleRun: _RUN,
    schedules.Schedule: {
        "id": _OTHER_ID,
        "name": "nightly",
        "cron": "0 3 * * *",
        "every_s": None,
        "timezone": "Europe/Berlin",
        "job": {"method": "update", "datasets": {"train": "clicks"}, "models": {"init": "shop@production"}},
        "dataset": {"name": "clicks", "source": {"recorded": {"base": "clicks@1"}}},
        "overlap": "skip",
        "misfire": "once",
        "status": "active",
        "status_reason": None,
        "next_run_at": _LATER,
        "refusals": 0,
        "last_run": _RUN,
        "created_at": _AT,
        "updated_at": _AT,
    },
    datasets.DatasetVersion: _DATASET_VERSION,
    datasets.Dataset: _DATASET,
    datasets.DatasetDetail: {**_DATASET, "versions": [_DATASET_VERSION]},
    datasets.Report: {"dataset": "cats", "version": 1, "status": "ready", "report": {"problems": []}},
    datasets.Statistics: {"dataset": "cats", "version": 1, "manifest": {"classes": ["cat", "dog"]}},
    models.VersionSummary: _MODEL_VERSION,
    models.VersionDetail: {**_MODEL_VERSION, "bundle": {"labels": ["cat", "dog"]}, "gates": {}, "lineage": {"seed": 0}},
    models.Alias: _ALIAS,
    models.Model: _MODEL,
    models.ModelDetail: {**_MODEL, "aliases": [_ALIAS], "versions": [_MODEL_VERSION]},
    models.Lineage: {
        "id": f"model_version:{_ID}",
        "nodes": [
            {
                "id": f"model_version:{_ID}",
                "kind": "model_version",
                "name": "cats-frskd@2",
                "digest": _DIGEST,
                "deleted": False,
            }
        ],
        "edges": [],
        "complete": True,
        "seed": 0,
        "code_version": "0.1.0",
        "config": {"epochs": 5},
    },
    models.Comparison: {
        "base": _MODEL_VERSION,
        "against": [
            {
                "version": {**_MODEL_VERSION, "version": 1},
                "metrics": {"test/accuracy": {"left": 0.93, "right": 0.91, "change": -0.02}},
                "config": {"epochs": {"left": 5, "right": 3}},
                "facts": {},
            }
        ],
    },
    uploads.UploadedFile: {
        "id": _ID,
        "name": "model.onnx",
        "kind": "onnx",
        "digest": _DIGEST,
        "size_bytes": 1_204_331,
    },
    deployments.Deployment: _DEPLOYMENT,
    keys.Key: _KEY,
    keys.CreatedKey: {**_KEY, "key": "oct_0123456789_…"},
    storage.Usage: {"noun": "dataset", "name": "cats", "items": 1, "size_bytes": 52_428_800},
    storage.Collected: {"jobs": 0, "files": 3, "size_bytes": 1_048_576, "dry_run": True},
    health.Live: {"status": "live"},
    health.Ready: {"status": "ready", "schema_revision": "0004"},
    health.Version: {"version": "0.1.0", "python": "3.11.7", "schema_revision": "0004"},
}

_METADATA: Json = {
    "name": "cats",
    "versions": ["2"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}],
    "parameters": {"model": "cats-frskd", "digest": _DIGEST, "labels": ["cat", "dog"], "temperature": 1.0},
}
PASSED_ON: dict[str, Any] = {
    "classify": {
        "model": "cats-frskd",
        "version": 2,
        "digest": _DIGEST,
        "predictions": [{"label": "cat", "index": 0, "probability": 0.93}],
    },
    "server_metadata": {"name": "octavo", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
    "server_live": {"live": True},
    "server_ready": {"ready": True},
    "model_metadata": _METADATA,
    "model_ready": {"name": "cats", "ready": True},
    "infer": {
        "model_name": "cats",
        "model_version": "2",
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [2.1, -0.4]}],
    },
    "repository_index": [{"name": "cats", "version": "2", "state": "READY", "reason": ""}],
    "load_model": {"name": "cats", "state": "READY", "version": "2"},
    "unload_model": {"name": "cats", "state": "UNAVAILABLE"},
    **ANSWERS,
}
"""Answers of inference services, by the name of the route that passes them on."""
SPEC = _JOB_SPEC
TENSORS: Json = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.2]}]}
