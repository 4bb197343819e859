"""What takes space, and getting rid of what nothing needs."""

from typing import Any

from libs.client.transport import Transport


class Storage:
    """`/v1/storage`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def usage(self) -> dict[str, Any]:
        """Bytes by data set, model and kind of artifact."""
        answer: dict[str, Any] = self._http.json("GET", "/v1/storage")
        return answer

    def collect(self, *, dry_run: bool = False, jobs_older_than_s: float | None = None) -> dict[str, Any]:
        """Remove what no row names any more; with `dry_run`, only say what that is.

        Args:
            jobs_older_than_s: delete jobs that ended this long ago, too; None: keep them.
        """
        old_jobs = {} if jobs_older_than_s is None else {"jobs_older_than_s": jobs_older_than_s}
        answer: dict[str, Any] = self._http.json("POST", "/v1/storage/gc", params={"dry_run": dry_run, **old_jobs})
        return answer
