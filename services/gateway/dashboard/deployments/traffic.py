"""Who answers a deployment's requests: its arms, their shares, and how their answers were taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from libs.web.problems import FieldProblem, UnprocessableError
from services.gateway.dashboard.forms import FormData
from services.gateway.deployments.schemas import Deployment

TASK = "next-item"
"""Only deployments of recommenders share requests."""
FIELD = "share/"


@dataclass(frozen=True, slots=True)
class Arm:
    """A deployment that answers, or could, for another.

    Attributes:
        share: percent of the requests; of the deployment itself what the others leave.
        taken: figures of its answers (`VariantMetrics` of the recommender); None: none, or not known.
    """

    name: str
    model: str
    share: float
    itself: bool
    taken: Mapping[str, Any] | None


def arms_of(
    deployment: Deployment, others: Sequence[Deployment], variants: Sequence[Mapping[str, Any]] = ()
) -> list[Arm]:
    """The deployment, its arms, and other recommenders that could be arms, in this order.

    Answers that an arm gave for another that was not loaded belong to neither, and are left out.
    """
    taken = {one["arm"]: one for one in variants if one["stands_in_for"] is None}
    shares = deployment.settings.traffic
    rest = round(100 - fsum(shares.values()), 6)
    by_name = {one.name: one for one in others if one.name != deployment.name and one.task == TASK}
    ordered = [*shares, *(name for name in by_name if name not in shares)]
    arms = [Arm(deployment.name, deployment.model, rest, itself=True, taken=taken.get(deployment.name))]
    return arms + [
        Arm(
            name,
            by_name[name].model if name in by_name else "",
            shares.get(name, 0.0),
            itself=False,
            taken=taken.get(name),
        )
        for name in ordered
    ]


def read_shares(form: FormData) -> dict[str, float]:
    """Percent by the name of each arm that is to answer some.

    Raises:
        UnprocessableError: one is no number.
    """
    shares: dict[str, float] = {}
    wrong: list[FieldProblem] = []
    for name, text in form.below(FIELD):
        try:
            share = float(text.removesuffix("%").strip())
        except ValueError:
            wrong.append(
                FieldProblem(pointer=f"/settings/traffic/{name}", message=f"{name}: {text[:40]!r} is no number.")
            )
            continue
        if share != 0:
            shares[name] = share
    if wrong:
        raise UnprocessableError(wrong[0].message, errors=wrong)
    return shares
