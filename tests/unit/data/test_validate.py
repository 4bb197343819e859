"""Validation of picture files, from the upload to the data set or the error."""

import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from libs.data.errors import InvalidDatasetError
from libs.data.images import open_images
from libs.data.images.index import SPLITS
from libs.data.manifest import ImagesManifest
from libs.training.run import Outcome, Stopped

Upload = Callable[[bytes, str], Path]
Validated = Callable[..., Outcome]
Folders = Callable[..., Path]


def zipped(root: Path, order: int | None = None, prefix: str = "") -> bytes:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if order is not None:
        random.Random(order).shuffle(files)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in files:
            archive.write(path, prefix + path.relative_to(root).as_posix())
    return stream.getvalue()


def tarred(root: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(root, "set")
    return stream.getvalue()


def manifest_of(outcome: Outcome) -> ImagesManifest:
    assert outcome.dataset is not None
    return open_images(outcome.dataset).manifest


def codes(error: InvalidDatasetError) -> set[str]:
    return {problem["code"] for problem in error.problems}


def png(side: int = 16, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_class_folders_become_a_data_set(
    class_folders: Folders, upload: Upload, validated: Validated, recording_run
) -> None:
    root = class_folders({"cats": 20, "dogs": 10})
    outcome = validated(upload(zipped(root), "pets.zip"))
    manifest = manifest_of(outcome)
    assert manifest.classes == ["cats", "dogs"]
    assert {split: counts.by_class for split, counts in manifest.splits.items()} == {
        "train": [14, 7],
        "val": [2, 1],
        "test": [4, 2],
    }
    assert (manifest.channels, manifest.height, manifest.width, manifest.uniform_size) == (3, 16, 16, True)
    report = outcome.details["report"]
    assert json.loads((recording_run.folder / "report.json").read_text())["digest"] == manifest.digest
    assert report["upload"]["name"] == "pets.zip"
    assert report["splits"]["val"] == {"pictures": 3, "origin": "made"}
    assert Image.open(io.BytesIO(outcome.files["preview.png"].read_bytes())).height > 100
    assert recording_run.fractions == sorted(recording_run.fractions)
    assert recording_run.fractions[-1] == 1.0
    assert not (recording_run.folder / "unpacked").exists()


def test_the_data_set_holds_the_uploaded_pictures_and_their_figures(
    class_folders: Folders, upload: Upload, validated: Validated
) -> None:
    root = class_folders({"a": 12, "b": 12})
    outcome = validated(upload(zipped(root), "x.zip"))
    assert outcome.dataset is not None
    data = open_images(outcome.dataset)
    every = data.split("all")
    for position in range(len(every)):
        label = data.manifest.classes[int(every.labels[position])]
        original = root / every.name_of(position)
        assert (data.pictures / every.name_of(position)).read_bytes() == original.read_bytes()
        assert original.parent.name == label
    train = data.split("train")
    pixels = np.stack([train.picture(i) for i in range(len(train))]) / 255
    np.testing.assert_allclose(data.manifest.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(data.manifest.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)


def test_equal_content_has_an_equal_digest_however_it_was_packed(
    class_folders: Folders, upload: Upload, validated: Validated, recording_run
) -> None:
    root = class_folders({"a": 8, "b b": 8})
    uploads = [
        upload(zipped(root), "x.zip"),
        lambda: upload(zipped(root, order=1, prefix="wrapped/twice/"), "y.zip"),
        lambda: upload(tarred(root), "z.tgz"),
        lambda: root,
    ]
    digests = set()
    for number, folder in enumerate(uploads):
        recording_run.folder = recording_run.folder.parent / f"run{number}"
        digests.add(manifest_of(validated(folder() if callable(folder) else folder)).digest)
    assert len(digests) == 1
    recording_run.folder = recording_run.folder.parent / "other"
    (root / "a" / "0.png").write_bytes(png(seed=9))
    assert manifest_of(validated(root)).digest not in digests


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_given_splits_are_respected(class_folders: Folders, validated: Validated, names: tuple) -> None:
    counts = dict(zip(names, (6, 3, 2), strict=True))
    root = class_folders({f"{split}/{label}": count for split, count in counts.items() for label in "ab"})
    outcome = validated(root)
    held = {split: counts.by_class for split, counts in manifest_of(outcome).splits.items()}
    assert held == {"train": [6, 6], "val": [3, 3], "test": [2, 2]}
    assert {split["origin"] for split in outcome.details["report"]["splits"].values()} == {"given"}


def test_a_missing_validation_split_is_cut_from_the_training_pictures(
    class_folders: Folders, validated: Validated
) -> None:
    root = class_folders({"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 3})
    outcome = validated(root, val_fraction=0.2)
    held = {split: counts.by_class for split, counts in manifest_of(outcome).splits.items()}
    assert held == {"train": [8, 8], "val": [2, 2], "test": [3, 3]}
    assert outcome.details["report"]["splits"]["val"]["origin"] == "made"


def test_spaces_and_unicode_in_names(class_folders: Folders, upload: Upload, validated: Validated) -> None:
    root = class_folders({"schöne Katzen": 6, "犬 と 猫": 6})
    manifest = manifest_of(validated(upload(zipped(root, prefix="mein Ordner/"), "süß.zip")))
    assert manifest.classes == ["schöne Katzen", "犬 と 猫"]


def test_system_files_and_others_are_ignored_and_counted(
    class_folders: Folders, upload: Upload, validated: Validated
) -> None:
    root = class_folders({"a": 8, "b": 8})
    for name in ("a/.DS_Store", "a/Thumbs.db", "__MACOSX/a/._0.png", "readme.txt", "labels.csv", "LICENSE"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    report = validated(upload(zipped(root), "x.zip")).details["report"]
    assert report["ignored"] == {"system files": 3, ".txt suffix": 1, ".csv suffix": 1, "no suffix": 1}


def test_pictures_without_labels(class_folders: Folders, upload: Upload, validated: Validated) -> None:
    manifest = manifest_of(validated(upload(zipped(class_folders({".": 3})), "x.zip")))
    assert manifest.classes == []
    assert manifest.splits["train"].pictures == 3


def test_grey_pictures_make_a_grey_data_set(class_folders: Folders, validated: Validated) -> None:
    assert manifest_of(validated(class_folders({"a": 8, "b": 8}, mode="L"))).channels == 1


def test_one_coloured_picture_makes_a_coloured_data_set(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({"a": 8, "b": 8}, mode="L")
    (root / "a" / "colour.png").write_bytes(png(side=20))
    outcome = validated(root)
    manifest = manifest_of(outcome)
    assert (manifest.channels, manifest.uniform_size, manifest.height) == (3, False, 16)
    assert outcome.details["report"]["modes"] == {"L": 16, "RGB": 1}
    assert outcome.details["report"]["sizes"]["width"] == {"min": 16, "median": 16, "max": 20}


def test_one_class_is_an_error(class_folders: Folders, upload: Upload, validated: Validated) -> None:
    with pytest.raises(InvalidDatasetError, match="of one class, 'cats'") as caught:
        validated(upload(zipped(class_folders({"cats": 20}), prefix="wrapped/"), "x.zip"))
    assert codes(caught.value) == {"one-class"}
    assert caught.value.user_error


def test_three_pictures_are_an_error_that_says_how_many_are_needed(
    class_folders: Folders, validated: Validated
) -> None:
    with pytest.raises(InvalidDatasetError, match="has 3 readable pictures; at least 10 are needed") as caught:
        validated(class_folders({"cats": 2, "dogs": 1}))
    assert codes(caught.value) == {"too-few-pictures"}


def test_every_problem_is_found_at_once(class_folders: Folders, validated: Validated, recording_run) -> None:
    root = class_folders({"cats": 2, "dogs": 0})
    (root / "loose.png").write_bytes(png())
    with pytest.raises(InvalidDatasetError) as caught:
        validated(root)
    assert codes(caught.value) == {"too-few-pictures", "empty-class", "outside-class-folders", "class-not-in-train"}
    report = json.loads((recording_run.folder / "report.json").read_text())
    assert {problem["code"] for problem in report["problems"]} >= codes(caught.value)
    assert caught.value.report["pictures"] == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 not a jpeg", png()[:-60]])
def test_a_broken_picture_is_left_out_and_named(class_folders: Folders, validated: Validated, content: bytes) -> None:
    root = class_folders({"a": 12, "b": 12})
    (root / "a" / "kaputt.jpg").write_bytes(content)
    outcome = validated(root)
    assert sum(counts.pictures for counts in manifest_of(outcome).splits.values()) == 24
    (problem,) = (p for p in outcome.details["report"]["problems"] if p["code"] == "broken-picture")
    assert problem["file"] == "a/kaputt.jpg"
    assert outcome.details["report"]["broken"] == 1


def test_too_many_broken_pictures_are_an_error(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({"a": 12, "b": 12})
    for number in range(2):
        (root / "a" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(InvalidDatasetError, match="2 of 24 pictures cannot be read, more than the allowed 5%"):
        validated(root)


def test_a_picture_of_100_megapixels_is_refused_without_decoding(
    class_folders: Folders, validated: Validated, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders({"a": 12, "b": 12})
    Image.new("1", (10_000, 10_000)).save(root / "a" / "huge.png")
    loaded: list[tuple[int, int]] = []
    real = ImageFile.ImageFile.load

    def load(self: ImageFile.ImageFile) -> object:
        loaded.append(self.size)
        return real(self)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    report = validated(root).details["report"]
    (problem,) = (p for p in report["problems"] if p["code"] == "broken-picture")
    assert "100,000,000 pixels, more than the limit of 50,000,000; it was not decoded" in problem["message"]
    assert (10_000, 10_000) not in loaded


def test_duplicates_are_reported(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({f"{split}/{label}": 8 for split in ("train", "val", "test") for label in "ab"})
    shutil.copy(root / "train/a/0.png", root / "train/a/copy.png")
    shutil.copy(root / "train/a/1.png", root / "test/a/leak.png")
    shutil.copy(root / "train/a/2.png", root / "train/b/wrong.png")
    report = validated(root, near_duplicates=False).details["report"]
    found = report["duplicates"]
    assert (found["groups"], found["superfluous_pictures"]) == (3, 3)
    assert (found["groups_across_splits"], found["groups_with_conflicting_labels"]) == (1, 1)
    messages = {p["code"]: p["message"] for p in report["problems"]}
    assert "'test/a/leak.png' (test)" in messages["duplicate-across-splits"]
    assert "'train/b/wrong.png' is 'b'" in messages["conflicting-labels"]


def test_equal_pictures_are_dealt_to_one_split(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({"a": 30, "b": 30})
    for number in range(30):
        shutil.copy(root / f"a/{number}.png", root / f"a/copy{number}.png")
    assert validated(root).details["report"]["duplicates"]["groups_across_splits"] == 0


def test_a_recompressed_copy_in_another_split_is_reported(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({f"{split}/{label}": 8 for split in ("train", "test") for label in "ab"})
    smooth = Image.fromarray(np.random.default_rng(5).integers(0, 256, (6, 6, 3), np.uint8)).resize((96, 96), 3)
    smooth.save(root / "train/a/smooth.png")
    smooth.resize((80, 80)).save(root / "test/a/smooth.jpg", quality=70)
    report = validated(root, val_fraction=0).details["report"]
    assert report["near_duplicates"]["examples"] == [["test/a/smooth.jpg", "train/a/smooth.png"]]
    assert report["near_duplicates"]["complete"]


def test_imbalance_is_a_warning(class_folders: Folders, validated: Validated) -> None:
    report = validated(class_folders({"a": 45, "b": 4})).details["report"]
    assert {p["code"] for p in report["problems"]} == {"imbalance"}


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        ({"test/a": 8, "test/b": 8}, "no-training-split"),
        ({"train/a": 8, "train/b": 8, "test/c": 3}, "class-not-in-train"),
        ({"train/a": 8, "train/b": 8, "extra/a": 3}, "mixed-layout"),
        ({"train": 8, "test": 8}, "outside-class-folders"),
        ({"train/a": 8, "Train/b": 8, "test/a": 1}, "split-twice"),
        ({"a": 8, "b": 8, ".": 1}, "outside-class-folders"),
    ],
)
def test_layouts_that_cannot_be_understood(
    class_folders: Folders, validated: Validated, layout: dict, code: str
) -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        validated(class_folders(layout))
    assert code in codes(caught.value)


def test_a_class_may_be_called_train(class_folders: Folders, validated: Validated) -> None:
    manifest = manifest_of(validated(class_folders({"bus": 8, "train": 8})))
    assert manifest.classes == ["bus", "train"]


def test_nested_archives_are_named(class_folders: Folders, upload: Upload, validated: Validated) -> None:
    inner = zipped(class_folders({"a": 8, "b": 8}))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data/inner.zip", inner)
    with pytest.raises(InvalidDatasetError, match=r"'data/inner.zip' is an archive inside the upload"):
        validated(upload(stream.getvalue(), "outer.zip"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"no archive at all", "is no archive"),
        (b"PK\x03\x04 no zip", "zip archive is broken"),
    ],
)
def test_what_is_no_archive_is_an_invalid_data_set(
    upload: Upload, validated: Validated, content: bytes, message: str
) -> None:
    with pytest.raises(InvalidDatasetError, match=message) as caught:
        validated(upload(content, "x.zip"))
    assert codes(caught.value) == {"archive"}


def test_an_unsafe_archive_is_an_invalid_data_set_naming_the_member(upload: Upload, validated: Validated) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../evil.png", b"x")
    with pytest.raises(InvalidDatasetError) as caught:
        validated(upload(stream.getvalue(), "x.zip"))
    assert caught.value.problems[0]["file"] == "../../evil.png"


def test_an_archive_without_pictures_says_what_it_found(upload: Upload, validated: Validated) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/x.txt", b"x")
        archive.writestr("a/y.txt", b"x")
    with pytest.raises(InvalidDatasetError, match=r"no picture files .* found: 2 \.txt"):
        validated(upload(stream.getvalue(), "x.zip"))


def test_a_wish_to_stop_is_obeyed(class_folders: Folders, upload: Upload, validated: Validated, recording_run) -> None:
    folder = upload(zipped(class_folders({"a": 30, "b": 30})), "x.zip")
    recording_run.stop_after = 25
    with pytest.raises(Stopped) as caught:
        validated(folder)
    assert caught.value.reason == "cancel"
    assert not (recording_run.folder / "unpacked").exists()


def test_the_seed_decides_the_split(class_folders: Folders, validated: Validated, recording_run) -> None:
    root = class_folders({"a": 30, "b": 30})
    splits = []
    for number, seed in enumerate((0, 0, 1)):
        recording_run.folder = recording_run.folder.parent / f"run{number}"
        outcome = validated(root, split_seed=seed)
        assert outcome.dataset is not None
        splits.append(open_images(outcome.dataset).index.split)
    np.testing.assert_array_equal(splits[0], splits[1])
    assert (splits[0] != splits[2]).any()
    assert set(splits[0].tolist()) == set(range(len(SPLITS)))
