"""What an estimate is asked for. Imports no torch: the gateway serves the schema."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.models.catalog import UnknownMethodError, method


class EstimateConfig(BaseModel):
    """Which training to estimate: a method and its hyper-parameters. Data sets and models are those of the job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str = Field(max_length=64, description="A training method.", examples=["frskd"])
    config: dict[str, Any] = Field(default_factory=dict, description="Its hyper-parameters; missing ones: defaults.")

    @model_validator(mode="after")
    def _valid_for_its_method(self) -> Self:
        try:
            self.parsed()
        except UnknownMethodError as error:
            raise ValueError(str(error)) from None
        return self

    def parsed(self) -> BaseModel:
        """The hyper-parameters as the method's own class.

        Raises:
            UnknownMethodError: there is no such method.
            pydantic.ValidationError: a value is out of range or unknown.
        """
        return method(self.of).config.model_validate(self.config)
