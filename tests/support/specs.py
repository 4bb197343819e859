"""Job requests for tests."""

from typing import Any

from libs.jobs.spec import JobSpec, parse_spec


def tiny_spec(**changes: Any) -> JobSpec:
    """A supervised training on a data set called `digits`."""
    return parse_spec({"method": "supervised", "datasets": {"train": "digits"}, **changes})
