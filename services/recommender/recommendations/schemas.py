"""Recommendations over HTTP."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from libs.jobs.names import Name
from libs.serving.recommendation.filters import MOST_CHARS, MOST_VALUES
from libs.serving.recommendation.request import MOST_CANDIDATES, MOST_EVENTS, MOST_ITEMS, ComparedBy, Explain, Fallback
from libs.web.field_errors import names_in
from libs.web.problems import FieldProblem, UnprocessableError, validation_problem
from services.recommender.events.schemas import EventType
from services.recommender.ids import Id
from services.recommender.times import Timestamp

MOST_REQUESTS, MOST_APPENDED = 256, 100
_VALUE = [{"type": "string", "maxLength": MOST_CHARS}, {"type": "number"}, {"type": "boolean"}]
_VALUES = {"type": "array", "items": {"anyOf": _VALUE}, "maxItems": MOST_VALUES}
# Whether a value is one that its feature is compared with the engine says, for it knows the feature.
FilterValue = Annotated[Any, WithJsonSchema({"anyOf": [*_VALUE, _VALUES]})]
Filters = Annotated[dict[str, dict[str, FilterValue]], Field(max_length=32)]
K = Annotated[int, Field(strict=True, ge=1, le=MOST_ITEMS, description="How many items.")]
Deployment = Annotated[Name, Field(description="A deployment of a model that recommends.", examples=["films"])]
WantedFilters = Annotated[
    Filters | None,
    Field(
        description="Conditions on item features; all must hold: `<` `<=` `>` `>=` of numbers; `in` `not_in` of "
        "whole values; `has` `has_all` `has_not` of texts that hold several, as `Action|Comedy`; `missing`.",
        examples=[{"genres": {"has": ["Comedy", "Drama"]}, "price": {"<=": 10}}],
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RawEvent(_Strict):
    """One event of a history that is sent along and not kept."""

    item_id: Id
    timestamp: AwareDatetime | None = Field(default=None, description="ISO 8601 with its offset, or Unix seconds.")
    type: EventType | None = Field(default=None, description="Taken and not used: models read the items alone.")


class RawHistory(_Strict):
    """What somebody did, sent along with the request."""

    events: list[RawEvent] | None = Field(
        default=None,
        max_length=MOST_EVENTS,
        description="Oldest first; sorted by `timestamp` when every event has one.",
    )
    items: list[Id] | None = Field(default=None, max_length=MOST_EVENTS, description="Item ids alone, oldest first.")


class Assigned(_Strict):
    """What decides which deployment answers, where several share requests."""

    model: Deployment
    assign_by: Id | None = Field(
        default=None,
        description="Where deployments share requests (an A/B test): who is asked for, when that is neither `user_id` "
        "nor `session_id`. The same text is answered by the same deployment. Not kept.",
    )

    @property
    def who(self) -> str | None:
        """Who is asked for; None: nobody is named."""
        return self.assign_by


class Asked(RawHistory, Assigned):
    """Whose next items: of a user or a session whose events Octavo has, or of a history sent along."""

    user_id: Id | None = None
    session_id: Id | None = None

    @property
    def who(self) -> str | None:
        """Who is asked for; None: nobody is named."""
        return self.assign_by or self.user_id or self.session_id

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if len(self._given) > 1:
            raise ValueError(f"Give one of user_id, session_id, events and items, not {' and '.join(self._given)}.")
        return self

    @property
    def pointer(self) -> str:
        """JSON pointer to where the history came from."""
        return f"/{self._given[0]}" if self._given else ""

    @property
    def _given(self) -> list[str]:
        return [name for name in ("user_id", "session_id", "events", "items") if getattr(self, name) is not None]


class AppendedEvent(_Strict):
    """An event of the session that is asked for, stored before the answer as `POST /v1/events` stores it."""

    item_id: Id
    user_id: Id | None = Field(default=None, description="Whose history it belongs to beside the session's.")
    type: EventType = "view"
    timestamp: Timestamp | None = Field(default=None, description="The time of arrival when left out.")
    event_id: Id | None = Field(
        default=None, description="Names this event in the project: sent again, it is not counted again."
    )


class RecommendationRequest(Asked):
    """Which items should come next?"""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"model": "films", "items": ["f17", "f4"], "k": 5, "explain": "basic", "exclude_items": ["f5"]}
        }
    )

    k: K = 10
    append: list[AppendedEvent] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_APPENDED,
        description="With `session_id`: what has just happened in it. Stored first, also when the rest of the request "
        "is refused then; the answer knows it. Needs the scope `events:write`, too. Not in a batch.",
    )
    exclude_seen: bool | None = Field(
        default=None,
        strict=True,
        description="Whether items of the history are left out; by default as the model was made.",
    )
    exclude_items: list[Id] = Field(default=[], max_length=MOST_CANDIDATES, description="Further items to leave out.")
    filters: WantedFilters = None
    diversity: float = Field(
        default=0.0,
        strict=True,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 ranks by score alone, 1 by unlikeness.",
    )
    explain: Explain = "none"
    fallback: Fallback = Field(
        default="similar",
        description="What answers when no item of the history had events in training. `similar`: the items most like "
        "the newest of the history whose features are known, by features; where there is none, what is `popular`.",
    )

    @model_validator(mode="after")
    def _appends_to_a_session(self) -> Self:
        if self.append is not None and self.session_id is None:
            raise ValueError("`append` needs `session_id`; send events of users alone to /v1/events.")
        return self


@dataclass(frozen=True, slots=True)
class WrongRequest:
    """A request of a batch that does not fit its schema."""

    problem: UnprocessableError


def _request_or_wrong(value: Any) -> RecommendationRequest | WrongRequest:
    try:
        request = RecommendationRequest.model_validate(value)
    except ValidationError as error:
        return WrongRequest(validation_problem(error, names=names_in(RecommendationRequest)))
    if request.append is not None:
        field = FieldProblem(pointer="/append", message="A batch appends nothing; send its events to /v1/events first.")
        return WrongRequest(UnprocessableError(field.message, errors=[field]))
    return request


BatchItem = Annotated[
    RecommendationRequest | WrongRequest,
    PlainValidator(_request_or_wrong, json_schema_input_type=RecommendationRequest),
]


class BatchRequest(_Strict):
    """Several requests at once."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"requests": [{"model": "films", "items": ["f17"]}, {"model": "films"}]}}
    )

    requests: list[BatchItem] = Field(min_length=1, max_length=MOST_REQUESTS)


