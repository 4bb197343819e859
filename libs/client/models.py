"""Models: versions, aliases, comparison, bundles."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from libs.client.downloads import Progress, download
from libs.client.errors import LocalFileError, NotFoundError
from libs.client.jobs import Job, Jobs
from libs.client.records import Model, ModelVersion
from libs.client.transport import Transport

PICKLES = frozenset({".pth", ".pt", ".bin", ".ckpt", ".pkl"})


class Models:
    """`/v1/models`."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def list(self) -> Iterator[Model]:
        """Models, newest first."""
        yield from map(Model.of, self._http.pages("/v1/models"))

    def get(self, name: str) -> Model:
        """One model with its aliases and versions."""
        return Model.of(self._http.json("GET", f"/v1/models/{name}"))

    def versions(self, name: str) -> Iterator[ModelVersion]:
        """A model's versions, newest first."""
        yield from map(ModelVersion.of, self._http.pages(f"/v1/models/{name}/versions"))

    def version(self, reference: str) -> ModelVersion:
        """The version that `name`, `name@3` or `name@production` means now.

        Raises:
            NotFoundError: there is none.
        """
        name, _, suffix = reference.partition("@")
        number = int(suffix) if suffix.isdigit() else self._number(name, suffix)
        return ModelVersion.of(self._http.json("GET", f"/v1/models/{name}/versions/{number}"))

    def _number(self, name: str, alias: str) -> int:
        if alias:
            return int(self._http.json("GET", f"/v1/models/{name}/aliases/{alias}")["version"])
        for version in self.versions(name):
            if version.status == "ready":
                return version.version
        raise NotFoundError(404, "version_not_found", f"Model {name!r} has no ready version.")

    def lineage(self, reference: str) -> dict[str, Any]:
        """Where a version comes from, and what was made from it."""
        version = self.version(reference)
        answer: dict[str, Any] = self._http.json("GET", f"{_path(version)}/lineage")
        return answer

    def compare(self, references: Sequence[str]) -> dict[str, Any]:
        """Two or more versions side by side."""
        answer: dict[str, Any] = self._http.json("GET", "/v1/models/compare", params={"version": list(references)})
        return answer

    def aliases(self, name: str) -> Sequence[dict[str, Any]]:
        """A model's aliases."""
        answer: list[dict[str, Any]] = self._http.json("GET", f"/v1/models/{name}/aliases")
        return answer

    def set_alias(self, name: str, alias: str, version: int) -> dict[str, Any]:
        """Point an alias at a version; refused when somebody else moved it between our reading and writing.

        Raises:
            ConflictError: it was moved meanwhile.
        """
        path = f"/v1/models/{name}/aliases/{alias}"
        headers: dict[str, str] = {}
        try:
            headers["If-Match"] = self._http.send("GET", path).headers["ETag"]
        except NotFoundError as error:
            if error.code == "model_not_found":
                raise
        answer: dict[str, Any] = self._http.json("PUT", path, json={"version": version}, headers=headers)
        return answer

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias that no deployment follows."""
        path = f"/v1/models/{name}/aliases/{alias}"
        etag = self._http.send("GET", path).headers["ETag"]
        self._http.json("DELETE", path, headers={"If-Match": etag})

    def download(self, reference: str, target: Path, progress: Progress | None = None) -> Path:
        """Fetch a version as a zip: ONNX, safetensors, preprocessing, labels, lineage."""
        version = self.version(reference)
        return download(self._http, f"{_path(version)}/download", target, progress=progress)

    def import_file(
        self,
        name: str,
        file: Path,
        *,
        labels: Sequence[str],
        recipe: dict[str, Any],
        architecture: str | None = None,
        temperature: float = 1.0,
    ) -> Job:
        """Upload an ONNX or safetensors file and submit the job that makes a version of model `name` of it.

        Args:
            labels: names of the outputs, in their order.
            recipe: preprocessing, the fields of `libs.data.recipe.Recipe`.
            architecture: which network safetensors weights belong to, such as `resnet20` or `timm/NAME`.
            temperature: divides the logits before the softmax.

        Raises:
            LocalFileError: the file cannot be read, or is a pickle (`octavo convert` makes a safetensors file of it).
            InvalidRequestError: it is neither ONNX nor safetensors, or labels and recipe do not fit.
        """
        check_file(file)
        uploaded = self._upload(file)
        config = {"artifact": uploaded["id"], "labels": list(labels), "recipe": recipe, "temperature": temperature}
        if uploaded["kind"] == "safetensors":
            config["architecture"] = architecture
        return Jobs(self._http).submit(f"import-{uploaded['kind']}", name=name, output_model=name, config=config)

    def _upload(self, file: Path) -> dict[str, Any]:
        try:
            with file.open("rb") as content:
                answer: dict[str, Any] = self._http.json(
                    "POST",
                    "/v1/uploads",
                    params={"name": f"model{file.suffix}"},
                    content=content,
                    headers={"Content-Type": "application/octet-stream"},
                )
        except OSError as error:
            raise LocalFileError(f"{file} cannot be read: {error.strerror}.") from error
        return answer

    def delete(self, name: str, version: int | None = None) -> None:
        """Delete a model, or one version of it."""
        suffix = f"/versions/{version}" if version is not None else ""
        self._http.json("DELETE", f"/v1/models/{name}{suffix}")


def check_file(file: Path) -> None:
    """Refuse a pickle before anything is sent.

    Raises:
        LocalFileError: it may be one, by its name.
    """
    if file.suffix.lower() in PICKLES:
        raise LocalFileError(
            f"{file} may hold a pickle, which can run any program when it is opened, so Octavo takes none. "
            f"On your own machine: octavo convert {file} {file.with_suffix('.safetensors').name}"
        )


def _path(version: ModelVersion) -> str:
    return f"/v1/models/{version.model}/versions/{version.version}"
