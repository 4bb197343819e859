"""Aliases with revisions, on a real Postgres."""

import threading

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.aliases import delete_alias, get_alias, list_aliases, promote, set_alias
from libs.registry.deployments import create_deployment
from libs.registry.errors import AliasConflict, AliasNotFound, BadReference, InUse, NotReady, VersionNotFound
from libs.registry.models import find_model
from libs.registry.notify import ALIASES_CHANNEL
from tests.support.registry import add_version, bundle

P = DEFAULT_PROJECT_ID


def test_the_revision_grows_with_every_move(db: Session) -> None:
    add_version(db)
    add_version(db)
    assert set_alias(db, P, "cats", "production", 1).revision == 1
    assert set_alias(db, P, "cats", "production", 2, expected_revision=1).revision == 2
    alias, version = get_alias(db, P, "cats", "production")
    assert (alias.revision, version.version) == (2, 2)
    assert [(row.alias, number) for row, number in list_aliases(db, find_model(db, P, "cats"))] == [("production", 2)]


def test_a_stale_writer_is_refused(db: Session) -> None:
    add_version(db)
    set_alias(db, P, "cats", "production", 1)
    with pytest.raises(AliasConflict, match="revision 7, but it is at revision 1") as conflict:
        set_alias(db, P, "cats", "production", 1, expected_revision=7)
    assert conflict.value.revision == 1
    with pytest.raises(AliasConflict, match="not to exist"):
        set_alias(db, P, "cats", "production", 1, expected_revision=None)
    with pytest.raises(AliasConflict, match="does not exist"):
        set_alias(db, P, "cats", "new", 1, expected_revision=1)


def test_an_alias_is_promoted_from_the_parent_alone(db: Session) -> None:
    parent, child, other = add_version(db), add_version(db), add_version(db)
    assert promote(db, child, "production", parent.digest) is None
    assert get_alias(db, P, "cats", "production")[1].version == child.version
    assert promote(db, other, "production", parent.digest) == "production is at cats@2, not at the parent"
    assert get_alias(db, P, "cats", "production")[1].version == child.version
    assert promote(db, other, "production", child.digest) is None
    assert get_alias(db, P, "cats", "production")[1].version == other.version


def test_a_rejected_version_is_not_promoted(db: Session) -> None:
    parent, rejected = add_version(db), add_version(db, bundle=bundle(parity=None))
    set_alias(db, P, "cats", "production", 1)
    assert str(promote(db, rejected, "production", parent.digest)).startswith("the version is rejected: parity: ")
    assert get_alias(db, P, "cats", "production")[1].version == 1


def test_of_two_writers_at_one_revision_one_wins(engine: Engine) -> None:
    with transaction(engine) as session:
        add_version(session)
        set_alias(session, P, "cats", "production", 1)
    results: list[str] = []

    def move() -> None:
        try:
            with transaction(engine) as session:
                set_alias(session, P, "cats", "production", 1, expected_revision=1)
            results.append("moved")
        except AliasConflict:
            results.append("refused")

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["moved", "refused", "refused", "refused"]


def test_only_ready_versions_get_an_alias(db: Session) -> None:
    add_version(db, bundle=bundle(parity=None))
    with pytest.raises(NotReady, match="rejected"):
        set_alias(db, P, "cats", "production", 1)
    with pytest.raises(VersionNotFound):
        set_alias(db, P, "cats", "production", 5)
    add_version(db)
    with pytest.raises(BadReference):
        set_alias(db, P, "cats", "12", 2)


def test_deleting(db: Session) -> None:
    add_version(db)
    set_alias(db, P, "cats", "production", 1)
    create_deployment(db, P, "live", "cats@production")
    with pytest.raises(InUse, match="live"):
        delete_alias(db, P, "cats", "production")
    set_alias(db, P, "cats", "spare", 1)
    with pytest.raises(AliasConflict):
        delete_alias(db, P, "cats", "spare", expected_revision=4)
    delete_alias(db, P, "cats", "spare", expected_revision=1)
    with pytest.raises(AliasNotFound):
        delete_alias(db, P, "cats", "spare")


def test_a_move_is_announced_when_it_is_committed(engine: Engine, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as listener:
        listener.execute(f"LISTEN {ALIASES_CHANNEL}".encode())
        with transaction(engine) as session:
            model_id = add_version(session).model_id
            set_alias(session, P, "cats", "production", 1)
            assert list(listener.notifies(timeout=0)) == []
        heard = next(listener.notifies(timeout=20, stop_after=1))
    assert heard.payload == str(model_id)