class SimilarRequest(Assigned):
    """Which items are like this one?"""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "films", "item_id": "f17", "k": 5}})

    item_id: Id
    k: K = 10
    filters: WantedFilters = None


class ScoreRequest(Asked):
    """How well does each of these items come next?"""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "films", "items": ["f17", "f4"], "candidates": ["f2", "f9"]}}
    )

    candidates: list[Id] = Field(min_length=1, max_length=MOST_CANDIDATES)


class Reason(BaseModel):
    """An item of the history that speaks for a recommended one."""

    item_id: str
    users_together: int = Field(description="Training users who had both.")
    similarity: float = Field(description="Cosine of the two items' vectors; with `features` their likeness, 0 to 1.")
    features: dict[str, float] | None = Field(
        default=None,
        description="Of the strategy `similar`: what the two have in common, 0 to 1 by feature.",
        examples=[{"genres": 0.5, "year": 0.96}],
    )


class Item(BaseModel):
    """One item of an answer."""

    item_id: str
    score: float = Field(description="Comparable within one answer only.")
    rank: int = Field(description="From 1.")
    reasons: list[Reason] | None = Field(default=None, description="Strongest first; of `explain` basic and full.")


class ModelReading(BaseModel):
    """What the model tells about its reading of the history, of `explain` full."""

    history: list[str] = Field(description="The n items it read, oldest first.")
    tensors: dict[str, Any] = Field(description="By name, nested lists; [n, ...] where it is by event.")


class _Answered(BaseModel):
    arm: str = Field(
        description="The deployment that answered: the one asked, or one that it shares requests with.",
        examples=["films"],
    )
    stands_in_for: str | None = Field(
        default=None, description="The deployment that should have answered, and is not loaded."
    )
    model: str = Field(description="The model whose version answered.", examples=["films-hcrnn"])
    version: int
    digest: str = Field(description="SHA-256 of the version's bundle.")
    strategy: Literal["model", "popular", "similar"] = Field(
        description="What answered: the model, likeness to one item, or what is popular."
    )
    items: list[Item] = Field(description="Best first.")


class Recommendation(_Answered):
    """The next items."""

    request_id: UUID = Field(description="For feedback, and for the explanation later.")
    unknown_items: int = Field(description="Entries of the history that the model does not know.")
    explanation: ModelReading | None = None


class BatchProblem(BaseModel):
    """Why one request of a batch has no answer."""

    status: int
    code: str
    detail: str
    errors: list[FieldProblem] | None = Field(default=None, description="What is wrong; pointers into this request.")


class BatchAnswer(BaseModel):
    """One of the two."""

    result: Recommendation | None = None
    problem: BatchProblem | None = None


class BatchAnswers(BaseModel):
    """In the order of the requests."""

    answers: list[BatchAnswer]


class Similar(_Answered):
    """Items like one."""

    by: ComparedBy = Field(
        description="What was compared: `vectors` of the model; `features` where the item had no events in training."
    )


class Scores(_Answered):
    """The candidates, best first; those the model does not know stand in `unknown_candidates`."""

    unknown_items: int
    unknown_candidates: list[str]
