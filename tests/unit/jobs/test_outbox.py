"""The outbox: oldest first, each row published at least once, gone when it was."""

from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import Outbox
from libs.jobs import outbox
from tests.support.specs import submitted

pytestmark = pytest.mark.every_postgres


def test_messages_go_out_in_order_with_their_queue_and_are_gone(db: Session):
    jobs = [submitted(db), submitted(db, resources={"queue": "gpu"}), submitted(db)]
    sent: list[tuple[UUID, str]] = []
    assert outbox.publish(db, lambda job_id, queue: sent.append((job_id, queue)), limit=2) == 2
    db.commit()
    assert outbox.publish(db, lambda job_id, queue: sent.append((job_id, queue))) == 1
    db.commit()
    assert sent == [(jobs[0].id, "cpu"), (jobs[1].id, "gpu"), (jobs[2].id, "cpu")]
    assert outbox.publish(db, lambda job_id, queue: sent.append((job_id, queue))) == 0


def test_messages_stay_when_the_broker_refuses(engine: Engine, db: Session):
    submitted(db)

    def refuse(job_id: UUID, queue: str) -> None:
        raise ConnectionError

    def publish() -> None:
        with transaction(engine) as session:
            outbox.publish(session, refuse)

    with pytest.raises(ConnectionError):
        publish()
    assert db.scalar(select(func.count()).select_from(Outbox)) == 1


def test_two_relays_share_the_messages(engine: Engine, db: Session):
    first, second = submitted(db), submitted(db)
    sent: list[UUID] = []
    with transaction(engine) as slow:
        outbox.publish(slow, lambda job_id, queue: sent.append(job_id), limit=1)
        outbox.publish(db, lambda job_id, queue: sent.append(job_id))
        db.commit()
    assert sent == [first.id, second.id]
