"""A folder is predicted by a job: every file of it gets a row, and the data set made for it goes again."""

import csv
from pathlib import Path

import httpx2
import pytest

from libs.client.cli.batch import add_left_out

HEADER = "id,path,label,probability,top_k,error\n"
FILES = ["a.png", "b.txt", "sub/c.png", "ü,b.png"]
REPORT = {
    "problems": [
        {"code": "broken-picture", "file": "ü,b.png", "message": "'ü,b.png' is left out: no picture."},
        {"code": "duplicate", "message": "twice"},
    ]
}


def rows_of(table: Path) -> list[tuple[str, str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return [(row["path"], row["label"], row["error"]) for row in csv.DictReader(file)]


def test_every_file_that_was_left_out_gets_a_row_with_its_error(tmp_path: Path):
    table = tmp_path / "p.csv"
    table.write_text(HEADER + "0,a.png,cat,0.9,,\n1,sub/c.png,dog,0.8,,\n")
    assert add_left_out(table, FILES, REPORT) == 2
    assert rows_of(table) == [
        ("a.png", "cat", ""),
        ("sub/c.png", "dog", ""),
        ("b.txt", "", "it was left out: no picture that can be read"),
        ("ü,b.png", "", "'ü,b.png' is left out: no picture."),
    ]


def test_names_are_compared_as_the_platform_writes_them(tmp_path: Path):
    table = tmp_path / "p.csv"
    table.write_text(HEADER + "0,\u00fc.png,cat,0.9,,\n", encoding="utf-8")
    assert add_left_out(table, ["u\u0308.png"], {}) == 0
    assert rows_of(table) == [("ü.png", "cat", "")]


def test_a_file_for_the_answers_is_for_folders_alone(octavo, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"picture")
    ended = octavo("predict", "cats", tmp_path / "a.png", "--out", tmp_path / "a.csv")
    assert (ended.code, "--out is for a folder" in ended.err) == (2, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "new"
    made.mkdir()
    (made / "a.png").write_bytes(b"picture")
    (made / "b.txt").write_text("no picture")
    return made


class Platform:
    """The part of a gateway that a folder's prediction asks, for a data set whose name it is told."""

    def __init__(self, job_status: str) -> None:
        self.job = {"id": "j1", "name": "p", "method": "predict", "status": job_status, "error": {"message": "broken"}}
        self.deleted: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if request.method == "DELETE":
            self.deleted.append(path.removeprefix("/v1/datasets/"))
            return httpx2.Response(204)
        if path.endswith("/events"):
            return httpx2.Response(204)
        if path == "/v1/jobs/j1/artifacts/f1":
            return httpx2.Response(200, content=(HEADER + "0,a.png,cat,0.9,,\n").encode())
        return httpx2.Response(200, json=self._json(path))

    def _json(self, path: str) -> object:
        if path.endswith("/artifacts"):
            return {"items": [{"id": "f1", "kind": "file", "name": "predictions.csv", "digest": None, "size_bytes": 1}]}
        if path.startswith("/v1/jobs"):
            return self.job
        if path.endswith("/report"):
            return {"report": REPORT}
        if path == "/v1/models/cats/versions":
            return {"items": [{"model": "cats", "version": 1, "status": "ready"}]}
        if path == "/v1/models/cats/versions/1":
            return {"model": "cats", "version": 1, "task": "image-classification"}
        name = path.split("/")[3] if path.count("/") > 2 else "made"
        return {"dataset": name, "version": 1, "status": "ready", "size_bytes": 0}


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_the_data_set_made_for_it_is_deleted_when_the_job_has_ended(
    octavo, gateway, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
):
    platform = Platform(status)
    gateway.otherwise = platform
    monkeypatch.setattr("libs.client.datasets.upload", lambda *_: None)
    out = tmp_path / "p.csv"
    ended = octavo("predict", "cats", folder, "--out", out)
    assert len(platform.deleted) == 1
    assert platform.deleted[0].startswith("pictures-")
    assert ended.code == (0 if status == "succeeded" else 1)
    if status == "succeeded":
        assert "1 files have no prediction" in ended.out
        assert rows_of(out)[1][0] == "b.txt"


def test_a_recommender_is_refused_before_anything_is_sent_and_how_to_ask_it_is_said(octavo, gateway, folder: Path):
    gateway.answers["GET /v1/models/shop/versions/1"] = {"model": "shop", "version": 1, "task": "next-item"}
    ended = octavo("predict", "shop@1", folder)
    assert ended.code == 4
    assert "octavo recommend NAME --items" in ended.err
    assert [one.method for one in gateway.asked] == ["GET"]
