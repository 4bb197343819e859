"""Data sets: upload, wait for validation, look at them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from libs.client.errors import InvalidDatasetError, NotFoundError
from libs.client.jobs import Jobs
from libs.client.records import Dataset, DatasetVersion
from libs.client.transport import Transport
from libs.client.uploads import Progress, source_of, upload

OnJob = Callable[[float, str], None]
"""Called with the fraction done of the validation, and what it does."""


class Datasets:
    """`/v1/datasets`."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._http = transport
        self._jobs = jobs

    def upload(
        self,
        name: str,
        source: Path,
        *beside: Path,
        options: Mapping[str, Any] | None = None,
        description: str = "",
        progress: Progress | None = None,
    ) -> DatasetVersion:
        """Send a zip, tar, npz, table or folder as a new version; folders travel as a tar that is never on disk.

        Args:
            beside: files that belong to it, such as the table of item features; they travel as one tar.
            options: how it is checked and split (`libs.data.config.ValidationConfig`).

        Raises:
            LocalFileError: `source` cannot be read, or changed meanwhile.
        """
        content = source_of(source, *beside)
        version = self._begin(name, {"upload": content.name}, options, description)
        upload(self._http, f"{_path(version)}/upload", content, progress)
        return self._complete(version, content.size_bytes)

    def resume_upload(
        self, name: str, number: int, source: Path, *beside: Path, progress: Progress | None = None
    ) -> DatasetVersion:
        """Go on with an upload that was interrupted, with the same files or folder."""
        version = self.version(name, number)
        content = source_of(source, *beside)
        upload(self._http, f"{_path(version)}/upload", content, progress)
        return self._complete(version, content.size_bytes)

    def from_path(
        self, name: str, path: str, *, options: Mapping[str, Any] | None = None, description: str = ""
    ) -> DatasetVersion:
        """Use data where it lies: a folder or `s3://` address that the workers can read, under an allowed root."""
        return self._begin(name, {"path": path}, options, description)

    def pull(self, public: str, name: str | None = None, *, options: Mapping[str, Any] | None = None) -> DatasetVersion:
        """Have the platform fetch a public data set, with its checksum."""
        return self._begin(name or public, {"public": public}, options, "")

    def from_events(
        self,
        name: str,
        *,
        since_days: int | None = None,
        types: Sequence[str] | None = None,
        base: str | None = None,
        options: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> DatasetVersion:
        """Make a version of the events that were sent to `POST /v1/events`.

        Args:
            since_days: only those that happened in the last so many days.
            types: only these.
            base: a data set of events that they are added to.
        """
        asked = {"since_days": since_days, "types": types, "base": base}
        recorded = {key: value for key, value in asked.items() if value is not None}
        return self._begin(name, {"recorded": recorded}, options, description)

    def _begin(
        self, name: str, source: Mapping[str, Any], options: Mapping[str, Any] | None, description: str
    ) -> DatasetVersion:
        body: dict[str, Any] = {"name": name, "source": dict(source)}
        if description:
            body["description"] = description
        if options:
            body["validation"] = dict(options)
        return DatasetVersion.of(self._http.json("POST", "/v1/datasets", json=body))

    def _complete(self, version: DatasetVersion, size_bytes: int) -> DatasetVersion:
        path = f"{_path(version)}/complete"
        return DatasetVersion.of(self._http.json("POST", path, json={"size_bytes": size_bytes}))

    def wait_ready(self, version: DatasetVersion, on_progress: OnJob | None = None) -> DatasetVersion:
        """Wait until validation has ended.

        Raises:
            InvalidDatasetError: it is not a usable data set; the error carries the report.
        """
        if version.validation_job_id is not None:
            for event in self._jobs.events(version.validation_job_id):
                if event.kind == "progress" and on_progress is not None:
                    on_progress(float(event.data.get("fraction", 0.0)), str(event.data.get("note", "")))
        done = self.version(version.dataset, version.version)
        if done.status == "ready":
            return done
        reason = self._jobs.get(version.validation_job_id).reason if version.validation_job_id else ""
        raise InvalidDatasetError(done.dataset, done.version, reason or done.status, self._report_or_nothing(done))

    def _report_or_nothing(self, version: DatasetVersion) -> dict[str, Any]:
        try:
            return self.report(version.dataset, version.version)
        except NotFoundError:
            return {}

    def list(self) -> Iterator[Dataset]:
        """Data sets, newest first."""
        yield from map(Dataset.of, self._http.pages("/v1/datasets"))

    def get(self, name: str) -> Dataset:
        """One data set; `raw["versions"]` lists its versions."""
        return Dataset.of(self._http.json("GET", f"/v1/datasets/{name}"))

    def version(self, name: str, number: int) -> DatasetVersion:
        """One version."""
        return DatasetVersion.of(self._http.json("GET", f"/v1/datasets/{name}/versions/{number}"))

    def report(self, name: str, number: int) -> dict[str, Any]:
        """What validation found."""
        answer = self._http.json("GET", f"/v1/datasets/{name}/versions/{number}/report")
        found: dict[str, Any] = answer["report"]
        return found

    def statistics(self, name: str, number: int) -> dict[str, Any]:
        """Its manifest: what it holds, by split."""
        answer: dict[str, Any] = self._http.json("GET", f"/v1/datasets/{name}/versions/{number}/statistics")
        return answer

    def preview(self, name: str, number: int) -> bytes:
        """A PNG with sample pictures."""
        path = f"/v1/datasets/{name}/versions/{number}/preview"
        return self._http.send("GET", path, headers={"Accept": "image/png"}).content

    def delete(self, name: str) -> None:
        """Delete a data set; models trained on it stay."""
        self._http.json("DELETE", f"/v1/datasets/{name}")


def _path(version: DatasetVersion) -> str:
    return f"/v1/datasets/{version.dataset}/versions/{version.version}"
