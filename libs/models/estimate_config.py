"""What an estimate is asked for. Imports no torch: the gateway serves the schema."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from libs.models.catalog import UnknownMethodError, method


class EstimateConfig(BaseModel):
    """Which training to estimate: a method and its hyper-parameters. Data sets and models are those of the job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str = Field(max_length=64, description="A training method.", examples=["frskd"])
    config: dict[str, Any] = Field(default_factory=dict, description="Its hyper-parameters; missing ones: defaults.")

    @field_validator("of")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return method(value).name
        except UnknownMethodError as error:
            raise ValueError(str(error)) from None

    @field_validator("config")
    @classmethod
    def _valid_for_its_method(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "of" in info.data:
            method(info.data["of"]).config.model_validate(value)
        return value

    def parsed(self) -> BaseModel:
        """The hyper-parameters as the method's own class.

        Raises:
            UnknownMethodError: there is no such method.
            pydantic.ValidationError: a value is out of range or unknown.
        """
        return method(self.of).config.model_validate(self.config)
