"""Which deployments may share their requests with which; see `DeploymentSettings.traffic`. Never commits."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from libs.database.tables import Deployment, ModelAlias, ModelVersion
from libs.registry.errors import InUse, TrafficRefused, nearest_names

SHARED_TASK = "next-item"
"""The task whose deployments may share requests: its service is the one that chooses an arm."""


def lock_traffic(session: Session, project_id: UUID) -> None:
    """Let no other transaction change who shares requests with whom in a project, until this one ends."""
    digest = hashlib.sha256(f"traffic:{project_id}".encode()).digest()
    session.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], signed=True))))


def check_traffic(session: Session, row: Deployment) -> None:
    """Refuse what a deployment may not share; the lock is held.

    Raises:
        TrafficRefused: it names itself or no deployment, one side is no recommender, or an arm would share in turn.
    """
    traffic, others = _traffic(row), _others(session, row)
    if not traffic:
        return
    if (task := _task(session, row)) != SHARED_TASK:
        raise TrafficRefused(f"Only deployments of recommenders share requests; this one's model does {task}.")
    if senders := _senders(row, others):
        raise TrafficRefused(f"It gets requests of {_listed(senders)} itself, and no request is passed on twice.")
    by_name = {one.name: one for one in others}
    for name in traffic:
        if name == row.name:
            raise TrafficRefused("A deployment answers the rest itself; name others alone.", name)
        if name not in by_name:
            hint = _hint(name, list(by_name))
            raise TrafficRefused(f"There is no deployment {name[:80]!r}.{hint}", name)
        if _traffic(by_name[name]):
            raise TrafficRefused(f"{name!r} shares its requests itself, and no request is passed on twice.", name)
        if (task := _task(session, by_name[name])) != SHARED_TASK:
            raise TrafficRefused(f"{name!r} is no recommender; its model does {task}.", name)


def check_stays_an_arm(session: Session, row: Deployment) -> None:
    """Refuse to point a deployment elsewhere when others share with it and it would be no recommender any more.

    Raises:
        InUse: that is so.
    """
    senders = _senders(row, _others(session, row))
    if senders and (task := _task(session, row)) != SHARED_TASK:
        raise InUse(f"{_listed(senders)} shares requests with {row.name!r}, and {task} is another task.")


def check_is_no_arm(session: Session, row: Deployment) -> None:
    """Refuse to delete a deployment that others share their requests with; the lock is held.

    Raises:
        InUse: some do; the message names them.
    """
    if senders := _senders(row, _others(session, row)):
        raise InUse(f"{_listed(senders)} shares requests with {row.name!r}. Take it out of that traffic first.")


def _others(session: Session, row: Deployment) -> Sequence[Deployment]:
    query = select(Deployment).where(Deployment.project_id == row.project_id, Deployment.name != row.name)
    return session.scalars(query.order_by(Deployment.name)).all()


def _senders(row: Deployment, others: Sequence[Deployment]) -> list[str]:
    return [one.name for one in others if row.name in _traffic(one)]


def _traffic(row: Deployment) -> dict[str, float]:
    traffic: dict[str, float] = row.settings.get("traffic", {})
    return traffic


def _task(session: Session, row: Deployment) -> str | None:
    """Of the version it should serve; of the model's newest where its alias is gone."""
    follows = select(ModelAlias.version_id).where(ModelAlias.model_id == row.model_id, ModelAlias.alias == row.alias)
    target = row.version_id or session.scalar(follows)
    versions = select(ModelVersion.task).order_by(ModelVersion.version.desc()).limit(1)
    of = ModelVersion.id == target if target else ModelVersion.model_id == row.model_id
    return session.scalar(versions.where(of))


def _hint(name: str, names: Sequence[str]) -> str:
    nearest = nearest_names(name, names)
    return f" Did you mean {' or '.join(repr(one) for one in nearest)}?" if nearest else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names)
