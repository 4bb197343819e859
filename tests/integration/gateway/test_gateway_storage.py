"""What takes space, and getting it back."""

import os
from pathlib import Path

from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.registry.artifacts import ArtifactStore
from libs.web.auth import Scope
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker

DAY_S = 86_400


def stored_long_ago(settings: GatewaySettings, folder: Path, content: bytes) -> str:
    """A file in the store that no row names; its URI."""
    store = ArtifactStore(settings.platform.artifact_root)
    (folder / "file").write_bytes(content)
    uri = store.put_file(folder / "file").uri
    old = store.modified_at(uri)
    assert old is not None
    os.utime(uri.removeprefix("file://"), (old.timestamp() - DAY_S, old.timestamp() - DAY_S))
    return uri


def test_usage_lists_what_is_stored(client: TestClient, digits: str):
    items = client.get("/v1/storage").json()["items"]
    assert [(one["noun"], one["name"], one["items"]) for one in items if one["noun"] == "dataset"] == [
        ("dataset", "digits", 1)
    ]


def test_usage_of_another_project_is_not_shown(client: TestClient, digits: str, other_project: dict[str, str]):
    assert client.get("/v1/storage", headers=other_project).json() == {"items": []}


def test_gc_takes_what_no_row_names_and_a_rehearsal_takes_nothing(
    client: TestClient, settings: GatewaySettings, tmp_path: Path
):
    uri = stored_long_ago(settings, tmp_path, b"orphan")
    path = Path(uri.removeprefix("file://"))
    rehearsed = client.post("/v1/storage/gc", params={"dry_run": True}).json()
    assert rehearsed == {"files": 1, "size_bytes": 6, "dry_run": True}
    assert path.exists()
    assert client.post("/v1/storage/gc").json() == {"files": 1, "size_bytes": 6, "dry_run": False}
    assert not path.exists()


def test_a_rehearsal_keeps_the_rows_that_gc_would_forget(client: TestClient, engine: Engine, digits: str):
    assert client.delete("/v1/datasets/digits").status_code == 204
    with transaction(engine) as session:
        session.execute(text("UPDATE datasets SET deleted_at = now() - interval '8 days'"))
    count = text("SELECT count(*) FROM datasets")
    client.post("/v1/storage/gc", params={"dry_run": True})
    with transaction(engine) as session:
        assert session.scalar(count) == 1
    client.post("/v1/storage/gc")
    with transaction(engine) as session:
        assert session.scalar(count) == 0


def test_gc_needs_an_admin(client: TestClient, make_headers: KeyMaker):
    answer = client.post("/v1/storage/gc", headers=make_headers(Scope.DATASETS_READ))
    assert answer.status_code == 403
