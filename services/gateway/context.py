"""What one gateway process holds, and how routes get at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import session, transaction
from libs.registry.artifacts import ArtifactStore
from libs.web.timing import span
from libs.web.wakeups import Wakeups
from services.gateway.inference.proxy import Upstream
from services.gateway.keys.repository import PostgresKeys
from services.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Gateway:
    """The connections of one process."""

    settings: GatewaySettings
    engine: Engine
    store: ArtifactStore
    wakeups: Wakeups
    model_server: Upstream
    recommender: Upstream
    keys: PostgresKeys

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session in a read-only transaction: a write in it is an error of Postgres."""
        readonly = self.engine.execution_options(postgresql_readonly=True)
        with span("db"), session(readonly) as opened, opened.begin():
            yield opened

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose transaction is committed when the block ends, rolled back when it raises."""
        with span("db"), transaction(self.engine) as opened:
            yield opened


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


Gw = Annotated[Gateway, Depends(_gateway)]
