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
    sent: list[outbox.Message] = []
    assert outbox.publish(db, sent.append, limit=2) == 2
    db.commit()
    assert outbox.publish(db, sent.append) == 1
    db.commit()
    assert [(message.job_id, message.queue) for message in sent] == [
        (jobs[0].id, "cpu"),
        (jobs[1].id, "gpu"),
        (jobs[2].id, "cpu"),
    ]
    assert outbox.publish(db, sent.append) == 0


def test_messages_stay_when_the_broker_refuses(engine: Engine, db: Session):
    submitted(db)

    def refuse(message: outbox.Message) -> None:
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
        outbox.publish(slow, lambda message: sent.append(message.job_id), limit=1)
        outbox.publish(db, lambda message: sent.append(message.job_id))
        db.commit()
    assert sent == [first.id, second.id]
