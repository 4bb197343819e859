"""What can be asked of the platform."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class MethodSummary(BaseModel):
    """One training method, or one of the platform's own tasks."""

    name: str = Field(examples=["frskd"])
    kind: Literal["method", "task"]
    title: str
    summary: str
    task: str | None = Field(description="What the trained model does.", examples=["image-classification"])
    data: str | None = Field(description="Kind of data set it takes.", examples=["images"])
    reference: str = Field(description="Where the method was published.")


class MethodDetail(MethodSummary):
    """A method with what it reads and the JSON Schema of its `config`."""

    datasets: list[str] = Field(description="Roles of the data sets it needs.", examples=[["train"]])
    optional_datasets: list[str] = Field(description="Roles of data sets it may be given.", examples=[["unlabelled"]])
    models: list[str] = Field(description="Roles of the models it needs.")
    optional_models: list[str] = Field(description="Roles of models it may be given.", examples=[["init"]])
    beside: list[str] = Field(
        description="Those of `optional_models` whose models are only measured beside the job's own: each recommends "
        "items and was trained by the method that the role is named by.",
        examples=[["gru4rec"]],
    )
    baselines: list[str] = Field(
        description="What `compare` may set it beside: methods that do the same, variants of itself, and of those.",
        examples=[["supervised", "kd"]],
    )
    config_schema: dict[str, Any]
    defaults: dict[str, Any]


class MethodList(BaseModel):
    """Every method and task; there are few, so the list has no pages."""

    items: list[MethodSummary]
