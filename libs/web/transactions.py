"""The transactions of a service that keeps one engine: read-only ones, and those that write; timed as `db`."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import read_only, transaction
from libs.web.timing import span


class Transactions:
    """Mixed into what a service holds open, beside its `engine`."""

    __slots__ = ()
    engine: Engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session in a read-only transaction: a write in it is an error of Postgres."""
        with span("db"), read_only(self.engine) as opened:
            yield opened

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose transaction is committed when the block ends, rolled back when it raises."""
        with span("db"), transaction(self.engine) as opened:
            yield opened
