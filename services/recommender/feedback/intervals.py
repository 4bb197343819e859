"""Shares of counts, with how sure they are."""

from math import sqrt

from services.recommender.feedback.schemas import Rate

_Z = 1.959963984540054  # of a two-sided 95 % interval


def rate(count: int, of: int) -> Rate:
    """The share `count / of` with its Wilson score interval.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): unlike the normal interval it stays within [0, 1] and is no
    point for p = 0 (E. B. Wilson, 1927).
    """
    if not of:
        return Rate(value=None, low=None, high=None, count=count, of=of)
    p, z2 = count / of, _Z * _Z
    centre, scale = p + z2 / (2 * of), 1 + z2 / of
    half = _Z * sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    low, high = max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
    return Rate(value=p, low=min(low, p), high=max(high, p), count=count, of=of)
