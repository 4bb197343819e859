"""What came in, and of which kind it is."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Upload:
    """What came in.

    Attributes:
        path: of the file, or of the folder for data used in place.
        name: original file name, for people.
        url: it is a folder of pictures used in place, which everybody knows by this file:// or s3:// URL.
        public: it is a public data set of that name, still to be fetched to `path`.
    """

    path: Path
    name: str
    url: str | None = None
    public: bool = False

    @classmethod
    def find(cls, folder: Path) -> "Upload":
        """Read a folder as `libs.data.validate` describes it."""
        file, public, root = folder / "upload", folder / "upload.public", folder / "upload.root"
        if public.is_file():
            return cls(file, public.read_text("utf-8").strip(), public=True)
        if root.is_file():
            url = root.read_text("utf-8")
            return cls((folder / "content").resolve(), unquote(PurePosixPath(url).name), url)
        if not file.is_file():
            return cls(folder.resolve(), folder.name, folder.resolve().as_uri())
        named = folder / "upload.name"
        return cls(file, named.read_text("utf-8").strip() if named.is_file() else "upload")
