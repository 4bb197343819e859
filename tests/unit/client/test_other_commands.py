"""Data sets, models, keys and predictions as people see them."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

VERSION = {"dataset": "cats", "version": 2, "status": "invalid", "size_bytes": 9, "validation_job_id": "v1"}
REPORT: dict[str, Any] = {
    "upload": {"name": "cats.zip", "in_place": False, "public": False, "size_bytes": 2048},
    "format": "class-folders", "notes": [], "pictures": 60, "broken": 3, "ignored": {".txt suffix": 2},
    "class_count": 2, "classes": [{"name": "a", "test": 10, "train": 30}, {"name": "b", "test": 5, "train": 15}],
    "splits": {"test": {"pictures": 15, "origin": "given"}, "train": {"pictures": 45, "origin": "made"}},
    "sizes": {"width": {"min": 8, "median": 9, "max": 10}}, "modes": {"L": 60}, "mean": [0.5], "std": [0.25],
    "problem_counts": {"one-class": 1, "broken-picture": 3},
    "problems": [
        {"severity": "error", "code": "one-class", "message": "All of one class."},
        {"severity": "warning", "code": "broken-picture", "message": "x.png is left out."},
    ],
}  # fmt: skip


@pytest.fixture
def cats(gateway):
    gateway.answers |= {
        "POST /v1/datasets": VERSION,
        "GET /v1/datasets/cats": {"latest": VERSION},
        "GET /v1/datasets/cats/versions/2": VERSION,
        "GET /v1/datasets/cats/versions/2/report": {"report": REPORT},
        "GET /v1/jobs/v1": {"id": "v1", "status": "failed", "error": {"message": "did you mean mnist?"}},
        "GET /v1/jobs/v1/events": httpx2.Response(204),
    }
    return gateway


def test_a_data_set_is_shown_with_its_problems_first(octavo, cats):
    lines = octavo("datasets", "show", "cats").lines
    assert lines[:4] == [
        "cats@2 is invalid",
        "  error    All of one class.",
        "  warning  x.png is left out.",
        "  … and 2 more; --json lists the first hundred of each kind",
    ]
    assert "  train     45 pictures, made" in lines
    assert "  pictures  60, 3 more could not be read" in lines
    assert [line.split() for line in lines[-3:]] == [["class", "train", "test"], ["a", "30", "10"], ["b", "15", "5"]]


def test_an_invalid_upload_says_what_was_found(octavo, cats):
    ended = octavo("datasets", "pull", "cats")
    assert ended.code == 1
    assert ended.err.splitlines()[0] == "error: Data set cats@2 is invalid: All of one class."
    assert ended.lines == ["cats@2 has arrived; validating it, as soon as a worker is free …"]


def test_without_a_report_the_job_says_why(octavo, cats):
    del cats.answers["GET /v1/datasets/cats/versions/2/report"]
    assert "error: Data set cats@2 is invalid: did you mean mnist?" in octavo("datasets", "pull", "cats").err


LATENCY = {"batch_size": 1, "threads": 1, "p50_ms": 0.5, "p90_ms": 0.75, "rounds": 9}
MODEL: dict[str, Any] = {
    "model": "cats", "version": 3, "status": "rejected", "status_reason": "parity: too far", "method": "frskd",
    "digest": "d" * 64, "size_bytes": 1000, "metrics": {"train/loss": 0.1, "test/accuracy": 0.9}, "job_id": "j1",
    "created_at": "2026-01-01T00:00:00+00:00", "gates": {"parity": {"passed": False, "detail": "too far"}},
    "bundle": {
        "architecture": "resnet8", "parameters": 78042, "labels": ["a", "b"], "latency": [LATENCY],
        "recipe": {"channels": 1, "height": 8, "width": 8},
    },
}  # fmt: skip


def test_a_model_says_first_whether_it_serves_and_how_good_it_is(octavo, gateway):
    gateway.answers["GET /v1/models/cats/versions/3"] = MODEL
    lines = octavo("models", "show", "cats@3").lines
    assert lines[:2] == ["cats@3 is rejected", "parity: too far"]
    assert lines[2:5] == [
        "  gate parity  failed  too far",
        "  latency      0.5 ms, p90 0.75 ms, 1 at a time, 1 thread",
        "  network      resnet8, 78,042 parameters",
    ]
    assert [line.split()[0] for line in lines[-3:]] == ["metric", "test/accuracy", "train/loss"]


def node(kind: str, number: int, name: str, *, deleted: bool = False) -> dict[str, Any]:
    return {"id": f"{kind}:{number}abcdefgh", "kind": kind, "name": name, "digest": "f" * 64, "deleted": deleted}


def edge(source: dict[str, Any], target: dict[str, Any], role: str) -> dict[str, str]:
    return {"source": source["id"], "target": target["id"], "role": role}


def test_a_lineage_is_a_tree(octavo, gateway):
    old, own, new = (node("model_version", number, f"cats@{number}") for number in (1, 2, 3))
    job, data = node("job", 7, "cats-frskd"), node("dataset_version", 8, "cats@1", deleted=True)
    edges = [
        edge(job, own, "made by"), edge(data, own, "dataset:train"), edge(old, own, "model:init"),
        edge(data, old, "dataset:train"), edge(own, new, "model:init"),
    ]  # fmt: skip
    found = {
        "id": own["id"], "nodes": [own, old, new, job, data], "edges": edges, "complete": True, "seed": 0,
        "code_version": "0.1.0", "config": {"lr": 0.1},
    }  # fmt: skip
    gateway.answers |= {"GET /v1/models/cats/versions/2": MODEL | {"version": 2}}
    gateway.answers["GET /v1/models/cats/versions/2/lineage"] = found
    assert octavo("models", "lineage", "cats@2").lines[:9] == [
        "cats@2",
        "  made by  job cats-frskd (7abcdefg)",
        "  dataset:train  data set cats@1 (deleted)",
        "  model:init  cats@1",
        "    dataset:train  data set cats@1 (deleted)",
        "made from it:",
        "  model:init  cats@3",
        "  seed          0",
        "  code version  0.1.0",
    ]


def test_versions_stand_side_by_side(octavo, gateway):
    base, other, same = MODEL | {"version": 1}, MODEL | {"version": 2, "metrics": {"test/accuracy": 0.95}}, MODEL
    slow, quick = ([{"p50_ms": p50, "p90_ms": 2.5, "batch_size": 1, "threads": 1}] for p50 in (2.0, 1.0))
    facts = {"latency": {"left": slow, "right": quick}, "parameters": {"left": 5, "right": 6}}
    against = [
        {"version": other, "metrics": {}, "config": {"lr": {"left": 0.1, "right": 0.2}}, "facts": {}},
        {"version": same, "metrics": {}, "config": {}, "facts": facts},
    ]
    gateway.answers["GET /v1/models/compare"] = {"base": base, "against": against}
    rows = [line.split() for line in octavo("models", "compare", "cats@1", "cats@2", "cats@3").lines]
    assert rows[0] == ["cats@1", "cats@2", "cats@3"]
    assert ["test/accuracy", "0.9", "0.95", "0.9"] in rows
    assert ["--set", "lr", "0.1", "0.2", "0.1"] in rows
    assert ["parameters", "5", "5", "6"] in rows
    latency = next(" ".join(row) for row in rows if row[:1] == ["latency"])
    slow_said, quick_said = (f"{p50} ms, p90 2.5 ms, 1 at a time, 1 thread" for p50 in (2, 1))
    assert latency == f"latency {slow_said} {slow_said} {quick_said}"


@pytest.mark.parametrize(
    ("file", "labels", "said"),
    [
        ("w.pth", "nowhere.txt", "octavo convert"),
        ("w.onnx", "nowhere.txt", "nowhere.txt cannot be read: No such file"),
        ("w.onnx", "empty.txt", "empty.txt is empty; write one label a line"),
        ("w.onnx", "binary.txt", "binary.txt is no text in UTF-8"),
    ],
)
def test_an_import_looks_at_its_files_before_anything_is_sent(
    octavo, gateway, tmp_path: Path, file: str, labels: str, said: str
):
    (tmp_path / file).write_bytes(b"model")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    ended = octavo("models", "import", "cats", tmp_path / file, "--labels", tmp_path / labels)
    assert ended.code == 1
    assert said in ended.err
    assert gateway.asked == []


def test_a_key_that_is_not_there_leads_to_the_list(octavo, gateway):
    gateway.answers["GET /v1/keys"] = {"items": []}
    ended = octavo("keys", "revoke", "zzz")
    assert ended.code == 5
    assert ended.err.splitlines() == [
        "error: No key has an id that begins with 'zzz'.",
        "  what to do: `octavo keys ls` lists them.",
    ]


@pytest.mark.parametrize(("name", "hint"), [("ok.zip", "unpack it and name the folder"), ("b.png", "not a picture")])
def test_a_file_that_is_no_picture_is_named(octavo, gateway, tmp_path: Path, name: str, hint: str):
    refusal = {"code": "bad_picture", "detail": "The body is not a picture."}
    gateway.answers["POST /v1/classify/cats"] = httpx2.Response(422, json=refusal)
    (tmp_path / name).write_bytes(b"PK")
    ended = octavo("predict", "cats", tmp_path / name)
    assert ended.code == 4
    assert f"{name}: The body is not a picture." in ended.err
    assert hint in ended.err


def test_a_wrong_address_is_wrong_usage(octavo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCTAVO_URL", "foo")
    ended = octavo("jobs", "ls")
    assert ended.code == 2
    assert "OCTAVO_URL is written as http://" in ended.err
