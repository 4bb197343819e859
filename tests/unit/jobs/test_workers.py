"""Which workers are alive."""

from uuid import uuid4

from sqlalchemy import update
from sqlalchemy.orm import Session

from libs.database.tables import Worker
from libs.jobs import workers


def test_worker_is_alive_while_it_reports(db: Session):
    worker_id = uuid4()
    row = {"host": "h", "pid": 1, "version": "1", "queues": ["cpu"], "devices": {"gpus": []}, "slots": 1}
    workers.report(db, worker_id, **row)
    workers.report(db, worker_id, **row)
    assert [worker.id for worker in workers.alive(db, 60)] == [worker_id]
    db.execute(update(Worker).values(heartbeat_at="2000-01-01T00:00:00Z"))
    assert workers.alive(db, 60) == []
    workers.report(db, worker_id, **row)
    assert workers.forget_silent(db, 60) == 0
    workers.unregister(db, worker_id)
    assert workers.alive(db, 60) == []
