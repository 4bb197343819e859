"""Recommendations, events and feedback, answered by the recommender: one address and one key do"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Security
from fastapi import Request as HttpRequest
from starlette.responses import StreamingResponse

from libs.web.auth import Caller, Scope, authenticate
from libs.web.paging import CursorText, Limit
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.inference.proxy import forward
from services.gateway.inference.recommendation_examples import REQUESTS

router = Router(tags=["recommendations"])
Infers = Annotated[Caller, Security(authenticate, scopes=[Scope.INFER])]
WritesEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_WRITE])]
ReadsEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_READ])]
ErasesEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_ERASE])]
_DOWN = (502, 503, 504)
_PROBLEMS = responses(404, 413, 415, *_DOWN)


SomeId = Annotated[str, Path(min_length=1, max_length=200, examples=["u42"])]


async def _user(user_id: SomeId) -> None:
    """Declares the path parameter of routes that only pass it on."""


async def _session(session_id: SomeId) -> None:
    """Declares the path parameter of routes that only pass it on."""


async def _page(cursor: CursorText = None, limit: Limit = 50) -> None:
    """Declares the query parameters of a route that only passes them on."""


async def _summed(
    model: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Answers of this model, under any deployment.")
    ] = None,
    deployment: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            description="What this deployment was asked, whichever arm answered.",
            examples=["films"],
        ),
    ] = None,
    days: Annotated[int, Query(ge=1, le=366, description="Answers of the last so many days.")] = 30,
    k: Annotated[int, Query(ge=1, le=200, description="Of HR@k.")] = 10,
) -> None:
    """Declares the query parameters of a route that only passes them on."""


async def _request(request_id: UUID) -> None:
    """Declares the path parameter of a route that only passes it on."""


_OF_USER, _OF_SESSION, _PAGED = Depends(_user), Depends(_session), Depends(_page)


def _body(route: str) -> dict[str, Any]:
    content = {"schema": {"type": "object"}, "example": REQUESTS[route]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


@router.post("/v1/recommendations", responses=_PROBLEMS, openapi_extra=_body("recommend"))
async def recommend(_: Infers, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """The best next items for a user, a session, or events sent along, of whoever: trained on or not.

    `strategy` says what answered: the model, or the fallback where no item of the history that the model
    reads had events in training.
    """
    return await forward(gateway.recommender, request)


@router.post("/v1/recommendations/batch", responses=_PROBLEMS, openapi_extra=_body("recommend_batch"))
async def recommend_batch(_: Infers, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Recommendations for many at once, each with its own answer or its own error."""
    return await forward(gateway.recommender, request)


@router.get(
    "/v1/recommendations/{request_id}/explanation", dependencies=[Depends(_request)], responses=responses(404, *_DOWN)
)
async def explain_request(_: ReadsEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """What was answered to an earlier request, and why."""
    return await forward(gateway.recommender, request)


@router.post("/v1/similar", responses=_PROBLEMS, openapi_extra=_body("similar"))
async def similar(_: Infers, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Items that a model holds for alike."""
    return await forward(gateway.recommender, request)


@router.post("/v1/score", responses=_PROBLEMS, openapi_extra=_body("score"))
async def score(_: Infers, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Order candidates of yours by how well they come next."""
    return await forward(gateway.recommender, request)


@router.post("/v1/events", responses=_PROBLEMS, openapi_extra=_body("post_events"))
async def post_events(_: WritesEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Tell what users did; an event told twice counts once."""
    return await forward(gateway.recommender, request)


@router.post("/v1/feedback", responses=_PROBLEMS, openapi_extra=_body("post_feedback"))
async def post_feedback(_: WritesEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Tell which recommended items were shown, clicked and bought."""
    return await forward(gateway.recommender, request)


@router.get("/v1/feedback/summary", dependencies=[Depends(_summed)], responses=responses(404, *_DOWN))
async def feedback_summary(_: ReadsEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Online metrics: CTR, conversions, HR@k and coverage, by version and by variant (the arms of an A/B test).

    Of one: a `model` under any deployment, or a `deployment` with all arms that it shares its requests with.
    """
    return await forward(gateway.recommender, request)


@router.get("/v1/users/{user_id:path}/history", dependencies=[_OF_USER, _PAGED], responses=responses(*_DOWN))
async def user_history(_: ReadsEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """What a user did, newest first."""
    return await forward(gateway.recommender, request)


@router.delete(
    "/v1/users/{user_id:path}/history", status_code=204, dependencies=[_OF_USER], responses=responses(*_DOWN)
)
async def erase_user(_: ErasesEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Erase a user: events, sessions, recommendations and feedback, at once and for good."""
    return await forward(gateway.recommender, request)


@router.get("/v1/sessions/{session_id:path}/history", dependencies=[_OF_SESSION, _PAGED], responses=responses(*_DOWN))
async def session_history(_: ReadsEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """What was done in a session, newest first."""
    return await forward(gateway.recommender, request)


@router.delete(
    "/v1/sessions/{session_id:path}/history", status_code=204, dependencies=[_OF_SESSION], responses=responses(*_DOWN)
)
async def erase_session(_: ErasesEvents, gateway: Gw, request: HttpRequest) -> StreamingResponse:
    """Erase a session: its events, of whatever user, its recommendations and their feedback."""
    return await forward(gateway.recommender, request)
