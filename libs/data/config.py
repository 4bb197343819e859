"""Options of data-set validation. Imports no torch, no numpy."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class EventOptions(BaseModel):
    """How tables of events (who met which item when) are read, filtered and split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_column: ColumnName | None = Field(default=None, description="Recognised by its usual names when left out.")
    item_column: ColumnName | None = Field(default=None, description="Likewise; also of the file of item features.")
    time_column: ColumnName | None = Field(default=None, description="Likewise: numbers since 1970, or ISO 8601.")
    type_column: ColumnName | None = Field(default=None, description="Likewise; need not exist.")
    header: bool = Field(default=True, description="Text files begin with column names; else these are 1, 2, 3 ….")
    separator: Literal["auto", ",", ";", "|", "tab"] = Field(
        default="auto", description="Between the columns of a text file. Quotes mean nothing where it is a tab."
    )
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = Field(
        default="auto", description="Of times given as numbers; `auto` tells by the size of the first ones."
    )
    types: list[Annotated[str, StringConstraints(max_length=128)]] | None = Field(
        default=None, min_length=1, max_length=100, description="Types of events that are kept; left out: all."
    )
    min_user_events: int = Field(default=1, ge=1, le=10**6, description="Users with fewer events are left out.")
    min_item_events: int = Field(default=1, ge=1, le=10**6, description="Items with fewer events are left out.")
    core: Literal["fixpoint", "once"] = Field(
        default="fixpoint", description="Both minima until all that is left fulfils them, or items and then users once."
    )
    max_user_events: int | None = Field(default=None, ge=1, le=10**7, description="Only the newest of each user.")
    drop_duplicates: bool = Field(default=False, description="Of equal user, item, time and type one is kept.")
    drop_repeats: bool = Field(default=False, description="Of an item met several times in a row the first is kept.")
    split: Literal["leave-last-out", "by-user", "by-time"] = Field(
        default="leave-last-out",
        description="Each user's last event is for testing and the one before for validation; or whole users by "
        "`val_fraction`, `test_fraction` and `split_seed`; or everything from two moments on.",
    )
    validate_from: AwareDatetime | None = Field(
        default=None, description="by-time: first moment of validation; left out: by the two fractions of events."
    )
    test_from: AwareDatetime | None = Field(default=None, description="by-time: first moment of testing.")
    cold_items: Literal["drop", "keep"] = Field(
        default="drop", description="What becomes of events for validation and testing whose item training never saw."
    )
    max_bad_fraction: float = Field(
        default=0.01, ge=0, le=1, description="More unreadable rows than this and the data set is invalid."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "EventOptions":
        if (self.validate_from is None) != (self.test_from is None):
            raise ValueError("validate_from and test_from are given together or not at all")
        if self.validate_from is not None and self.split != "by-time":
            raise ValueError("validate_from and test_from belong to the split by-time")
        if self.validate_from is not None and self.test_from is not None and self.test_from < self.validate_from:
            raise ValueError("test_from comes before validate_from")
        columns = [self.user_column, self.item_column, self.time_column, self.type_column]
        if twice := {column for column in columns if column is not None and columns.count(column) > 1}:
            raise ValueError(f"the column {sorted(twice)[0]!r} is named twice; user, item, time and type are apart")
        return self


class ValidationConfig(BaseModel):
    """How an upload becomes a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["auto", "images", "events"] = Field(
        default="auto", description="auto: events if it is a table (CSV, TSV, Parquet) or tables in an archive."
    )
    events: EventOptions = Field(default=EventOptions(), description="Of the kind events.")
    format: Literal["auto", "class-folders", "npz", "pictures"] = Field(
        default="auto",
        description="class-folders: zip, tar or folder; npz: arrays; pictures: without labels.",
    )
    val_fraction: float = Field(default=0.1, ge=0, lt=0.9, description="Used where the upload names no val split.")
    test_fraction: float = Field(default=0.2, ge=0, lt=0.9, description="Used where the upload names no test split.")
    split_seed: int = Field(
        default=0, ge=0, lt=2**31, description="Of the stratified split; the same seed, the same split."
    )
    max_pixels: int = Field(
        default=50_000_000, ge=1, le=2**31, description="A picture with more is refused before decoding."
    )
    max_files: int = Field(default=2_000_000, ge=1, le=100_000_000, description="An upload with more is refused.")
    max_unpacked_bytes: int = Field(
        default=200 * 2**30, ge=1, le=2**50, description="An archive that unpacks to more is refused."
    )
    max_broken_fraction: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="More unreadable pictures than this and the data set is invalid.",
    )
    near_duplicates: bool = Field(default=True, description="Look for near-duplicates across splits.")

    @model_validator(mode="after")
    def _leaves_training_pictures(self) -> "ValidationConfig":
        if self.val_fraction + self.test_fraction >= 0.95:
            raise ValueError("val_fraction + test_fraction leave nothing to train on")
        return self
