"""What one gateway process holds, and how routes get at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from libs.registry.artifacts import ArtifactStore
from libs.web.transactions import Transactions
from libs.web.wakeups import Wakeups
from services.gateway.inference.proxy import Upstream
from services.gateway.keys.repository import PostgresKeys
from services.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Gateway(Transactions):
    """The connections of one process."""

    settings: GatewaySettings
    engine: Engine
    store: ArtifactStore
    wakeups: Wakeups
    model_server: Upstream
    recommender: Upstream
    keys: PostgresKeys


def gateway_of(request: Request) -> Gateway:
    """What the process that answers `request` holds."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _gateway(request: Request) -> Gateway:
    return gateway_of(request)


Gw = Annotated[Gateway, Depends(_gateway)]
