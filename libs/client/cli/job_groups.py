"""Jobs submitted together: followed one after another, shown as one table with mean and spread over seeds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from libs.client.cli.output import AsJson, connect, console, figure, in_order, print_json, print_table

if TYPE_CHECKING:
    from libs.client.client import Octavo

_SHOWN_METRICS = 6
Member = Mapping[str, Any]


def submit_group(octavo: "Octavo", specs: list[dict[str, Any]], follow: bool, as_json: bool) -> None:
    """Submit all of them, or none when one is not valid.

    Raises:
        OctavoError: with `follow`, when one of them did not succeed.
    """
    group = octavo.jobs.submit_group(specs)
    if follow:
        _follow(octavo, group, as_json)
        group = octavo.jobs.group(group["id"])
    _show(group, as_json)
    if follow:
        _raise_for(group)


def group(group_id: str, as_json: AsJson = False) -> None:
    """The jobs of one --seeds or --grid submission as a table. Its id, the first letters of it, or one of its jobs."""
    from libs.client.cli.lookup import find_group

    with connect() as octavo:
        _show(find_group(octavo, group_id), as_json)


def _follow(octavo: "Octavo", group: Mapping[str, Any], as_json: bool) -> None:
    from libs.client.cli.follow import watch

    members = group["members"]
    for number, member in enumerate(members, 1):
        job = member["job"]
        if as_json:
            octavo.jobs.wait_ended(job["id"])
            continue
        varied = ", ".join(f"{name} {value}" for name, value in {"seed": member["seed"], **member["varied"]}.items())
        console().print(f"{number} of {len(members)}: {job['name']}, {varied}", style="bold", markup=False)
        watch(octavo, job["id"])


def _raise_for(group: Mapping[str, Any]) -> None:
    from libs.client.errors import OctavoError

    others = [member["job"] for member in group["members"] if member["job"]["status"] != "succeeded"]
    if others:
        named = ", ".join(job["id"][:8] for job in others)
        raise OctavoError(f"{len(others)} of {len(group['members'])} jobs did not succeed: {named}.")


def _show(group: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(group)
        return
    members = group["members"]
    varied = sorted({name for member in members for name in member["varied"]})
    metrics = in_order({name for member in members for name in member["metrics"]})[:_SHOWN_METRICS]
    console().print(f"group {group['id']}")
    rows = [_row(member, varied, metrics) for member in members]
    print_table(("job", "status", "seed", *varied, *metrics), [*rows, *summary_rows(members, varied, metrics)])


def _row(member: Member, varied: Sequence[str], metrics: Sequence[str]) -> tuple[object, ...]:
    settings = (member["varied"].get(name) for name in varied)
    figures = (figure(member["metrics"].get(name, "")) for name in metrics)
    return (member["job"]["id"][:8], member["job"]["status"], member["seed"], *settings, *figures)


def summary_rows(members: Sequence[Member], varied: Sequence[str], metrics: Sequence[str]) -> list[tuple[object, ...]]:
    """Mean ± sample standard deviation over the seeds, a row for each combination of the other settings."""
    combinations: dict[str, list[Member]] = {}
    for member in members:
        if member["metrics"]:
            combinations.setdefault(str([member["varied"].get(name) for name in varied]), []).append(member)
    return [
        (
            "mean ± sd",
            "",
            f"{len(some)} seeds",
            *(some[0]["varied"].get(name) for name in varied),
            *(_spread([member["metrics"].get(name) for member in some]) for name in metrics),
        )
        for some in combinations.values()
        if len(some) > 1
    ]


def _spread(values: Sequence[object]) -> str:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return f"{statistics.mean(numbers):.4g} ± {statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
