"""The tree of a result, in a folder of the host and as a tar; what it must not do to the host."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from stackpy_runtime.build import result_tree
from stackpy_runtime.errors import Conflict
from stackpy_runtime.model import Image
from tests.build_lab import Builder, file, run, source

HOST = {"kind": "host", "programs": ["sh", "ln", "mkdir", "chmod", "chown", "mkfifo", "touch", "rm", "cat", "mknod"]}
MADE = (
    "mkdir -p /made/deep; echo one >/made/one; ln /made/one /made/deep/two; chown 7:8 /made/one; chmod 640 /made/one; "
    "chmod 4755 /bin/cat; ln -s /etc/passwd /made/absolute; ln -s ../../../../../etc /made/up; mkfifo /made/pipe; "
    "mknod /made/null c 1 3; chmod 2750 /made/deep; touch -d @1000000000 /made/one; rm /bin/touch"
)

pytestmark = pytest.mark.root


@pytest.fixture
def image(builder: Builder) -> Image:
    return builder.build(source(run(MADE), base=HOST))


def test_a_folder_has_the_tree_and_belongs_to_its_owner(builder: Builder, image: Image, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 1234, 2345)
    left = result_tree.write_folder(builder.store, image, str(home / "new" / "out"))
    out = home / "new" / "out"
    one = (out / "made/one").stat()
    assert (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode), one.st_mtime) == (1234, 2345, 0o640, 1_000_000_000)
    assert ((out / "made/one").read_text(), one.st_nlink) == ("one\n", 2)
    assert (out / "made/deep/two").stat().st_ino == one.st_ino
    assert (os.readlink(out / "made/absolute"), os.readlink(out / "made/up")) == ("/etc/passwd", "../../../../../etc")
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in (home / "new").rglob("*")} == {(1234, 2345)}
    assert stat.S_ISFIFO((out / "made/pipe").stat().st_mode)
    # What would be rights on this host is left out, and said.
    assert not (out / "made/null").exists()
    assert left.devices == ["/made/null"]
    assert [path.rpartition("/")[2] for path in left.bits] == ["cat"]
    assert all(not path.lstat().st_mode & 0o6000 for path in out.rglob("*") if not path.is_symlink())
    assert not list(out.rglob("touch"))
    assert builder.clean()


def test_no_link_is_followed(builder: Builder, tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (outside / "kept").write_text("kept")
    image = builder.build(source(run(f"ln -s {outside} /away"), base=HOST))
    result_tree.write_folder(builder.store, image, str(out))
    # An image with a folder where an earlier one had a link: the link is not gone through.
    folder = builder.build(source(file("/away/kept", "changed")))
    with pytest.raises(Conflict, match="`away` is no folder in the destination"):
        result_tree.write_folder(builder.store, folder, str(out))
    assert (outside / "kept").read_text() == "kept"
    # A link in the place of a file is replaced, and what it names stays.
    (out / "file").symlink_to(outside / "kept")
    result_tree.write_folder(builder.store, builder.build(source(file("/file", "new"))), str(out))
    assert (out / "file").read_text() == "new"
    assert not (out / "file").is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_what_is_there_stays_and_what_is_named_is_replaced(builder: Builder, image: Image, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        result_tree.write_folder(builder.store, image, str(out))
        (out / "own").write_text("mine")
        (out / "made" / "one").write_text("changed by hand")
        (out / "made" / "deep" / "mine").write_text("mine")
    result_tree.write_folder(builder.store, image, str(out))
    assert (out / "made/one").read_text() == "one\n"
    assert (out / "made/deep/two").stat().st_ino == (out / "made/one").stat().st_ino
    assert ((out / "own").read_text(), (out / "made/deep/mine").read_text()) == ("mine", "mine")
    assert not list(out.rglob(".stackpy-*"))
    (out / "made/one").unlink()
    (out / "made/one").mkdir()
    with pytest.raises(Conflict, match="is a folder in the destination"):
        result_tree.write_folder(builder.store, image, str(out))
    assert not list(out.rglob(".stackpy-*"))


def test_a_tar_has_owners_and_bits_and_is_the_same_each_time(builder: Builder, image: Image) -> None:
    tars = []
    for _ in range(2):
        tars.append(io.BytesIO())
        result_tree.write_tar(builder.store, image, tars[-1])
    assert tars[0].getvalue() == tars[1].getvalue()
    tars[0].seek(0)
    with tarfile.open(fileobj=tars[0]) as archive:
        members = {each.name: each for each in archive}
    assert (members["made/deep/two"].uid, members["made/one"].linkname) == (7, "made/deep/two")
    assert members["made/null"].type == tarfile.CHRTYPE
    assert not [name for name in members if name.endswith("touch")]
    assert max(member.mtime for member in members.values()) <= image.get("epoch", 0)


def test_an_empty_image(builder: Builder, tmp_path: Path) -> None:
    image = builder.build(source())
    result_tree.write_folder(builder.store, image, str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == []
    out = io.BytesIO()
    result_tree.write_tar(builder.store, image, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == []
