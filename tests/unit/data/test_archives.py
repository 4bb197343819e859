"""Archives from strangers: what is unpacked, and what is refused by name."""

import errno
import io
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.archives import ArchiveLimits, archive_kind, scan_folder, unpack
from libs.data.archives.names import safe_name
from libs.data.errors import ArchiveError, DiskFullError

FILES = {"a/eins.png": b"one", "b ü/zwei drei.png": b"two" * 1000, "b ü/leer.png": b""}


def make_zip(file: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def make_tar(file: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def tar_of(file: Path, **attributes: object) -> Path:
    """A tar with a good file and one entry of the given attributes."""
    make_tar(file, {"a/good.png": b"x"})
    with tarfile.open(file, "a") as archive:
        info = tarfile.TarInfo("a/bad")
        for name, value in attributes.items():
            setattr(info, name, value)
        archive.addfile(info)
    return file


def zip_entry(file: Path, **attributes: object) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("a/bad")
        for name, value in attributes.items():
            setattr(info, name, value)
        archive.writestr(info, b"target")
    return file


def unpacked(file: Path, limits: ArchiveLimits | None = None) -> dict[str, bytes]:
    sources = unpack(file, file.parent / "out", limits or ArchiveLimits())
    return {source.name: source.path.read_bytes() for source in sources.files}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_is_unpacked(tmp_path: Path, mode: str) -> None:
    assert unpacked(make_tar(tmp_path / "upload", FILES, mode)) == FILES


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_is_unpacked(tmp_path: Path, format_: int) -> None:
    with tarfile.open(tmp_path / "upload", "w", format=format_) as archive:
        for number in range(40):
            info = tarfile.TarInfo("long/" * 15 + f"{number:060d}.png")
            info.size = 512 * (number % 3) + number % 2
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    assert len(unpacked(tmp_path / "upload")) == 40


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_unpacked(tmp_path: Path, compression: int) -> None:
    assert unpacked(make_zip(tmp_path / "upload", FILES, compression)) == FILES


def test_a_zip_with_a_comment_and_leading_bytes_is_counted_right(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", FILES)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"hello" * 100
    assert unpacked(file) == FILES


def test_files_come_sorted_whatever_their_order_in_the_archive(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", dict(reversed(FILES.items())))
    sources = unpack(file, tmp_path / "out", ArchiveLimits())
    assert [source.name for source in sources.files] == sorted(FILES)


def test_names_become_composed_unicode_and_system_files_are_counted(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "ä/grün.png")
    junk = {"__MACOSX/a/._x.png": b"", "a/.DS_Store": b"", "a/Thumbs.db": b""}
    sources = unpack(make_zip(tmp_path / "z", {decomposed: b"x", **junk}), tmp_path / "out", ArchiveLimits())
    assert [source.name for source in sources.files] == ["ä/grün.png"]
    assert sources.ignored == {"system files": 3}


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "C:\\evil", "..\\evil", "a\\..\\..\\evil", "\\\\host\\share"]
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_traversal_and_absolute_paths_are_refused(tmp_path: Path, make: Callable, name: str) -> None:
    file = make(tmp_path / "upload", {"a/good.png": b"x", name: b"evil"})
    with pytest.raises(ArchiveError, match="refused") as caught:
        unpack(file, tmp_path / "deep" / "out", ArchiveLimits())
    assert caught.value.member is not None
    assert "evil" in caught.value.member or "passwd" in caught.value.member or "share" in caught.value.member
    assert not list(tmp_path.rglob("*evil*"))
    assert not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a/x\ny.png", "control characters"), ("a/" * 40 + "x", "folders deep"), ("é" * 200 + ".png", "longer than 255")],
)
def test_names_no_file_system_holds_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        unpacked(make_tar(tmp_path / "upload", {name: b"x"}))


def test_a_name_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "upload", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("a/ä.png"))
    with pytest.raises(ArchiveError, match="not valid Unicode"):
        unpacked(tmp_path / "upload")


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "a/good.png"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, attributes: dict) -> None:
    with pytest.raises(ArchiveError, match=r"'a/bad': (links are refused|is no regular file)"):
        unpacked(tar_of(tmp_path / "upload", **attributes))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    file = zip_entry(tmp_path / "upload", create_system=3, external_attr=(kind | 0o644) << 16)
    with pytest.raises(ArchiveError, match=r"'a/bad': (links are refused|is no regular file)"):
        unpacked(file)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", {"a/x.png": b"x"})
    content = bytearray(file.read_bytes())
    content[6] |= 1  # the encryption flag, local and central
    content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"'a/x.png': is encrypted"):
        unpacked(file)


