"""Which events are for training, validation and testing: where each user's training ends, and where validation does.

All three protocols are rows of one form, [U, 2], so that whoever reads events need not know the protocol.
"""

from collections.abc import Sequence

import numpy as np

from libs.data.events.chunks import ROWS_AT_A_TIME, user_chunks
from libs.data.events.store import Longs

_BINS = 1 << 14
LEAST_EVENTS = 3
"""A user with fewer has nothing to hold out under leave-last-out: one to train on, one to validate, one to test."""


def leave_last_out(offsets: Longs) -> Longs:
    """A user's last event is for testing, the one before for validation; users of fewer than 3 events only train."""
    last = np.asarray(offsets[1:])
    long = np.diff(offsets) >= LEAST_EVENTS
    return np.stack([np.where(long, last - 2, last), np.where(long, last - 1, last)], axis=1).astype(np.int64)


def by_user(offsets: Longs, fractions: Sequence[float], seed: int) -> Longs:
    """Whole users are held out: what is measured is how a model does for people it never saw.

    Args:
        fractions: of users for validation and for testing; the rest train.
        seed: of the draw.

    Raises:
        ValueError: nobody would be left to train on.
    """
    users = len(offsets) - 1
    held = [round(fraction * users) for fraction in fractions]
    if sum(held) >= users:
        raise ValueError(f"{users} users split by {fractions} leave nobody to train on.")
    order = np.random.default_rng(seed).permutation(users)
    first, last = np.asarray(offsets[:-1]), np.asarray(offsets[1:])
    ends = np.stack([last, last], axis=1).astype(np.int64)
    validating, testing = order[: held[0]], order[held[0] : held[0] + held[1]]
    ends[validating, 0] = first[validating]
    ends[testing] = first[testing, None]
    return ends


def by_time(offsets: Longs, times: Longs, validate_from: int, test_from: int) -> Longs:
    """Everything from one moment on is for validation, and from a later one for testing, whoever's it is.

    Args:
        times: microseconds since 1970, rising within a user.

    Raises:
        ValueError: testing would begin before validation.
    """
    if test_from < validate_from:
        raise ValueError("Testing begins before validation does.")
    ends = np.empty((len(offsets) - 1, 2), np.int64)
    for chunk in user_chunks(offsets):
        bounds = np.asarray(offsets[chunk.users.start : chunk.users.stop + 1])
        for column, moment in enumerate((validate_from, test_from)):
            before = np.concatenate([[0], np.cumsum(times[chunk.rows] < moment)])[bounds - bounds[0]]
            ends[chunk.users, column] = bounds[:-1] + np.diff(before)
    return ends


def value_at(values: Longs, place: int, rows_at_a_time: int = ROWS_AT_A_TIME) -> int:
    """The value at a place, from 0, of the rising order of all: without sorting them, or holding more than a piece.

    Counts how many lie in each of some equal bins, and goes on within the bin that holds the place: a few readings.
    """
    low = int(values.min())
    width = int(values.max()) - low + 1
    while width > 1:
        bin_width = -(-width // _BINS)
        counts = np.zeros(_BINS, np.int64)
        for begin in range(0, len(values), rows_at_a_time):
            piece = values[begin : begin + rows_at_a_time] - low
            inside = piece[(piece >= 0) & (piece < width)]
            counts += np.bincount(inside // bin_width, minlength=_BINS)
        up_to = np.cumsum(counts)
        chosen = int(np.searchsorted(up_to, place, side="right"))
        place -= int(up_to[chosen] - counts[chosen])
        low, width = low + chosen * bin_width, min(bin_width, width - chosen * bin_width)
    return low
