"""Reading an upload, whatever it is, into entries."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from libs.data.archives import ArchiveLimits, Sources, archive_kind, scan_folder, unpack
from libs.data.config import ValidationConfig
from libs.data.errors import DataError
from libs.data.images.arrays import ArraysWriter
from libs.data.images.inspect import inspect_array, inspect_files
from libs.data.public import pull
from libs.data.validation.array_labels import read_labels
from libs.data.validation.array_names import array_groups
from libs.data.validation.array_pixels import PicturePlan, plan_pictures
from libs.data.validation.entries import Collected, Entry, Place
from libs.data.validation.layout import Layout, class_folders, has_folders, unlabelled
from libs.data.validation.npz import ArrayError, NpzFile, is_npz
from libs.data.validation.problems import Problems
from libs.data.validation.upload import Upload
from libs.data.validation.watch import Watch


def collect(
    upload: Upload, config: ValidationConfig, scratch: Path, target: Path, problems: Problems, watch: Watch
) -> Collected:
    """Read an upload; what is wrong becomes problems.

    Args:
        upload: what came in.
        config: format and limits.
        scratch: folder to unpack to.
        target: folder of the data set; arrays are written there at once.
        problems: gets what was found.
        watch: progress and stop.

    Raises:
        DataError: nothing can be read at all.
    """
    limits = ArchiveLimits(config.max_files, config.max_unpacked_bytes)
    if upload.public:
        watch.step(0.0, 0.1, f"fetching {upload.name}")
        upload = Upload(pull(upload.name, tick=watch.tick), upload.name)
    npz = upload.url is None and archive_kind(upload.path) == "zip" and is_npz(upload.path, limits)
    if npz and config.format in ("auto", "npz"):
        watch.step(0.1, 0.8, "reading arrays")
        with NpzFile(upload.path, limits) as file:
            return _collect_arrays(file, config, target, problems, watch)
    if npz or config.format == "npz":
        raise DataError(f"The format is given as {config.format!r}, but the upload {'is' if npz else 'is not'} an npz.")
    watch.step(0.0, 0.15, "unpacking")
    if upload.url is not None:
        sources = scan_folder(upload.path, config.max_files)
    else:
        sources = unpack(upload.path, scratch, limits, watch.tick)
    watch.step(0.15, 0.8, "reading pictures")
    return _collect_files(upload, sources, config, problems, watch)


def _collect_files(
    upload: Upload, sources: Sources, config: ValidationConfig, problems: Problems, watch: Watch
) -> Collected:
    labelled = config.format == "class-folders" or (config.format == "auto" and has_folders(sources))
    layout = class_folders(sources, problems) if labelled else unlabelled(sources, problems)
    layout.pictures.sort(key=lambda picture: picture.stored)
    place = _place(upload, layout)
    entries = list(_readable(layout, place, config.max_pixels, problems, watch))
    return Collected(
        format="class-folders" if labelled else "pictures",
        storage="pictures",
        classes=layout.classes,
        entries=entries,
        broken=len(layout.pictures) - len(entries),
        ignored=dict(sources.ignored),
        notes=[],
        place=place,
    )


def _place(upload: Upload, layout: Layout) -> Place | None:
    """Where pictures stay: the folder used in place, without the folders that wrap everything."""
    if upload.url is None or not layout.pictures:
        return None
    first = layout.pictures[0]
    folder = first.path.parents[first.stored.count("/")]
    wrapping = folder.relative_to(upload.path).parts
    return Place(folder, "/".join((upload.url, *wrapping)) if upload.url.startswith("s3://") else folder.as_uri())


def _readable(
    layout: Layout, place: Place | None, max_pixels: int, problems: Problems, watch: Watch
) -> Iterator[Entry]:
    looks = inspect_files([picture.path for picture in layout.pictures], max_pixels)
    for done, (picture, look) in enumerate(zip(layout.pictures, looks, strict=True), start=1):
        watch.tick(done / len(layout.pictures))
        if isinstance(look, str):
            problems.warn("broken-picture", f"{picture.name!r} is left out: {look}.", file=picture.name)
            continue
        for note in look.notes:
            problems.warn("odd-picture", f"{picture.name!r}: {note}", file=picture.name)
        # On disk a name need not be in Unicode's normal form; in place it stays as it is.
        stored = picture.stored if place is None else picture.path.relative_to(place.folder).as_posix()
        yield Entry(picture.name, stored, picture.label, picture.split, look, picture.path)


def _collect_arrays(
    npz: NpzFile, config: ValidationConfig, target: Path, problems: Problems, watch: Watch
) -> Collected:
    groups = array_groups(npz.names, problems)
    planned = [plan_pictures(npz, group.x, config.max_pixels, problems) for group in groups]
    plans = [plan for plan in planned if plan is not None]
    _check_same_size(plans, problems)
    counts = [plan.header.shape[0] for plan in plans]
    collected = Collected("npz", "arrays", [], [], 0, {}, [_note(plan) for plan in plans])
    if len(plans) < len(groups) or problems.fatal:
        return collected
    collected.classes, labels = read_labels(npz, groups, counts, problems)
    if all(group.y is None for group in groups):
        collected.classes = []
    channels = 1 if all(plan.channels == 1 for plan in plans) else 3
    shape = (sum(counts), plans[0].height, plans[0].width, channels)
    with ArraysWriter(target / "arrays.npz", shape) as writer:
        for group, plan, own_labels in zip(groups, plans, labels, strict=True):
            for row, picture in enumerate(_pictures(npz, plan, channels, writer, problems)):
                watch.tick(len(collected.entries) / max(shape[0], 1))
                entry = Entry(f"{group.x}[{row}]", "", int(own_labels[row]), group.split, inspect_array(picture))
                collected.entries.append(entry)
    return collected


def _pictures(
    npz: NpzFile, plan: PicturePlan, channels: int, writer: ArraysWriter, problems: Problems
) -> Iterator[np.ndarray]:
    """Write the pictures and yield them one by one; broken data becomes a problem."""
    try:
        for pictures in plan.pictures(npz):
            written = np.ascontiguousarray(np.broadcast_to(pictures, (*pictures.shape[:3], channels)))
            writer.add(written)
            yield from written
    except ArrayError as error:
        problems.error(error.code, f"{error}.", column=plan.header.name)


def _check_same_size(plans: list[PicturePlan], problems: Problems) -> None:
    for plan in plans[1:]:
        if (plan.height, plan.width) != (plans[0].height, plans[0].width):
            problems.error(
                "picture-size",
                f"array {plan.header.name!r} has pictures of {plan.width} x {plan.height} px, "
                f"{plans[0].header.name!r} of {plans[0].width} x {plans[0].height}; they must agree.",
                column=plan.header.name,
            )


def _note(plan: PicturePlan) -> str:
    axes = "[N, C, H, W]" if plan.channels_first else "[N, H, W, C]" if len(plan.header.shape) == 4 else "[N, H, W]"
    return f"{plan.header.name}: {plan.header.dtype} {axes}, values taken {plan.levels}"
