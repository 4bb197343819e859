"""What one model server process holds, and how routes get at it."""

from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Request
from sqlalchemy import Engine

from libs.serving.repository import ModelRepository
from services.model_server.settings import ModelServerSettings
from services.model_server.sync import Syncer


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one process; `decoding` bounds how many pictures are in memory at a time."""

    settings: ModelServerSettings
    engine: Engine
    models: ModelRepository
    syncer: Syncer
    decoding: anyio.CapacityLimiter


async def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


Srv = Annotated[Server, Depends(_server)]
