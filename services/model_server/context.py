"""What one model server process holds, and how routes get at it."""

from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Request

from libs.serving.classifier import LoadedClassifier
from libs.serving.deployments.runtime import Runtime
from services.model_server.settings import ModelServerSettings


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one process; `decoding` bounds how many pictures are in memory at a time."""

    settings: ModelServerSettings
    runtime: Runtime[LoadedClassifier]
    decoding: anyio.CapacityLimiter


async def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


Srv = Annotated[Server, Depends(_server)]
