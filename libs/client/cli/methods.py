"""`octavo methods`: what can be trained, and every hyper-parameter from the JSON Schema."""

from typing import TYPE_CHECKING, Annotated

import typer

from libs.client.cli import parameters
from libs.client.cli.output import AsJson, connect, console, print_json, print_table, setting

if TYPE_CHECKING:
    from libs.client.records import Method


def methods(
    name: Annotated[str | None, typer.Argument(help="A method or task; all of them when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods, or every hyper-parameter of one."""
    with connect() as octavo:
        if name is None:
            found = octavo.methods.list()
            if as_json:
                print_json([one.raw for one in found])
            else:
                print_table(("method", "kind", "what it does"), ((one.name, one.kind, one.summary) for one in found))
            return
        method = octavo.methods.get(name)
    if as_json:
        print_json(method.raw)
        return
    schema = method.config_schema or {}
    console().print(f"[bold]{method.name}[/]  {method.title}\n{method.summary}\n{method.reference}".strip() + "\n")
    _show_roles(method)
    print_table(
        ("--set", "type", "default", "range", "meaning"),
        (
            (
                key,
                parameters.kind_of(parameters.resolved(one, schema)),
                setting(one.get("default")),
                parameters.describe_range(parameters.resolved(one, schema)),
                one.get("description", ""),
            )
            for key, one in schema.get("properties", {}).items()
        ),
        empty="It has no hyper-parameters.",
    )


def _show_roles(method: "Method") -> None:
    beside = method.beside or ()
    models = [
        *(method.models or ()),
        *(f"{role} (optional)" for role in method.optional_models or () if role not in beside),
        *(f"{role} (measured beside it)" for role in beside),
    ]
    datasets = [*(method.datasets or ()), *(f"{role} (optional)" for role in method.optional_datasets or ())]
    for option, roles in (
        ("--dataset", datasets),
        ("--model", models),
        ("--compare-with", method.baselines or ()),
    ):
        if roles:
            console().print(f"{option} takes: {', '.join(roles)}", markup=False)
