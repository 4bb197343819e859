"""Validated data sets of events, made from a table."""

from pathlib import Path
from typing import Any

from libs.data.config import ValidationConfig
from libs.data.events.dataset import EventData, open_event_data
from libs.data.validate import run as validate
from libs.training.local_run import LocalRun
from libs.training.run import Inputs


def make_event_data(folder: Path, table: str, **options: Any) -> EventData:
    """Validate a CSV of user_id, item_id and timestamp below `folder`, and open what comes of it.

    Args:
        options: of `ValidationConfig`.
    """
    upload = folder / "upload"
    upload.mkdir(parents=True)
    (upload / "events.csv").write_text(table, encoding="utf-8")
    run = LocalRun(folder / "validation", quiet=True)
    outcome = validate(ValidationConfig(**options), Inputs(datasets={"upload": upload}), run)
    assert outcome.dataset is not None
    return open_event_data(outcome.dataset)
