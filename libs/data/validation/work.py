"""What a validation works with, whatever the kind of data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.data.validation.problems import Problems
from libs.data.validation.watch import Watch


@dataclass(frozen=True, slots=True)
class Work:
    """Where a validation puts what it makes and finds.

    Attributes:
        dataset: folder of the data set to be.
        scratch: folder to be, for what is needed on the way; removed at the end.
        watch: progress and stop.
        problems: what is wrong or odd.
        report: what is found, JSON values only.
    """

    dataset: Path
    scratch: Path
    watch: Watch
    problems: Problems = field(default_factory=Problems)
    report: dict[str, Any] = field(default_factory=dict)
