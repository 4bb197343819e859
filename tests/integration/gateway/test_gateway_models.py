"""Models, aliases, lineage, downloads and deployments over HTTP."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.artifacts import ArtifactStore, StoredFolder
from libs.registry.models import register_version
from libs.serving.bundle import Lineage
from services.gateway.settings import GatewaySettings
from tests.support.bundles import make_bundle
from tests.support.registry import add_version, bundle, next_item_bundle

ALIAS = "/v1/models/cats/aliases/production"


@pytest.fixture
def cats(engine: Engine) -> list[str]:
    """A model `cats` with two ready versions and a third that is rejected; their digests."""
    with transaction(engine) as session:
        first = add_version(session, bundle=bundle(lineage=Lineage(method="frskd", config={"lr": 0.1, "epochs": 2})))
        second = add_version(
            session,
            bundle=bundle(
                lineage=Lineage(method="frskd", config={"lr": 0.2, "epochs": 2}, parent_digests={"init": first.digest})
            ),
            metrics={"test/accuracy": 0.75},
        )
        third = add_version(session, bundle=bundle(parity=None))
        return [version.digest for version in (first, second, third)]


def test_models_and_versions_are_listed(client: TestClient, cats: list[str], engine: Engine) -> None:
    with transaction(engine) as session:
        add_version(session, "dogs")
    assert [model["name"] for model in client.get("/v1/models").json()["items"]] == ["dogs", "cats"]
    first = client.get("/v1/models/cats/versions", params={"limit": 2}).json()
    second = client.get("/v1/models/cats/versions", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [version["version"] for version in first["items"] + second["items"]] == [3, 2, 1]
    assert first["items"][0]["status"] == "rejected"
    assert "not compared" in first["items"][0]["status_reason"]


def test_one_version_is_shown_whole(client: TestClient, cats: list[str]) -> None:
    version = client.get("/v1/models/cats/versions/2").json()
    assert version["digest"] == cats[1]
    assert version["bundle"]["labels"] == ["a", "b"]
    assert version["gates"]["parity"]["passed"]
    assert version["lineage"]["config"] == {"lr": 0.2, "epochs": 2}
    assert client.get("/v1/models/cats").json()["last_version"] == 3


def test_what_does_not_exist_names_what_does(client: TestClient, cats: list[str]) -> None:
    model, version = client.get("/v1/models/cast"), client.get("/v1/models/cats/versions/7")
    assert (model.json()["code"], version.json()["code"]) == ("model_not_found", "version_not_found")
    assert "Did you mean 'cats'?" in model.json()["detail"]
    assert "1, 2, 3" in version.json()["detail"]


def test_an_alias_is_made_without_and_moved_only_with_its_etag(client: TestClient, cats: list[str]) -> None:
    made = client.put(ALIAS, json={"version": 1})
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    assert client.put(ALIAS, json={"version": 2}).status_code == 428
    moved = client.put(ALIAS, json={"version": 2}, headers={"If-Match": '"1"'})
    assert (moved.headers["etag"], moved.json()["version"]) == ('"2"', 2)
    late = client.put(ALIAS, json={"version": 1}, headers={"If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (412, "alias_conflict")
    assert client.put(ALIAS, json={"version": 1}, headers={"If-Match": "*"}).headers["etag"] == '"3"'
    assert client.get(ALIAS).json()["version"] == 1
    assert client.get(ALIAS).headers["etag"] == '"3"'
    assert [alias["alias"] for alias in client.get("/v1/models/cats/aliases").json()] == ["production"]


def test_if_match_on_an_alias_that_does_not_exist_fails(client: TestClient, cats: list[str]) -> None:
    assert client.put(ALIAS, json={"version": 1}, headers={"If-Match": '"4"'}).status_code == 412
    assert client.put(ALIAS, json={"version": 1}, headers={"If-Match": "4"}).status_code == 422
    assert client.get(ALIAS).json()["code"] == "alias_not_found"


def test_an_alias_needs_a_ready_version_and_a_sane_name(client: TestClient, cats: list[str]) -> None:
    assert client.put(ALIAS, json={"version": 3}).json()["code"] == "not_ready"
    assert client.put("/v1/models/cats/aliases/latest", json={"version": 1}).status_code == 422


def test_an_alias_is_removed_with_its_etag(client: TestClient, cats: list[str]) -> None:
    client.put(ALIAS, json={"version": 1})
    assert client.delete(ALIAS, headers={"If-Match": '"9"'}).status_code == 412
    assert client.delete(ALIAS, headers={"If-Match": '"1"'}).status_code == 204
    assert client.delete(ALIAS).status_code == 404


def test_lineage_is_a_graph_of_what_went_in_and_what_came_out(client: TestClient, cats: list[str]) -> None:
    first = client.get("/v1/models/cats/versions/1/lineage").json()
    second = client.get("/v1/models/cats/versions/2/lineage").json()
    assert {node["name"] for node in first["nodes"]} == {"cats@1", "cats@2"}
    assert first["edges"] == second["edges"] == [{"source": first["id"], "target": second["id"], "role": "model:init"}]
    assert (second["config"], second["complete"]) == ({"lr": 0.2, "epochs": 2}, True)


def test_versions_side_by_side(client: TestClient, cats: list[str]) -> None:
    client.put(ALIAS, json={"version": 2})
    found = client.get("/v1/models/compare", params={"version": ["cats@1", "cats@production", "cats@3"]}).json()
    assert (found["base"]["version"], [one["version"]["version"] for one in found["against"]]) == (1, [2, 3])
    assert found["against"][0]["config"] == {"lr": {"left": 0.1, "right": 0.2}}
    assert found["against"][0]["metrics"]["test/accuracy"] == {"left": None, "right": 0.75, "change": None}
    answer = client.get("/v1/models/compare", params={"version": ["cats@1", "nix", "cats@9"]})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/version/1", "/version/2"]
    assert client.get("/v1/models/compare", params={"version": "cats@1"}).status_code == 422


def test_a_download_is_a_zip_of_the_bundle(
    client: TestClient, engine: Engine, settings: GatewaySettings, tmp_path: Path
) -> None:
    made = make_bundle(tmp_path / "bundle")
    stored = ArtifactStore(settings.platform.artifact_root).put_folder(tmp_path / "bundle")
    with transaction(engine) as session:
        register_version(session, project_id=DEFAULT_PROJECT_ID, model_name="cats", bundle=made, folder=stored)
    answer = client.get("/v1/models/cats/versions/1/download")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {f"cats-1/{path.name}": path for path in (tmp_path / "bundle").iterdir()}
        assert set(archive.namelist()) == set(names)
        assert all(archive.read(name) == path.read_bytes() for name, path in names.items())
        assert json.loads(archive.read("cats-1/bundle.json"))["labels"] == ["dark", "bright"]
    assert answer.headers["content-disposition"] == 'attachment; filename="cats-1.zip"'


def test_a_download_whose_files_are_gone_is_a_404(
    client: TestClient, engine: Engine, settings: GatewaySettings
) -> None:
    gone = StoredFolder(f"{settings.platform.artifact_root}/folders/gone", "0" * 64, 10, {})
    with transaction(engine) as session:
        add_version(session, "cats", folder=gone)
    answer = client.get("/v1/models/cats/versions/1/download")
    assert (answer.status_code, answer.json()["code"]) == (404, "file_gone")


def test_deleting_models_and_versions(client: TestClient, cats: list[str]) -> None:
    client.put(ALIAS, json={"version": 1})
    in_use = client.delete("/v1/models/cats/versions/1")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "in_use")
    assert client.delete("/v1/models/cats/versions/3").status_code == 204
    assert client.get("/v1/models/cats/versions/3").status_code == 404
    assert client.delete("/v1/models/cats").status_code == 204
    assert client.get("/v1/models").json()["items"] == []


def test_a_deployment_follows_an_alias(client: TestClient, cats: list[str]) -> None:
    client.put(ALIAS, json={"version": 1})
    answer = client.post("/v1/deployments", json={"name": "live", "model": "cats@production"})
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/deployments/live")
    assert (made["status"], made["task"], made["alias"], made["version"], made["loaded_version"]) == (
        "loading",
        "image-classification",
        "production",
        1,
        None,
    )
    client.put(ALIAS, json={"version": 2}, headers={"If-Match": "*"})
    assert client.get("/v1/deployments/live").json()["version"] == 2
    assert client.delete(ALIAS, headers={"If-Match": "*"}).json()["code"] == "in_use"
    assert client.delete("/v1/models/cats").json()["code"] == "in_use"


def test_a_deployment_is_pointed_elsewhere_run_otherwise_and_deleted(client: TestClient, cats: list[str]) -> None:
    client.post("/v1/deployments", json={"name": "live", "model": "cats@1"})
    moved = client.put("/v1/deployments/live", json={"model": "cats"}).json()
    assert (moved["version"], moved["alias"]) == (2, None)
    tuned = client.put("/v1/deployments/live", json={"settings": {"threads": 2}}).json()
    assert (tuned["version"], tuned["settings"]["threads"]) == (2, 2)
    assert [one["name"] for one in client.get("/v1/deployments").json()["items"]] == ["live"]
    assert client.delete("/v1/deployments/live").status_code == 204
    assert client.get("/v1/deployments/live").json()["code"] == "deployment_not_found"


@pytest.fixture
def films(client: TestClient, engine: Engine) -> None:
    """Two recommenders are deployed, and a classifier."""
    with transaction(engine) as session:
        add_version(session)
        add_version(session, "films", bundle=next_item_bundle())
    for name, model in (("films", "films"), ("films-new", "films"), ("cats", "cats")):
        assert client.post("/v1/deployments", json={"name": name, "model": model}).status_code == 201


def test_requests_are_shared_and_settings_left_out_stay(client: TestClient, films: None) -> None:
    client.put("/v1/deployments/films", json={"settings": {"threads": 2}})
    answer = client.put("/v1/deployments/films", json={"settings": {"traffic": {"films-new": 12.5}}})
    assert (answer.json()["settings"]["traffic"], answer.json()["settings"]["threads"]) == ({"films-new": 12.5}, 2)
    kept = client.put("/v1/deployments/films", json={"settings": {"threads": 3}}).json()["settings"]
    assert (kept["traffic"], kept["threads"]) == ({"films-new": 12.5}, 3)
    in_use = client.delete("/v1/deployments/films-new")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "in_use")
    assert "'films'" in in_use.json()["detail"]
    assert client.put("/v1/deployments/films-new", json={"model": "cats"}).json()["code"] == "in_use"
    assert client.put("/v1/deployments/films", json={"settings": {"traffic": {}}}).status_code == 200
    assert client.delete("/v1/deployments/films-new").status_code == 204


@pytest.mark.parametrize(
    ("name", "traffic", "pointer"),
    [
        ("films", {"films-new": 60, "cats": 41}, "/settings/traffic"),
        ("films", {"films-new": 0}, "/settings/traffic/films-new"),
        ("films", {"films-new": 101}, "/settings/traffic/films-new"),
        ("films", {"films-new": "much"}, "/settings/traffic/films-new"),
        ("films", {"films": 10}, "/settings/traffic/films"),
        ("films", {"a~b/c": 10}, "/settings/traffic/a~0b~1c"),
        ("films", {"cats": 10}, "/settings/traffic/cats"),
        ("films", {f"f{n}": 1 for n in range(17)}, "/settings/traffic"),
        ("cats", {"films": 10}, "/settings/traffic"),
    ],
)
def test_requests_that_cannot_be_shared_so(
    client: TestClient, films: None, name: str, traffic: dict[str, object], pointer: str
) -> None:
    answer = client.put(f"/v1/deployments/{name}", json={"settings": {"traffic": traffic}})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer, answer.text
    made = client.post("/v1/deployments", json={"name": "n", "model": "cats", "settings": {"traffic": {"films": 1}}})
    assert made.json()["errors"][0]["pointer"] == "/settings/traffic"


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("cast", "model_not_found"),
        ("cats@9", "version_not_found"),
        ("cats@3", "not_ready"),
        ("cats@x", "alias_not_found"),
    ],
)
def test_a_deployment_of_what_cannot_be_served_points_to_the_model(
    client: TestClient, cats: list[str], model: str, code: str
) -> None:
    client.post("/v1/deployments", json={"name": "live", "model": "cats@1"})
    for answer in (
        client.post("/v1/deployments", json={"name": "other", "model": model}),
        client.put("/v1/deployments/live", json={"model": model}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/model"]


def test_a_deployment_name_is_taken_once(client: TestClient, cats: list[str]) -> None:
    client.post("/v1/deployments", json={"name": "live", "model": "cats@1"})
    answer = client.post("/v1/deployments", json={"name": "live", "model": "cats@1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_other_projects_see_no_models(client: TestClient, cats: list[str], other_project: dict[str, str]) -> None:
    client.put(ALIAS, json={"version": 1})
    client.post("/v1/deployments", json={"name": "live", "model": "cats@1"})
    for path in ("/v1/models/cats", "/v1/models/cats/versions", ALIAS, "/v1/models/cats/versions/1/download"):
        assert client.get(path, headers=other_project).status_code == 404
    assert client.get("/v1/deployments/live", headers=other_project).status_code == 404
    for path in ("/v1/models", "/v1/deployments"):
        assert client.get(path, headers=other_project).json()["items"] == []
    answer = client.post("/v1/deployments", json={"name": "live", "model": "cats@1"}, headers=other_project)
    assert answer.status_code == 422


def test_an_alias_that_must_be_new_is_not_moved(client: TestClient, cats: list[str]) -> None:
    fresh = {"If-None-Match": "*"}
    assert client.put(ALIAS, json={"version": 1}, headers=fresh).status_code == 200
    again = client.put(ALIAS, json={"version": 2}, headers=fresh)
    assert (again.status_code, again.json()["code"]) == (412, "alias_conflict")
    assert client.get(ALIAS).json()["version"] == 1
    assert client.put(ALIAS, json={"version": 2}, headers={"If-None-Match": '"1"'}).status_code == 422


def test_what_cannot_be_an_alias_is_a_problem_of_the_address(client: TestClient, cats: list[str]) -> None:
    answer = client.put("/v1/models/cats/aliases/7", json={"version": 1})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["location"], error["pointer"]) == ("path", "/alias")
    assert "is no number" in error["message"]
