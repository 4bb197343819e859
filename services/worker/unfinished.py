"""What is said of a validation that never came to a verdict. The relay says it too, and has no numpy."""

from typing import Any


def unfinished_report(code: str, message: str) -> dict[str, Any]:
    """The report of a validation that never came to one of its own."""
    return {"problem_counts": {code: 1}, "problems": [{"severity": "error", "code": code, "message": message}]}
