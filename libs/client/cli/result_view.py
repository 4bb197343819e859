"""The figures of a job that has succeeded, and what to know of the models beside its own; of a comparison, mean and
spread of each arm and a plain answer for each baseline."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from libs.client.cli.output import console, figure, print_metrics, print_table

if TYPE_CHECKING:
    from libs.client.jobs import Job


def print_result(job: "Job") -> None:
    """The figures; nothing while there are none."""
    result = job.result or {}
    if job.method == "compare" and result:
        _print_comparison(result["details"])
    else:
        print_metrics(result.get("metrics", {}))
        for _, one in sorted(result.get("details", {}).get("beside", {}).items()):
            console().print(one["note"], markup=False, soft_wrap=True)


def _print_comparison(details: Mapping[str, Any]) -> None:
    """A row for each figure, a column for each arm and for what was measured once; then the plain answers."""
    arms: Mapping[str, Mapping[str, tuple[float, float]]] = details["figures"]
    once: Mapping[str, Mapping[str, float]] = details.get("beside", {})  # of earlier versions: none, and no order
    order = details.get("arms", list(arms))
    names = details.get("names", list(dict.fromkeys(name for figures in arms.values() for name in figures)))
    rows = [
        (
            name,
            *(f"{figure(arms[arm][name][0])} ± {figure(arms[arm][name][1])}" for arm in order),
            *(figure(figures[name]) if name in figures else "" for figures in once.values()),
        )
        for name in names
    ]
    print_table((f"mean ± sd of {len(details['seeds'])} seeds", *order, *once), rows)
    for sentence in details["verdicts"]:
        console().print(sentence, markup=False, soft_wrap=True)
