"""What the registry tells inference services that listen; delivered by Postgres when the transaction commits."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

DEPLOYMENTS_CHANNEL = "octavo_deployments"
"""NOTIFY channel; payload: id of the deployment that was made, changed or deleted."""
ALIASES_CHANNEL = "octavo_aliases"
"""NOTIFY channel; payload: id of the model one of whose aliases moved."""

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


def notify_deployments(session: Session, deployment_id: UUID) -> None:
    """Tell that a deployment was made, changed or deleted."""
    session.execute(_NOTIFY, {"channel": DEPLOYMENTS_CHANNEL, "payload": str(deployment_id)})


def notify_aliases(session: Session, model_id: UUID) -> None:
    """Tell that an alias of a model moved."""
    session.execute(_NOTIFY, {"channel": ALIASES_CHANNEL, "payload": str(model_id)})
