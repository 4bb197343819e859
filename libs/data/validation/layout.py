"""What the folders of an upload mean: splits, classes, pictures."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from libs.data.archives import Sources
from libs.data.images.decode import SUFFIXES
from libs.data.manifest import Split
from libs.data.validation.problems import Problems

SPLIT_FOLDERS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar", ".npz"})
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file and what its place says.

    Attributes:
        name: in the upload.
        stored: name below `pictures/`, without the folders that wrap everything.
        path: on disk.
        label: position in the classes, -1 for none.
        split: where its folder names one.
    """

    name: str
    stored: str
    path: Path
    label: int
    split: Split | None


@dataclass(frozen=True, slots=True)
class Layout:
    """An upload of picture files, understood.

    Attributes:
        classes: sorted names; empty for pictures without labels.
        pictures: sorted by stored name.
    """

    classes: list[str]
    pictures: list[PictureFile]


def class_folders(sources: Sources, problems: Problems) -> Layout:
    """Read the folders as `[split/]class/…/picture`, below any folders that wrap everything.

    Notes a problem for every reading that is not clear. With errors the layout is as far as it came.
    """
    paths = _pictures(sources, problems)
    prefix = _wrapper(paths)
    inner = {name: name[len(prefix) :].split("/") for name in paths}
    tops = {parts[0] for parts in inner.values() if len(parts) > 1}
    splits = bool(tops) and all(top.casefold() in SPLIT_FOLDERS for top in tops)
    depth = 2 if splits else 1  # of the class folder
    _check_tops(tops, inner.values(), splits, problems)
    _note_outside([name for name, parts in inner.items() if len(parts) <= depth], splits, problems)
    placed = {name: parts for name, parts in inner.items() if len(parts) > depth}
    empty_too = _class_folders(sources.folders, prefix, depth, splits)
    classes = sorted({parts[depth - 1] for parts in placed.values()} | empty_too)
    labels = {name: position for position, name in enumerate(classes)}
    pictures = [
        PictureFile(
            name,
            "/".join(parts),
            paths[name],
            labels[parts[depth - 1]],
            SPLIT_FOLDERS[parts[0].casefold()] if splits else None,
        )
        for name, parts in placed.items()
    ]
    return Layout(classes, pictures)


def unlabelled(sources: Sources, problems: Problems) -> Layout:
    """All pictures, wherever they lie, without labels."""
    pictures = _pictures(sources, problems)
    return Layout([], [PictureFile(name, name, path, -1, None) for name, path in pictures.items()])


def has_folders(sources: Sources) -> bool:
    """Whether any picture lies in a folder."""
    return any("/" in source.name and _suffix(source.name) in SUFFIXES for source in sources.files)


def _pictures(sources: Sources, problems: Problems) -> dict[str, Path]:
    """Name → path of the picture files; everything else is counted, archives inside are named."""
    pictures = {source.name: source.path for source in sources.files if _suffix(source.name) in SUFFIXES}
    others = [source.name for source in sources.files if source.name not in pictures]
    nested = [name for name in others if _suffix(name) in _ARCHIVE_SUFFIXES]
    for name in nested:
        note = problems.warn if pictures else problems.error
        note("nested-archive", f"{name!r} is an archive inside the upload; send its content itself.", file=name)
    sources.ignored.update(f"{_suffix(name) or 'no'} suffix" for name in others if name not in nested)
    if not pictures and not nested:
        seen = Counter(_suffix(name) or "no suffix" for name in others)
        found = ", ".join(f"{count} {suffix}" for suffix, count in seen.most_common(_EXAMPLES)) or "nothing"
        known = " ".join(sorted(SUFFIXES))
        problems.error("no-pictures", f"The upload has no picture files ({known}); found: {found}.")
    return pictures


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _wrapper(names: Iterable[str]) -> str:
    """The folders around everything, as `a/b/`: shared by all pictures, with class folders still below."""
    prefix = ""
    rest = [name.split("/") for name in names]
    while rest and len({parts[0] for parts in rest}) == 1 and min(len(parts) for parts in rest) >= 3:
        if rest[0][0].casefold() in SPLIT_FOLDERS:
            break
        prefix += rest[0][0] + "/"
        rest = [parts[1:] for parts in rest]
    return prefix


def _class_folders(folders: set[str], prefix: str, depth: int, splits: bool) -> set[str]:
    """Names of the class folders that exist, with pictures or without."""
    inner = (folder[len(prefix) :].split("/") for folder in folders if folder.startswith(prefix))
    named = (parts for parts in inner if len(parts) == depth and parts[-1])
    return {parts[-1] for parts in named if not splits or parts[0].casefold() in SPLIT_FOLDERS}


def _check_tops(tops: set[str], inner: Iterable[list[str]], splits: bool, problems: Problems) -> None:
    """Split folders beside others: classes named `train`, or a layout that is half one, half the other?"""
    split_tops = {top for top in tops if top.casefold() in SPLIT_FOLDERS}
    if splits:
        _check_twice(split_tops, problems)
    elif split_tops & {parts[0] for parts in inner if len(parts) > 2}:
        others = ", ".join(sorted(repr(top) for top in tops - split_tops)[:_EXAMPLES])
        named = ", ".join(sorted(repr(top) for top in split_tops))
        problems.error(
            "mixed-layout",
            f"The top level has the split folders {named} and also {others}; "
            "put every class folder into a split folder, or none.",
        )


def _check_twice(split_tops: set[str], problems: Problems) -> None:
    by_split: dict[Split, list[str]] = defaultdict(list)
    for top in sorted(split_tops):
        by_split[SPLIT_FOLDERS[top.casefold()]].append(top)
    for split, named in by_split.items():
        if len(named) > 1:
            problems.error("split-twice", f"The folders {', '.join(named)} all mean the split {split}; keep one.")


def _note_outside(outside: list[str], splits: bool, problems: Problems) -> None:
    if outside:
        problems.error(
            "outside-class-folders",
            f"{len(outside)} pictures lie outside class folders (expected {'split/' if splits else ''}class/picture), "
            f"such as {outside[0]!r}; move them, or choose the format `pictures` for pictures without labels.",
            file=outside[0],
        )
