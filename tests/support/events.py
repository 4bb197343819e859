"""Validated data sets of events, made as an upload makes them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from libs.data.config import ValidationConfig
from libs.data.validate import run as validate
from libs.training.local_run import LocalRun
from libs.training.run import Inputs

Event = tuple[str, str, int]
"""User, item, seconds since 1970."""


def events_folder(
    folder: Path, events: Iterable[Event], shares: Mapping[str, float] | None = None, **options: Any
) -> Path:
    """Validate events into a data set below `folder`.

    Args:
        shares: `val_fraction` and `test_fraction`, where they are not the usual ones.
        options: of `libs.data.config.EventOptions`.
    """
    upload = folder / "input"
    upload.mkdir(parents=True)
    rows = [f"{user},{item},{time}" for user, item, time in events]
    (upload / "upload").write_text("user,item,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (upload / "upload.name").write_text("events.csv", encoding="utf-8")
    config = ValidationConfig.model_validate({"events": options, **(shares or {})})
    outcome = validate(config, Inputs({"upload": upload}), LocalRun(folder / "run", quiet=True))
    assert outcome.dataset is not None
    return outcome.dataset


def walks(users: int, items: int, shortest: int = 6, longest: int = 9) -> list[Event]:
    """Every user walks round the items, from a place of their own, for a while of their own: the next is certain."""
    random = np.random.default_rng(0)
    starts, lengths = random.integers(0, items, users), random.integers(shortest, longest + 1, users)
    return [
        (f"u{user}", f"i{(start + step) % items}", 1_000_000_000 + 60 * step)
        for user, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True))
        for step in range(length)
    ]
