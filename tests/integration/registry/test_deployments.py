"""Deployment rows, on a real Postgres."""

import psycopg
import pytest
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelAlias
from libs.registry.aliases import set_alias
from libs.registry.deployments import (
    DeploymentSettings,
    create_deployment,
    delete_deployment,
    find_deployment,
    list_deployments,
    report_status,
    set_loaded,
    update_deployment,
    wanted_models,
)
from libs.registry.errors import DeploymentNotFound, ModelNotFound, NameTaken, NotReady
from libs.registry.notify import DEPLOYMENTS_CHANNEL
from tests.support.registry import add_version, bundle, next_item_bundle

P = DEFAULT_PROJECT_ID


def test_a_name_stays_at_the_version_it_meant(db: Session) -> None:
    first = add_version(db)
    create_deployment(db, P, "live", "cats")
    add_version(db)
    (wanted,) = wanted_models(db)
    assert (wanted.name, wanted.model_name, wanted.version, wanted.version_id) == ("live", "cats", 1, first.id)
    assert (wanted.uri, wanted.digest) == (first.uri, first.digest)


def test_an_alias_is_followed(db: Session) -> None:
    add_version(db)
    add_version(db)
    set_alias(db, P, "cats", "production", 1)
    create_deployment(db, P, "live", "cats@production", DeploymentSettings(threads=2))
    set_alias(db, P, "cats", "production", 2)
    (wanted,) = wanted_models(db)
    assert (wanted.version, wanted.settings.threads) == (2, 2)


def test_each_row_says_which_task_serves_it(db: Session) -> None:
    add_version(db)
    add_version(db, "films", bundle=next_item_bundle())
    create_deployment(db, P, "pictures", "cats")
    create_deployment(db, P, "films", "films")
    assert {one.name: one.task for one in wanted_models(db)} == {
        "pictures": "image-classification", "films": "next-item"
    }  # fmt: skip


def test_a_row_whose_alias_is_gone_has_the_task_of_the_newest_version(db: Session) -> None:
    add_version(db, "films")
    add_version(db, "films", bundle=next_item_bundle())
    set_alias(db, P, "films", "production", 1)
    create_deployment(db, P, "live", "films@production")
    (wanted,) = wanted_models(db)
    assert (wanted.version, wanted.task) == (1, "image-classification")
    db.execute(delete(ModelAlias))  # the registry refuses while the deployment follows it
    (wanted,) = wanted_models(db)
    assert (wanted.version_id, wanted.task) == (None, "next-item")


def test_updating_and_unloading(db: Session) -> None:
    add_version(db)
    add_version(db)
    create_deployment(db, P, "live", "cats@1")
    update_deployment(db, P, "live", "cats@2")
    (wanted,) = wanted_models(db)
    assert wanted.version == 2
    set_loaded(db, P, "live", loaded=False)
    assert wanted_models(db) == []
    set_loaded(db, P, "live", loaded=True)
    assert find_deployment(db, P, "live").status == "loading"
    delete_deployment(db, P, "live")
    assert list_deployments(db, P) == []


def test_what_cannot_be_deployed(db: Session) -> None:
    add_version(db, bundle=bundle(parity=None))
    with pytest.raises(NotReady):
        create_deployment(db, P, "live", "cats@1")
    with pytest.raises(ModelNotFound):
        create_deployment(db, P, "live", "dogs")
    add_version(db)
    create_deployment(db, P, "live", "cats")
    with pytest.raises(NameTaken):
        create_deployment(db, P, "live", "cats")
    with pytest.raises(DeploymentNotFound, match="Did you mean 'live'"):
        update_deployment(db, P, "life", "cats")


def test_a_report_is_written_back(db: Session) -> None:
    version = add_version(db)
    create_deployment(db, P, "live", "cats")
    (wanted,) = wanted_models(db)
    assert report_status(db, wanted, "failed", "no such file")
    db.expire_all()
    row = find_deployment(db, P, "live")
    assert (row.status, row.status_reason, row.loaded_version_id) == ("failed", "no such file", None)
    assert report_status(db, wanted, "ready", None, version.id)
    db.expire_all()
    assert find_deployment(db, P, "live").loaded_version_id == version.id


def test_a_report_about_an_older_edit_is_dropped(db: Session) -> None:
    add_version(db)
    add_version(db)
    create_deployment(db, P, "live", "cats@1")
    (wanted,) = wanted_models(db)
    update_deployment(db, P, "live", "cats@2")
    assert not report_status(db, wanted, "ready", None, wanted.version_id)
    (newer,) = wanted_models(db)
    set_loaded(db, P, "live", loaded=False)
    assert not report_status(db, newer, "ready", None, newer.version_id)
    assert find_deployment(db, P, "live").status == "unloaded"
    delete_deployment(db, P, "live")
    assert not report_status(db, newer, "ready", None, newer.version_id)


def test_every_change_is_announced(engine: Engine, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as listener:
        listener.execute(f"LISTEN {DEPLOYMENTS_CHANNEL}".encode())

        def heard() -> str:
            return next(listener.notifies(timeout=20, stop_after=1)).payload

        with transaction(engine) as session:
            add_version(session)
            row = create_deployment(session, P, "live", "cats")
        assert heard() == str(row.id)
        with transaction(engine) as session:
            set_loaded(session, P, "live", loaded=False)
        assert heard() == str(row.id)
        with transaction(engine) as session:
            delete_deployment(session, P, "live")
        assert heard() == str(row.id)
