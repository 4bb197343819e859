"""Workers as they report themselves."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from libs.database.tables import Json, Worker


def report(
    session: Session,
    worker_id: UUID,
    *,
    host: str,
    pid: int,
    version: str,
    queues: Sequence[str],
    devices: Json,
    slots: int,
) -> None:
    """Write the worker's row, or renew it: the worker is alive."""
    row = {"host": host, "pid": pid, "version": version, "queues": list(queues), "devices": devices, "slots": slots}
    write = insert(Worker).values(id=worker_id, **row)
    session.execute(write.on_conflict_do_update(index_elements=["id"], set_={"heartbeat_at": func.clock_timestamp()}))


def unregister(session: Session, worker_id: UUID) -> None:
    """The worker ended in order; its row goes."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def alive(session: Session, within_s: float) -> Sequence[Worker]:
    """Workers heard of in the last `within_s` seconds."""
    recent = func.clock_timestamp() - timedelta(seconds=within_s)
    return session.scalars(select(Worker).where(Worker.heartbeat_at >= recent).order_by(Worker.started_at)).all()


def forget_silent(session: Session, after_s: float) -> int:
    """Delete rows of workers that have not been heard of for `after_s`; how many."""
    old = func.clock_timestamp() - timedelta(seconds=after_s)
    gone = session.scalars(delete(Worker).where(Worker.heartbeat_at < old).returning(Worker.id)).all()
    return len(gone)
