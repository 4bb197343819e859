"""What an update of a recommender is asked for. Imports no torch: the gateway serves the schema."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from libs.models.catalog import method
from libs.models.sequences.config import SequenceTrainingConfig

_START = {"schedule": "constant", "max_steps": None}


class UpdateConfig(BaseModel):
    """How a recommender goes on with newer events. All defaults are ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=5, ge=1, le=1000, description="Passes over the training windows of the newer events.")
    lr_share: float = Field(default=0.1, gt=0, le=10, description="Learning rate as a share of the parent's.")
    freeze: Literal["none", "backbone"] = Field(
        default="none", description="backbone: train only the vectors of items that the parent does not know."
    )
    figure: Literal["ndcg@10", "hr@10", "mrr@20", "hr@20"] | None = Field(
        default=None, description="What parent and child are compared by. Empty: what the parent's training monitored."
    )
    tolerance: float = Field(
        default=0.02, ge=0, le=1, description="Share of the parent's figure that the child may lose without rejection."
    )
    promote: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = Field(
        default=None,
        description="Alias that is moved to the new version when it is ready and the alias is at the parent, or is not "
        "there yet. Empty: none.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Hyper-parameters that differ from the parent's; they win over epochs, lr_share and freeze.",
    )

    def of_parent(self, name: str, parent: Mapping[str, Any]) -> SequenceTrainingConfig:
        """The hyper-parameters of the parent's method, changed as asked.

        Args:
            name: of the parent's method. parent: its hyper-parameters.

        Raises:
            UnknownMethodError: there is no such method.
            pydantic.ValidationError: a value is out of range or unknown.
        """
        kind = method(name).config
        rate = float(parent.get("lr", kind.model_fields["lr"].default)) * self.lr_share
        changes = {**_START, "epochs": self.epochs, "lr": rate, "freeze": self.freeze, **self.config}
        if changes["freeze"] == "backbone":
            changes = {"weight_decay": 0.0, **changes}
        config = kind.model_validate({**parent, **changes})
        assert isinstance(config, SequenceTrainingConfig)
        return config
