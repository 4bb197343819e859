"""`octavo traffic`, and the shares that `octavo deploy --traffic` takes."""

from collections.abc import Iterator
from math import fsum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.output import AsJson, connect, console, print_json, print_table

if TYPE_CHECKING:
    from libs.client.records import Deployment


def traffic(
    name: Annotated[str, typer.Argument(help="A deployment of a model that recommends.")],
    shares: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OTHER=PERCENT]...", help="Deployments that answer so much of its requests, no others."
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="It answers every request itself again.")] = False,
    days: Annotated[int, typer.Option(min=1, max=366, help="Answers of the last so many days are shown.")] = 30,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="Of HR@k.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Share a deployment's requests with others (an A/B test); without shares, show how the answers were taken."""
    if shares and off:
        raise typer.BadParameter("Give shares or --off.")
    with connect() as octavo:
        if shares or off:
            made = octavo.deployments.share(name, parse_shares(shares or []))
            if as_json:
                print_json(made.raw)
            else:
                console().print(sharing(made), markup=False)
            return
        found = octavo.deployments.get(name)
        summary = octavo.recommendations.summary(deployment=name, days=days, k=k)
    if as_json:
        print_json({"deployment": found.raw, "summary": summary})
        return
    console().print(sharing(found), markup=False)
    columns = ("arm", "share", "served", "requests", "CTR (95 %)", "conversions (95 %)", f"HR@{k} (95 %)")
    print_table(columns, _rows(found, summary["variants"]))


def parse_shares(texts: list[str]) -> dict[str, float]:
    """`films-new=10` as the API takes it.

    Raises:
        typer.BadParameter: one cannot be read, or a name comes twice.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, _, percent = (part.strip() for part in text.partition("="))
        try:
            share = float(percent.removesuffix("%"))
        except ValueError:
            raise typer.BadParameter(f"{text!r}: write OTHER=PERCENT, like films-new=10.") from None
        if name in shares:
            raise typer.BadParameter(f"{name!r} is named twice.")
        shares[name] = share
    return shares


def sharing(deployment: "Deployment") -> str:
    """Who answers which share, in one line."""
    if not deployment.traffic:
        return f"{deployment.name} answers every request itself."
    return f"Requests of {deployment.name}: " + ", ".join(
        f"{name} {share:g} %" for name, share in _shares(deployment).items()
    )


def _shares(deployment: "Deployment") -> dict[str, float]:
    rest = round(100 - fsum(deployment.traffic.values()), 6)
    return {deployment.name: rest, **deployment.traffic}


def _rows(deployment: "Deployment", variants: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """A row for each variant that answered, and for each arm that has not yet."""
    shares = _shares(deployment)
    places = {arm: place for place, arm in enumerate(shares)}
    for one in sorted(variants, key=lambda one: (places.get(one["arm"], len(places)), one["stands_in_for"] or "")):
        arm, missing = one["arm"], one["stands_in_for"]
        share = f"{shares[arm]:g} %" if arm in shares and not missing else ""
        served = f"{one['model']}@{one['variant']}" if one["variant"] else one["model"]
        rates = (_rate(one[name]) for name in ("ctr", "conversion_rate", "hit_rate"))
        yield f"{arm}, as {missing} was not loaded" if missing else arm, share, served, one["requests"], *rates
    seen = {one["arm"] for one in variants}
    for arm in (name for name in shares if name not in seen):
        yield arm, f"{shares[arm]:g} %", "", 0, "", "", ""


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "no feedback"
    return f"{rate['value']:.3f} ({rate['low']:.3f}-{rate['high']:.3f})"
