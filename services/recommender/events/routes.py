"""POST /v1/events"""

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from libs.web.body import read_body
from libs.web.problems import responses
from libs.web.routing import Router
from services.recommender.access import WritesEvents
from services.recommender.events import service
from services.recommender.events.reading import NDJSON
from services.recommender.events.schemas import Event, Ingested
from services.recommender.memory import Mem

router = Router(prefix="/v1/events", tags=["events"])
_EVENT = Event.model_json_schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1}]},
                "example": [_EVENT["example"]],
            },
            NDJSON[0]: {"schema": {"type": "string"}},
        },
    }
}


@router.post("", responses=responses(413, 415, 503), openapi_extra=_BODY)
async def post_events(request: Request, caller: WritesEvents, memory: Mem) -> Ingested:
    """Tell what users did: one event, a list of events, or one event a line as `application/x-ndjson`.

    All events of a request are stored, or none. An event whose `event_id` was stored before is not counted again, so
    a request whose answer was lost may be sent again. The next recommendation for the session knows these events.
    """
    content = await read_body(request, memory.settings.max_events_bytes)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return await run_in_threadpool(service.ingest, memory, caller.project_id, content, media_type)
