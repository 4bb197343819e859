"""Who of those that share a deployment's requests answers which of them.

    arm(who) = argmin over a of  -ln h(who, a) / weight(a)        h: a hash, uniform in (0, 1]

the deployment itself being one arm, with the rest of the 100 %. This is weighted rendezvous hashing (Thaler and
Ravishankar 1998; with weights, Schindelhauer and Schomaker 2005): -ln h / w is an exponential time of rate w, and the
first of several comes with probability w / sum of w. Nothing is kept, every process answers alike, and the order of the
arms means nothing. When weights change, whoever moves goes to an arm whose weight grew against that of the arm before:
nobody leaves an arm that alone grew, or that grew most. With one arm beside the deployment as many move as the weights
change, and with several hardly more (10.9 % where 10 % must).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum, inf, log
from uuid import UUID

_SMALLEST = 1e-9  # percent that are left over by rounding alone
_BITS = 53  # of a float's fraction


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the requests of one deployment are shared.

    Attributes:
        deployment_id: keeps the draws of deployments apart.
        salt: another one draws anew.
        percent: of each arm beside the deployment itself, by name; at most 100 together.
    """

    deployment_id: UUID
    salt: str
    percent: Mapping[str, float]

    def arm_of(self, who: str) -> str | None:
        """The deployment that answers for `who`; None: this one itself."""
        rest = 100.0 - fsum(self.percent.values())
        best, arm = self._time(who, "") / rest if rest > _SMALLEST else inf, None
        for name, percent in self.percent.items():
            time = self._time(who, name) / percent
            if time < best:
                best, arm = time, name
        return arm

    def _time(self, who: str, arm: str) -> float:
        """-ln h, at least 0."""
        key = self.deployment_id.bytes + b"\x00".join(part.encode() for part in (arm, self.salt, who))
        drawn = int.from_bytes(hashlib.sha256(key).digest()[:8]) >> (64 - _BITS)
        return -log((drawn + 1) / 2**_BITS)