def test_a_zip_bomb_is_refused_before_unpacking(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", {"a/bomb.png": bytes(80 << 20)})
    with pytest.raises(ArchiveError, match=r"'a/bomb.png': .*bomb"):
        unpacked(file)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_tar_bomb_is_stopped_on_the_way(tmp_path: Path, mode: str) -> None:
    file = make_tar(tmp_path / "upload", {"a/bomb.png": bytes(80 << 20)}, mode)
    with pytest.raises(ArchiveError, match=r"'a/bomb.png': .*bomb"):
        unpacked(file)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_declared_and_real_sizes_have_a_limit(tmp_path: Path, make: Callable) -> None:
    file = make(tmp_path / "upload", {"a/1.png": b"x" * 600, "a/2.png": b"x" * 600})
    with pytest.raises(ArchiveError, match="more than the limit of 1,000 bytes"):
        unpacked(file, ArchiveLimits(max_unpacked_bytes=1000))


def test_a_zip_that_lies_about_sizes_does_not_unpack_more(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", {"a/liar.png": b"y" * 5000})
    content = bytearray(file.read_bytes())
    struct.pack_into("<L", content, 22, 10)
    struct.pack_into("<L", content, content.index(b"PK\x01\x02") + 24, 10)
    file.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"'a/liar.png': cannot be unpacked .*CRC"):
        unpacked(file)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_the_number_of_entries_has_a_limit(tmp_path: Path, make: Callable) -> None:
    file = make(tmp_path / "upload", {f"a/{i}.png": b"" for i in range(11)})
    assert len(unpacked(file, ArchiveLimits(max_files=11))) == 11
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        unpack(file, tmp_path / "again", ArchiveLimits(max_files=10))


def test_a_forged_extended_header_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a/long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    (tmp_path / "upload").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(ArchiveError, match="extended header of 8,58"):
        unpacked(tmp_path / "upload")


def test_duplicates_after_normalisation_are_refused(tmp_path: Path) -> None:
    names = ["a/ü.png", unicodedata.normalize("NFD", "a/ü.png")]
    with pytest.raises(ArchiveError, match="comes twice"):
        unpacked(make_zip(tmp_path / "upload", dict.fromkeys(names, b"x")))


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_name_that_is_file_and_folder_is_refused(tmp_path: Path, make: Callable) -> None:
    with pytest.raises(ArchiveError, match="file and a folder"):
        unpacked(make(tmp_path / "upload", {"a/x": b"x", "a/x/y": b"x"}))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_cut_off_tar_is_refused(tmp_path: Path, mode: str) -> None:
    noise = bytes(hash((i, 7)) % 256 for i in range(60_000))
    file = make_tar(tmp_path / "upload", {f"a/{i}.png": noise for i in range(4)}, mode)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArchiveError, match="broken or cut off"):
        unpacked(file)


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    file = make_tar(tmp_path / "upload", FILES)
    content = bytearray(file.read_bytes())
    content[1024:1030] = b"\xff" * 6  # the second header
    file.write_bytes(content)
    with pytest.raises(ArchiveError, match="header is damaged"):
        unpacked(file)


def test_a_cut_off_zip_is_refused(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "upload", FILES)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match="broken or cut off"):
        unpacked(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"hello, this is text", "The file is no archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(600), "The file is no archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(60), "a 7z archive, which is not read"),
        (b"\x80\x04\x95abc", "a Python pickle"),
        (b"\x1f\x8b broken", "compressed file is broken"),
        (b"PK\x03\x04" + bytes(10), "zip archive is broken"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "upload").write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        unpacked(tmp_path / "upload")


def test_a_gzip_of_something_else_is_refused(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "upload").write_bytes(gzip.compress(b"not a tar" * 100))
    with pytest.raises(ArchiveError, match="inside is no tar"):
        archive_kind(tmp_path / "upload")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_tar(tmp_path / "upload", FILES)
    real = Path.mkdir

    def no_room_below_out(self: Path, **options: bool) -> None:
        if self.parent.name == "out":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, **options)

    monkeypatch.setattr(Path, "mkdir", no_room_below_out)
    with pytest.raises(DiskFullError, match=r"is full .* while 'a/eins.png' was unpacked"):
        unpacked(file)
    assert not (tmp_path / "out").exists()


def test_a_zip_that_cannot_fit_is_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_zip(tmp_path / "upload", FILES)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DiskFullError, match="10 bytes free"):
        unpacked(file)


def test_a_tick_can_stop_the_work_and_nothing_is_left(tmp_path: Path) -> None:
    def stop(fraction: float) -> None:
        raise InterruptedError

    file = make_zip(tmp_path / "upload", FILES)
    with pytest.raises(InterruptedError):
        unpack(file, tmp_path / "out", ArchiveLimits(), stop)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    sources = scan_folder(tmp_path, 10)
    assert {source.name: source.path.read_bytes() for source in sources.files} == FILES
    with pytest.raises(ArchiveError, match="more than 2 entries"):
        scan_folder(tmp_path, 2)


@pytest.mark.parametrize("make", ["zip", "tar", "folder"])
def test_empty_folders_are_noted(tmp_path: Path, make: str) -> None:
    (tmp_path / "in" / "empty class").mkdir(parents=True)
    if make == "folder":
        assert scan_folder(tmp_path / "in", 10).folders == {"empty class"}
        return
    file = Path(shutil.make_archive(str(tmp_path / "upload"), make, tmp_path / "in"))
    assert unpack(file, tmp_path / "out", ArchiveLimits()).folders == {"empty class"}


@pytest.mark.parametrize("target", ["/etc", "/etc/passwd", "nowhere"])
def test_links_in_a_folder_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(target)
    with pytest.raises(ArchiveError, match=r"'a/link': links are refused"):
        scan_folder(tmp_path, 10)


@given(st.text(max_size=40))
def test_a_safe_name_stays_inside_and_is_stable(raw: str) -> None:
    try:
        name = safe_name(raw)
    except ArchiveError:
        return
    root = Path("/root/of/all")
    assert (root / name).is_relative_to(root)
    assert ".." not in name.split("/")
    assert safe_name(name) == name
