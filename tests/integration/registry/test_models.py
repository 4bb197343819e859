"""Registering and finding model versions, on a real Postgres."""

import math
import threading
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ModelVersion, Project
from libs.registry.aliases import set_alias
from libs.registry.deployments import create_deployment
from libs.registry.errors import AliasNotFound, BadReference, InUse, ModelNotFound, NotReady, VersionNotFound
from libs.registry.models import delete_model, delete_version, find_model, resolve
from libs.serving.bundle import Parity
from tests.support.registry import add_job, add_version, bundle

P = DEFAULT_PROJECT_ID


def test_versions_are_numbered_and_described(db: Session) -> None:
    first, second = add_version(db), add_version(db, metrics={"test/accuracy": 0.5})
    assert [first.version, second.version] == [1, 2]
    assert (second.status, second.metrics, second.method) == ("ready", {"test/accuracy": 0.5}, "supervised")
    assert second.gates["parity"]["passed"]
    with pytest.raises(VersionNotFound, match="newest versions: 1, 2"):
        resolve(db, P, "cats@3")


def test_a_job_has_one_version(db: Session) -> None:
    job = add_job(db)
    first = add_version(db, job_id=job.id)
    again = add_version(db, job_id=job.id)
    assert again.id == first.id
    assert find_model(db, P, "cats").last_version == 1


def test_numbers_are_gapless_under_concurrency(engine: Engine) -> None:
    def register() -> None:
        with transaction(engine) as session:
            add_version(session)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(engine) as session:
        assert sorted(session.scalars(select(ModelVersion.version))) == list(range(1, 9))


def test_one_job_registered_by_two_at_once_has_one_version(engine: Engine) -> None:
    with transaction(engine) as session:
        job = add_job(session)
    found: list[object] = []

    def register() -> None:
        with transaction(engine) as session:
            found.append(add_version(session, job_id=job.id).id)

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    with transaction(engine) as session:
        assert session.scalar(select(func.count()).select_from(ModelVersion)) == 1


@pytest.mark.parametrize(
    "parity",
    [
        None,
        Parity(samples=8, max_abs_diff=1.0, tolerance=1e-4, argmax_disagreements=0, passed=False),
        Parity(samples=8, max_abs_diff=1e-6, tolerance=1e-4, argmax_disagreements=2, passed=True),
        Parity(samples=8, max_abs_diff=1.0, tolerance=1e-4, argmax_disagreements=0, passed=True),
        Parity(samples=8, max_abs_diff=math.nan, tolerance=1e-4, argmax_disagreements=0, passed=True),
        Parity(samples=0, max_abs_diff=0.0, tolerance=1e-4, argmax_disagreements=0, passed=True),
    ],
)
def test_a_version_that_fails_its_parity_gate_is_rejected_and_says_why(db: Session, parity: Parity | None) -> None:
    version = add_version(db, bundle=bundle(parity=parity))
    db.commit()
    assert version.status == "rejected"
    assert version.status_reason is not None
    assert version.status_reason.startswith("parity: ")
    with pytest.raises(NotReady, match="no ready version"):
        resolve(db, P, "cats")
    with pytest.raises(NotReady, match="cats@1 is rejected: parity"):
        resolve(db, P, "cats@1")
    assert resolve(db, P, "cats@1", ready=False).id == version.id


def test_an_imported_graph_has_nothing_to_be_compared_with(db: Session) -> None:
    assert add_version(db, bundle=bundle(parity=None, architecture="onnx")).status == "ready"


def test_a_signature_that_does_not_fit_the_recipe_is_rejected(db: Session) -> None:
    version = add_version(db, bundle=bundle(labels=["a", "b", "c"]))
    assert version.status == "rejected"
    assert "3 labels" in str(version.status_reason)


def test_the_newest_ready_version_is_meant_without_a_suffix(db: Session) -> None:
    add_version(db)
    second = add_version(db)
    add_version(db, bundle=bundle(parity=None))
    assert resolve(db, P, "cats").id == resolve(db, P, "cats@latest").id == second.id
    assert resolve(db, P, "cats@1").version == 1


def test_an_alias_is_followed(db: Session) -> None:
    add_version(db)
    add_version(db)
    set_alias(db, P, "cats", "production", 1)
    assert resolve(db, P, "cats@production").version == 1


def test_what_does_not_exist_is_named_with_what_looks_alike(db: Session) -> None:
    add_version(db, "cats-frskd")
    set_alias(db, P, "cats-frskd", "production", 1)
    with pytest.raises(ModelNotFound, match="Did you mean 'cats-frskd'") as missing:
        resolve(db, P, "cat-frskd")
    assert missing.value.nearest == ["cats-frskd"]
    with pytest.raises(VersionNotFound, match="newest versions: 1"):
        resolve(db, P, "cats-frskd@9")
    with pytest.raises(AliasNotFound, match="Did you mean 'production'"):
        resolve(db, P, "cats-frskd@produktion")
    with pytest.raises(BadReference):
        resolve(db, P, "Cats!")


def test_projects_do_not_see_each_other(db: Session) -> None:
    other = uuid4()
    db.add(Project(id=other, name="other"))
    db.flush()
    add_version(db)
    with pytest.raises(ModelNotFound, match=r"There is no model 'cats'\.$"):
        resolve(db, other, "cats")
    assert add_version(db, project_id=other).version == 1


def test_a_used_version_cannot_be_deleted(db: Session) -> None:
    for _ in range(3):
        add_version(db)
    set_alias(db, P, "cats", "production", 1)
    create_deployment(db, P, "cats", "cats@2")
    with pytest.raises(InUse, match="alias 'production'"):
        delete_version(db, P, "cats", 1)
    with pytest.raises(InUse, match="deployment 'cats'"):
        delete_version(db, P, "cats", 2)
    with pytest.raises(InUse, match="deployed as cats"):
        delete_model(db, P, "cats")
    delete_version(db, P, "cats", 3)
    assert add_version(db).version == 4, "a number is never used again"


def test_a_deleted_model_leaves_its_name_free(db: Session) -> None:
    old = add_version(db)
    delete_model(db, P, "cats")
    db.flush()
    with pytest.raises(ModelNotFound):
        resolve(db, P, "cats")
    new = add_version(db)
    assert (new.version, new.model_id == old.model_id) == (1, False)
