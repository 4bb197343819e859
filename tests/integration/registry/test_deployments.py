"""Deployment rows, on a real Postgres."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import Engine, delete, text
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelAlias
from libs.registry.aliases import set_alias
from libs.registry.deployments import (
    DeploymentSettings,
    create_deployment,
    delete_deployment,
    find_deployment,
    report_status,
    set_loaded,
    update_deployment,
    wanted_models,
)
from libs.registry.errors import DeploymentNotFound, InUse, ModelNotFound, NameTaken, NotReady, TrafficRefused
from libs.registry.models import delete_model
from libs.registry.notify import DEPLOYMENTS_CHANNEL
from tests.support.registry import add_version, bundle, next_item_bundle
from tests.support.waiting import until

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
    with pytest.raises(DeploymentNotFound):
        find_deployment(db, P, "live")


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


def recommenders(db: Session, *names: str) -> None:
    for name in names:
        add_version(db, name, bundle=next_item_bundle())
        create_deployment(db, P, name, name)


def shared(db: Session, name: str, *others: str) -> DeploymentSettings:
    wanted = DeploymentSettings(traffic=dict.fromkeys(others, 10.0))
    return DeploymentSettings.model_validate(update_deployment(db, P, name, settings=wanted).settings)


def test_sharing_requests_changes_nothing_about_what_is_loaded(db: Session) -> None:
    recommenders(db, "films", "new")
    update_deployment(db, P, "films", settings=DeploymentSettings(threads=2))
    wanted = {one.name: one for one in wanted_models(db)}["films"]
    assert report_status(db, wanted, "failed", "no such file")
    db.expire_all()
    assert shared(db, "films", "new") == DeploymentSettings(threads=2, traffic={"new": 10.0})
    row = find_deployment(db, P, "films")
    assert (row.status, row.status_reason) == ("failed", "no such file")
    assert row.updated_at > wanted.generation
    set_loaded(db, P, "films", loaded=False)
    assert shared(db, "films") == DeploymentSettings(threads=2)
    assert find_deployment(db, P, "films").status == "unloaded"
    update_deployment(db, P, "films", settings=DeploymentSettings(threads=3, traffic={"new": 1}))
    assert find_deployment(db, P, "films").status == "loading"


def test_whose_requests_cannot_be_shared(db: Session) -> None:
    recommenders(db, "films", "new", "third")
    add_version(db)
    create_deployment(db, P, "cats", "cats")
    for name, other, why in (
        ("films", "films", "answers the rest itself"),
        ("films", "mew", "no deployment 'mew'. Did you mean 'new'"),
        ("films", "cats", "'cats' is no recommender; its model does image-classification"),
        ("cats", "films", "Only deployments of recommenders"),
    ):
        with pytest.raises(TrafficRefused, match=why), db.begin_nested():
            shared(db, name, other)
    shared(db, "films", "new")
    with pytest.raises(TrafficRefused, match="gets requests of 'films' itself"), db.begin_nested():
        shared(db, "new", "third")
    with pytest.raises(TrafficRefused, match="'films' shares its requests itself"), db.begin_nested():
        shared(db, "third", "films")
    with pytest.raises(TrafficRefused, match="Only deployments of recommenders"), db.begin_nested():
        update_deployment(db, P, "films", "cats")


def test_an_arm_can_neither_be_deleted_nor_become_something_else(db: Session) -> None:
    recommenders(db, "films", "new")
    add_version(db)
    shared(db, "films", "new")
    with pytest.raises(InUse, match="'films' shares requests with 'new'"), db.begin_nested():
        delete_deployment(db, P, "new")
    with pytest.raises(InUse, match="image-classification is another task"), db.begin_nested():
        update_deployment(db, P, "new", "cats")
    shared(db, "films")
    delete_deployment(db, P, "new")


def test_an_arm_that_is_being_deleted_is_not_shared_with_meanwhile(engine: Engine) -> None:
    with transaction(engine) as session:
        recommenders(session, "films", "new")
    with ThreadPoolExecutor(1) as pool:

        def share() -> str:
            with transaction(engine) as session, pytest.raises(TrafficRefused) as refused:
                shared(session, "films", "new")
            return str(refused.value)

        with transaction(engine) as session:
            delete_deployment(session, P, "new")
            waiting = pool.submit(share)
            until(lambda: locks_waited_for(engine) == 1, "the other transaction waits")
        assert waiting.result(20).startswith("There is no deployment 'new'.")


def test_a_model_that_is_being_deleted_is_not_deployed_meanwhile(engine: Engine) -> None:
    with transaction(engine) as session:
        add_version(session, "cats")
    with ThreadPoolExecutor(1) as pool:

        def deploy() -> None:
            with transaction(engine) as session, pytest.raises(ModelNotFound):
                create_deployment(session, P, "live", "cats@1")

        with transaction(engine) as session:
            delete_model(session, P, "cats")
            waiting = pool.submit(deploy)
            until(lambda: locks_waited_for(engine) == 1, "the other transaction waits")
        waiting.result(20)


def locks_waited_for(engine: Engine) -> int:
    with engine.connect() as connection:
        here = "wait_event_type = 'Lock' AND datname = current_database()"
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {here}"
        return int(connection.scalar(text(query)) or 0)
