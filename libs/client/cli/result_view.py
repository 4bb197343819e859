"""The figures of a job that has succeeded, and what to know of the models beside its own; of a comparison, mean and
spread of each arm and a plain answer for each baseline."""

from typing import TYPE_CHECKING

from libs.client.cli.output import console, figure, print_metrics, print_table
from libs.training.comparison.details import Compared

if TYPE_CHECKING:
    from libs.client.jobs import Job


def print_result(job: "Job") -> None:
    """The figures; nothing while there are none."""
    result = job.result or {}
    if job.method == "compare" and result:
        _print_comparison(Compared.of(result["details"]))
    else:
        print_metrics(result.get("metrics", {}))
        for _, one in sorted(result.get("details", {}).get("beside", {}).items()):
            console().print(one["note"], markup=False, soft_wrap=True)


def _print_comparison(compared: Compared) -> None:
    """A row for each figure, a column for each arm and for what was measured once; then the plain answers."""
    rows = ((name, *(" ± ".join(map(figure, cell)) for cell in cells)) for name, cells in compared.rows)
    print_table((f"mean ± sd of {compared.seeds} seeds", *compared.columns), rows)
    for sentence in [*compared.verdicts, *compared.notes]:
        console().print(sentence, markup=False, soft_wrap=True)
