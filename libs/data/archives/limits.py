"""How much an archive may unpack to, counted while it happens."""

from collections.abc import Callable
from dataclasses import dataclass

from libs.data.errors import ArchiveError

Tick = Callable[[float], None]
"""Told the fraction done, 0 to 1, many times; may raise to stop."""

_RATIO_COUNTS_FROM_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes:
        max_files: entries, folders and ignored files included.
        max_unpacked_bytes: of all files together.
        max_ratio: unpacked to packed bytes, looked at above 64 MB unpacked.
    """

    max_files: int = 2_000_000
    max_unpacked_bytes: int = 200 * 2**30
    max_ratio: float = 200.0


class Meter:
    """Counts what comes out of one archive and refuses what is too much."""

    def __init__(self, limits: ArchiveLimits, packed_bytes: int) -> None:
        self.limits = limits
        self.packed_bytes = max(packed_bytes, 1)
        self.entries = 0
        self.unpacked_bytes = 0

    def entry(self, member: str) -> None:
        """Count one entry.

        Raises:
            ArchiveError: there are too many.
        """
        self.entries += 1
        if self.entries > self.limits.max_files:
            raise ArchiveError(f"the archive has more than {self.limits.max_files:,} entries", member)

    def unpacked(self, size_bytes: int, member: str | None) -> None:
        """Count bytes that were unpacked.

        Raises:
            ArchiveError: the sum or its ratio to the packed size is too large.
        """
        self.unpacked_bytes += size_bytes
        self.check(self.unpacked_bytes, member)

    def check(self, total_bytes: int, member: str | None) -> None:
        """Refuse a total, declared or real, that is too large.

        Raises:
            ArchiveError: it is.
        """
        if total_bytes > self.limits.max_unpacked_bytes:
            raise ArchiveError(
                f"the archive unpacks to more than the limit of {self.limits.max_unpacked_bytes:,} bytes", member
            )
        ratio = total_bytes / self.packed_bytes
        if total_bytes > _RATIO_COUNTS_FROM_BYTES and ratio > self.limits.max_ratio:
            raise ArchiveError(
                f"the archive unpacks to {ratio:,.0f} times its size (limit {self.limits.max_ratio:,.0f}); "
                "this is a decompression bomb, or send the files less compressed",
                member,
            )
