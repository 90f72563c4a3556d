"""Headers that we write, read by tarfile and by our own reader."""

from __future__ import annotations

import io
import tarfile
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stackpy_runtime.image import tar_writing
from stackpy_runtime.image.entries import CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK
from stackpy_runtime.image.tar import Reader

_name = st.lists(
    st.binary(min_size=1, max_size=90).map(lambda part: part.translate(None, b"/\0") or b"x"), min_size=1, max_size=6
).map(b"/".join)
_text_name = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=90), min_size=1, max_size=4
).map(lambda parts: "/".join(parts).encode())
_number = st.one_of(st.integers(0, 0o7777777), st.integers(0, 0xFFFFFFFE))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


def _entries(data: bytes) -> list[Any]:
    return list(Reader(_Bytes(data)))


@given(_name, _number, _number, st.integers(0, 0o7777), st.integers(-(1 << 40), 1 << 40), st.binary(max_size=40))
def test_our_reader_reads_what_was_written(
    name: bytes, uid: int, gid: int, mode: int, mtime: int, content: bytes
) -> None:
    head = tar_writing.header(
        FILE,
        name,
        mode=mode,
        uid=uid,
        gid=gid,
        size=len(content),
        mtime=mtime,
        attributes={b"user.a": content, b"security.capability": b"\0\n=" + content},
    )
    data = head + content + tar_writing.padding(len(content)) + tar_writing.END
    (entry,) = _entries(data)
    assert (entry.kind, entry.name, entry.uid, entry.gid, entry.mode, entry.mtime_ns, entry.size) == (
        FILE, name, uid, gid, mode, mtime * 1_000_000_000, len(content),
    )  # fmt: skip
    assert entry.xattrs == {b"user.a": content, b"security.capability": b"\0\n=" + content}


@given(_text_name, _text_name, _number, st.integers(0, 1 << 40))
def test_tarfile_reads_what_was_written(name: bytes, target: bytes, uid: int, mtime: int) -> None:
    data = (
        tar_writing.header(FOLDER, name, mode=0o1777, uid=uid, mtime=mtime)
        + tar_writing.header(SYMLINK, name, target=target)
        + tar_writing.header(LINK, name, target=target)
        + tar_writing.header(FIFO, name, mode=0o600)
        + tar_writing.header(CHARACTER, name, device=(5, 1))
        + tar_writing.END
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.getmembers()
    text, other = name.decode(), target.decode()
    assert [member.name for member in found] == [text.rstrip("/") or text] * 5
    assert [member.type for member in found] == [tarfile.DIRTYPE, b"2", b"1", tarfile.FIFOTYPE, tarfile.CHRTYPE]
    assert (found[0].uid, found[0].mode, int(found[0].mtime), found[0].uname) == (uid, 0o1777, mtime, "")
    assert [found[1].linkname, found[2].linkname] == [other, other]
    assert (found[4].devmajor, found[4].devminor) == (5, 1)


def test_a_file_that_is_too_large_for_octal_digits_has_its_size_in_a_record() -> None:
    (block,) = [tar_writing.header(FILE, b"big", size=1 << 40)]
    assert b"size=1099511627776\n" in block
    assert len(block) == 3 * 512


def test_the_same_entry_gives_the_same_bytes() -> None:
    one = tar_writing.header(FILE, b"a" * 200, attributes={b"user.b": b"1", b"user.a": b"2"})
    other = tar_writing.header(FILE, b"a" * 200, attributes={b"user.a": b"2", b"user.b": b"1"})
    assert one == other
