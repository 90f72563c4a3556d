"""The tar reader against tarfile's writer, in all three formats, and against any bytes."""

from __future__ import annotations

import io
import tarfile
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image.entries import Entry
from stackpy_runtime.image.limits import Limits
from stackpy_runtime.image.tar import Reader

KINDS = {
    tarfile.REGTYPE: "file", tarfile.LNKTYPE: "link", tarfile.SYMTYPE: "symlink", tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block", tarfile.DIRTYPE: "folder", tarfile.FIFOTYPE: "fifo",
}  # fmt: skip


class Pieces:
    """Bytes in pieces of a given size, as a decompressor gives them."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.position = data, size, 0

    def read(self) -> bytes:
        piece = self.data[self.position : self.position + self.size]
        self.position += len(piece)
        return piece

    def seek(self, offset: int) -> None:
        self.position = offset


class Seen(NamedTuple):
    name: bytes
    kind: str
    link: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int]
    data: bytes | None


def seen(entry: Entry, data: bytes | None) -> Seen:
    return Seen(
        entry.name, entry.kind, entry.linkname, entry.mode, entry.uid, entry.gid, entry.mtime_ns,
        (entry.major, entry.minor), data,
    )  # fmt: skip


def read(data: bytes, size: int = 700, *, content: bool = True, seek: bool = False) -> list[Seen]:
    source = Pieces(data, size)
    reader = Reader(source, seek=source.seek if seek else None)
    found = []
    for entry in reader:
        text = b"".join(piece for _, piece in reader.content(entry)) if content and entry.kind == "file" else None
        found.append(seen(entry, text))
    return found


names = st.lists(st.text("abcäß .-_", min_size=1, max_size=60), min_size=1, max_size=4).map("/".join)
times = st.integers(0, 2**33)


@st.composite
def infos(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(names))
    info.type = draw(st.sampled_from(sorted(KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**32 - 2)), draw(st.integers(0, 0o7777777))
    info.mtime = draw(times)
    if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        info.linkname = draw(names)
    if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 255))
    data = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
    info.size = len(data)
    return info, data


@given(
    st.lists(infos(), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(1, 3000),
    st.booleans(),
)
def test_what_tarfile_writes_is_read(
    members: list[tuple[tarfile.TarInfo, bytes]], form: int, size: int, seek: bool
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as writer:
        for info, data in members:
            writer.addfile(info, io.BytesIO(data))
    expected = []
    for info, data in members:
        # tarfile writes folders with a final slash.
        name = info.name.encode() + (b"/" if info.isdir() and not info.name.endswith("/") else b"")
        device = (info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0)
        expected.append(
            Seen(name, KINDS[info.type], info.linkname.encode(), info.mode, info.uid, info.gid,
                 int(info.mtime) * 1_000_000_000, device, data if info.isreg() else None)
        )  # fmt: skip
    assert read(buffer.getvalue(), size) == expected
    # Content that nobody reads is passed over, with and without seeking.
    assert read(buffer.getvalue(), size, content=False, seek=seek) == [each._replace(data=None) for each in expected]


def test_a_long_name_in_the_old_posix_form() -> None:
    buffer = io.BytesIO()
    info = tarfile.TarInfo("p" * 150 + "/" + "n" * 100)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        writer.addfile(info)
    assert [each.name for each in read(buffer.getvalue())] == [info.name.encode()]


def test_fractions_of_seconds_and_attributes() -> None:
    buffer = io.BytesIO()
    info = tarfile.TarInfo("f")
    info.mtime = 1.25
    info.pax_headers = {"SCHILY.xattr.user.a": "b=c\n", "comment": "x", "LIBARCHIVE.x": "y", "atime": "3"}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as writer:
        writer.addfile(info)
    (entry,) = Reader(Pieces(buffer.getvalue(), 512))
    assert (entry.mtime_ns, entry.xattrs) == (1_250_000_000, {b"user.a": b"b=c\n"})


def test_one_zero_block_or_none_is_an_end_too() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        writer.addfile(tarfile.TarInfo("f"))
    assert [len(read(buffer.getvalue()[:length])) for length in (512, 1024, 1536, 10240)] == [1] * 4
    assert read(b"") == []


def test_old_headers_without_a_magic_name_folders_by_a_slash() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as writer:
        info = tarfile.TarInfo("d/")
        info.type = tarfile.AREGTYPE
        writer.addfile(info)
    (entry,) = read(buffer.getvalue())
    assert entry.kind == "folder"


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data, 100)
    except InvalidConfig:
        pass


@given(st.lists(infos(), min_size=1, max_size=3), st.data())
def test_a_damaged_tar_is_read_or_refused(members: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for info, content in members:
            writer.addfile(info, io.BytesIO(content))
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    except InvalidConfig:
        pass


def test_nothing_is_kept_of_a_million_entries() -> None:
    """The reader's memory does not grow with the archive, and the limit ends it."""
    block = io.BytesIO()
    with tarfile.open(fileobj=block, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        writer.addfile(tarfile.TarInfo("f"))
    header = block.getvalue()[:512]

    class Endless:
        def read(self) -> bytes:
            return header * 64

    reader = Reader(Endless(), Limits(entries=5000))
    with pytest.raises(InvalidConfig, match="more than 5000 entries"):
        for _ in reader:
            pass
    assert reader.count == 5001
