"""`octavo keys`: API keys."""

from typing import Annotated

import typer

from libs.client.cli.output import AsJson, ago, connect, console, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="Such as jobs:write, infer or admin; once for each.")],
    as_json: AsJson = False,
) -> None:
    """Make a key. Its text is shown this once."""
    with connect() as octavo:
        made = octavo.keys.create(name, scope)
    if as_json:
        print_json(made.raw)
    else:
        typer.echo(made.key)


@app.command("ls")
def list_keys(as_json: AsJson = False) -> None:
    """List keys, newest first."""
    with connect() as octavo:
        found = list(octavo.keys.list())
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = (
        (
            one.id[:8],
            one.name,
            one.prefix,
            " ".join(one.scopes),
            ago(one.last_used_at),
            "revoked" if one.revoked_at else "",
        )
        for one in found
    )
    print_table(("key", "name", "prefix", "scopes", "used", ""), rows)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="Id, or its first letters.")]) -> None:
    """Make a key invalid at once."""
    from libs.client.errors import NotFoundError

    with connect() as octavo:
        fitting = [one for one in octavo.keys.list() if one.id.startswith(key)]
        if len(fitting) != 1:
            found = f"{len(fitting)} keys have ids that begin" if fitting else "No key has an id that begins"
            raise NotFoundError(404, "key_not_found", f"{found} with {key!r}.")
        octavo.keys.revoke(fitting[0].id)
    console().print(f"Revoked: {fitting[0].name}", markup=False)
