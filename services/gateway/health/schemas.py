"""Health over HTTP."""

from pydantic import BaseModel, Field


class Live(BaseModel):
    """The process answers."""

    status: str = "live"


class Ready(BaseModel):
    """The process can do its work."""

    status: str = "ready"
    schema_revision: str = Field(description="Migration of the database.")


class Version(BaseModel):
    """What is running."""

    version: str = Field(examples=["0.1.0"])
    python: str = Field(examples=["3.11.7"])
    schema_revision: str = Field(description="Migration this code wants.")
