"""The JSON file that a benchmark leaves beside what it prints."""

import json
from pathlib import Path


def write_result(result: object, out: Path | None) -> None:
    """Write what was measured, where a file is asked for."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
