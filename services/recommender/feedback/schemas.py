"""What became of recommendations, over HTTP."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.recommender.ids import Id

Items = Annotated[list[Id], Field(max_length=1000)]


class FeedbackReport(BaseModel):
    """What a user saw and did of one answer. Sent again, or in parts, nothing is counted twice."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "request_id": "3f0c1e6d-0d6f-4a7c-9d1f-8f6f0a4b2c1d",
                "impressions": ["1193", "661"],
                "clicks": ["661"],
            }
        },
    )

    request_id: UUID = Field(description="Of the answer with the recommendations.")
    impressions: Items = Field(default=[], description="Item ids that were shown.")
    clicks: Items = Field(default=[], description="Item ids that were clicked; they count as shown too.")
    conversions: Items = Field(default=[], description="Item ids that were bought, played …; they count as shown too.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.impressions or self.clicks or self.conversions):
            raise ValueError("Give impressions, clicks or conversions.")
        return self


class FeedbackTaken(BaseModel):
    """What became of the feedback; it is stored when this answer comes."""

    recorded: int = Field(description="Impressions, clicks and conversions that are new.", examples=[3])
    duplicates: int = Field(description="Those that were known.", examples=[0])


class Rate(BaseModel):
    """A share of counted things, with the Wilson interval that holds the true share with 95 % confidence."""

    value: float | None = Field(description="null: there is nothing to count yet.", examples=[0.125])
    low: float | None = Field(examples=[0.118])
    high: float | None = Field(examples=[0.132])
    count: int = Field(description="How many did.", examples=[1000])
    of: int = Field(description="Of how many.", examples=[8000])


class OnlineMetrics(BaseModel):
    """How the answers of one version, or of one variant of a deployment, were taken."""

    requests: int = Field(description="Answers that were written down.", examples=[900])
    ctr: Rate = Field(description="Clicked items of shown items.")
    conversion_rate: Rate = Field(description="Converted items of shown items.")
    hit_rate: Rate = Field(description="HR@k: answers with a click in the first k, of answers that were shown.")
    items_shown: int = Field(description="Different items that were shown.", examples=[412])


class VersionMetrics(OnlineMetrics):
    """Of one version of a model."""

    model: str = Field(examples=["shop-hcrnn"])
    version: int = Field(examples=[3])
    coverage: float | None = Field(
        description="Different items shown, of the items the version knows; null: the version was deleted.",
        examples=[0.24],
    )


class VariantMetrics(OnlineMetrics):
    """Of one arm and alias under one deployment: two of them are what an A/B test compares."""

    deployment: str = Field(description="That was asked.", examples=["shop"])
    arm: str = Field(description="The deployment that answered.", examples=["shop"])
    stands_in_for: str | None = Field(
        description="The arm that should have answered, and was not loaded: these answers belong to neither."
    )
    model: str = Field(examples=["shop-hcrnn"])
    variant: str = Field(description="The alias; empty: a deployment of one fixed version.", examples=["champion"])


class FeedbackSummary(BaseModel):
    """Online metrics of a model or of a deployment."""

    model: str | None = Field(description="Whose answers these are; null: a deployment's.", examples=["shop-hcrnn"])
    deployment: str | None = Field(description="The deployment that was asked; null: any.")
    days: int = Field(description="Answers of the last so many days.", examples=[30])
    k: int = Field(description="Of HR@k.", examples=[10])
    versions: list[VersionMetrics]
    variants: list[VariantMetrics]
