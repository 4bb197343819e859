"""`octavo deploy`, `undeploy`, `deployments`, `predict`, `evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.output import AsJson, ago, connect, console, print_json, print_table
from libs.client.cli.traffic import parse_shares, sharing

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.records import Classification, Deployment


def deploy(
    model: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="cats, cats@3 or cats@production.")],
    name: Annotated[str | None, typer.Option(help="Name it is served under; else the model's.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is loaded.")] = True,
    shares: Annotated[
        list[str] | None,
        typer.Option(
            "--traffic", metavar="OTHER=PERCENT", help="Another deployment answers so much of its requests (A/B test)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model. A name that serves already switches to the version given, without a failed request."""
    served = name or model.partition("@")[0]
    settings = {"traffic": parse_shares(shares)} if shares else None
    with connect() as octavo:
        made = _create_or_change(octavo, model, served, settings)
        if wait:
            made = octavo.deployments.wait_ready(served)
    if as_json:
        print_json(made.raw)
        return
    console().print(f"[bold green]{served}[/] is {made.status}: {made.model}@{made.loaded_version or made.version}")
    if made.traffic:
        console().print(sharing(made), markup=False)
    if made.task in _QUESTIONS:
        console().print(f"Ask it: {_QUESTIONS[made.task].format(served)}", markup=False)


_QUESTIONS = {
    "image-classification": "octavo predict {} PICTURE",
    "next-item": "octavo recommend {} --items ITEM,ITEM",
}


def _create_or_change(octavo: "Octavo", model: str, name: str, settings: dict[str, Any] | None) -> "Deployment":
    from libs.client.errors import ConflictError

    try:
        return octavo.deployments.create(model, name, settings)
    except ConflictError as error:
        if error.code != "name_taken":
            raise
        return octavo.deployments.update(name, model, settings)


def undeploy(name: str, as_json: AsJson = False) -> None:
    """Stop serving a model."""
    with connect() as octavo:
        octavo.deployments.delete(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        console().print(f"Not served any more: {name}", markup=False)


def deployments(as_json: AsJson = False) -> None:
    """List what is served."""
    with connect() as octavo:
        found = list(octavo.deployments.list())
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = (
        (
            one.name,
            f"{one.model}@{one.alias or one.version}",
            one.task,
            one.loaded_version,
            ", ".join(f"{share:g} % {name}" for name, share in one.traffic.items()),
            one.status,
            one.status_reason,
            ago(one.created_at),
        )
        for one in found
    )
    empty = "Nothing is served yet. Begin with: octavo deploy MODEL"
    print_table(("name", "should serve", "does", "serves", "passes on", "status", "", "made"), rows, empty)


def predict(
    model: Annotated[str, typer.Argument(help="A deployment; for a folder, a model.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or one folder.", metavar="PICTURE... | FOLDER")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=100, help="Classes to show.")] = 3,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV file for a folder's predictions.")] = None,
    as_json: AsJson = False,
) -> None:
    """Classify pictures at once, or a folder by a batch job."""
    folders = [path for path in pictures if path.is_dir()]
    if folders:
        if len(pictures) > 1:
            raise typer.BadParameter("Give one folder, or pictures.")
        from libs.client.cli.batch import predict_folder

        predict_folder(model, folders[0], out or Path("predictions.csv"), top, as_json)
        return
    if out is not None:
        raise typer.BadParameter("--out is for a folder; answers for pictures are printed, with --json as JSON.")
    with connect() as octavo:
        answers = [(picture, _ask(octavo, model, picture, top)) for picture in pictures]
    if as_json:
        print_json([{"picture": str(picture), **answer.raw} for picture, answer in answers])
        return
    rows = (
        (picture.name, *(f"{one.label} {one.probability:.1%}" for one in answer.predictions))
        for picture, answer in answers
    )
    print_table(("picture", *("" for _ in range(top))), ((*row, *[""] * (top + 1 - len(row))) for row in rows))


def _ask(octavo: "Octavo", model: str, picture: Path, top_k: int) -> "Classification":
    """One answer; a refusal says which file it is about."""
    from libs.client.errors import InvalidRequestError

    try:
        return octavo.predict(model, picture, top_k=top_k)
    except InvalidRequestError as error:
        hint = " To predict what is in it, unpack it and name the folder." if picture.suffix in _ARCHIVES else ""
        detail = f"{picture}: {error.detail}{hint}"
        raise InvalidRequestError(error.status, error.code, detail, error.request_id, error.fields) from None


_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".npz")


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="NAME or NAME@VERSION.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=MODEL[@VERSION]", help="Another recommender to measure on the same cases; repeat it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a data set: metrics, confusion, the worst pictures. A job, shown until it has ended."""
    from libs.client.cli.failures import naming
    from libs.client.cli.job_submit import submit_and_follow

    models = _with_others(model, beside or ())
    spec = {"method": "evaluate", "models": models, "datasets": {"data": dataset}, "config": {"split": split}}
    own = {f"/models/{role}": f"--beside {role}=…" for role in models if role != "model"}
    with naming({**own, "/models/model": "MODEL"}):
        submit_and_follow(spec, as_json)


def _with_others(model: str, beside: Sequence[str]) -> dict[str, str]:
    """`films` and `["gru4rec=films@2"]` → `{"model": "films", "gru4rec": "films@2"}`."""
    found = {"model": model}
    for text in beside:
        role, _, name = text.partition("=")
        if not role or not name:
            raise typer.BadParameter(f"{text!r} is no METHOD=MODEL; write it like --beside gru4rec=films-gru4rec.")
        if role in found:
            raise typer.BadParameter(f"{role} is named twice: {found[role]} and {name}.")
        found[role] = name
    return found
