"""Layers of real trees, and of all that a layer can say, against GNU tar and what other engines make of them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.image import archive
from stackpy_runtime.store.store import Store
from tests import peers_lab
from tests.image_archives import Built, as_tar
from tests.layer_trees import Taken, everything
from tests.security.tar_building import Member, device, file, folder, hardlink, symlink, tar_of

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of what systems have, and of what they seldom have."""
    top = tmp_path_factory.mktemp("real") / "tree"
    top.mkdir()
    for path in ("etc", "usr/share/zoneinfo", "usr/lib/terminfo", "usr/share/doc/python3"):
        if os.path.isdir(f"/{path}"):
            subprocess.run(["cp", "-a", "--parents", path, top], check=True, cwd="/")
    odd = top / "odd"
    odd.mkdir(mode=0o1777)
    (odd / ("long" * 40)).mkdir()
    (odd / ("long" * 40) / ("name" * 60)).write_text("far down")
    os.symlink("t" * 700, odd / "long-link")
    os.symlink("t" * 430, odd / "link-of-nearly-a-block")
    (odd / "empty").touch()
    (odd / "block").write_bytes(b"b" * 512)
    (odd / "large").write_bytes(os.urandom(3_000_001))
    os.link(odd / "large", odd / "another-name")
    os.mkfifo(odd / "pipe", 0o620)
    os.mknod(odd / "disk", 0o060660, os.makedev(8, 17))
    os.mknod(odd / "terminal", 0o020620, os.makedev(300, 70_000))
    (odd / "set-id").write_text("#!")
    os.chown(odd / "set-id", 1000, 70_000)
    os.chmod(odd / "set-id", 0o6755)
    with open(odd / "sparse", "wb") as file:
        for offset, length in ((4096, 4096), (40_960, 5000), (1 << 20, 1)):
            file.seek(offset)
            file.write(os.urandom(length))
        file.truncate(1 << 22)
    with open(odd / "all-hole", "wb") as file:
        file.truncate(1 << 21)
    os.setxattr(odd / "block", "user.mine", b"v" * 1000)
    os.setxattr(odd, "user.of-a-folder", b"\0\xff")
    os.setxattr(odd / "set-id", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    for number in range(300):
        (odd / f"one-of-many-{number}").write_text(str(number))
    os.utime(odd / "empty", ns=(0, 0))
    os.utime(odd / "large", ns=(0, 7_000_000_000 * 10**9))
    return top


FORMATS = {
    "gnu": ["--format=gnu", "--sparse"],
    "posix-0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "posix-0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "posix-1.0": ["--format=posix", "--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"],
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_real_tree_is_what_tar_extracts(real: Path, tmp_path: Path, form: str) -> None:
    archived = tmp_path / "tar"
    subprocess.run(["tar", "-C", real, *FORMATS[form], "-cf", archived, "."], check=True)
    (tmp_path / "out").mkdir()
    options = ["--numeric-owner", "--same-owner", "-p", "--xattrs", "--xattrs-include=*"]
    subprocess.run(["tar", "-C", tmp_path / "out", *options, "-xf", archived], check=True)
    extracted = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        with Taken(tmp_path / "indexed") as taken:
            found, wanted = everything(taken.index(archived.read_bytes())), everything(extracted)
    finally:
        os.close(extracted)
    assert len(found) > 600
    assert found == wanted
    shutil.rmtree(tmp_path)


# --- against other engines --------------------------------------------------------------------------------------------

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0).decode("latin-1")
LAYERS: list[list[Member]] = [
    [
        folder("etc", mtime=1_700_000_000),
        file("etc/motd", data=b"lower", mtime=1_700_000_001),
        folder("gone"),
        file("gone/file"),
        file("gone-file"),
        folder("opaque", 0o750, uid=5, gid=6),
        file("opaque/old"),
        folder("opaque/below", 0o700),
        file("opaque/below/old"),
        folder("becomes-file"),
        file("becomes-file/old"),
        file("becomes-folder"),
        symlink("becomes-folder-too", "etc"),
        folder("becomes-link"),
        folder("merged", 0o711, uid=1, gid=2, mtime=1_600_000_000),
        file("merged/kept", data=b"kept"),
        file("linked", data=b"linked", mode=0o640, uid=70_000, gid=2**31),
        hardlink("linked-too", "linked"),
        # What a link says of the file counts.
        hardlink("merged/linked-three", "linked", mode=0o604, uid=3, gid=4, mtime=1_500_000_000),
        symlink("absolute", "/etc/motd", uid=3, gid=4),
        symlink("dangling", "../../nowhere"),
        symlink("to-folder", "merged"),
        hardlink("to-folder-too", "to-folder", uid=5, gid=6, mtime=1_500_000_000),
        Member("pipe", "fifo", mode=0o620),
        device("null", "char", 1, 3),
        device("disk", "block", 8, 17),
        file("set-id", mode=0o6755, uid=1000, gid=1000),
        folder("sticky", 0o1777),
        folder("closed", 0),
        file("closed/file", mode=0),
        folder("x" * 200),
        file("x" * 200 + "/" + "y" * 200, data=b"far"),
        file("späte Datei\n", data=b"odd name"),
        file("capable", pax={"SCHILY.xattr.security.capability": CAPABILITY}),
        folder("noted", pax={"SCHILY.xattr.user.note": "on a folder"}),
        file("noted/file", pax={"SCHILY.xattr.user.note": "on a file"}),
        file("late", mtime=2**33),
    ],
    [
        folder("etc", mtime=1_700_000_002),
        file("etc/motd", data=b"upper", mode=0o600, mtime=1_700_000_002),
        file(".wh.gone"),
        file(".wh.gone-file"),
        folder("opaque", 0o755, uid=9, gid=9),
        file("opaque/.wh..wh..opq"),
        file("opaque/new", data=b"new"),
        file("becomes-file", data=b"a file"),
        folder("becomes-folder", 0o700),
        file("becomes-folder/new"),
        folder("becomes-folder-too", 0o705),
        file("becomes-folder-too/new"),
        symlink("becomes-link", "merged"),
        folder("merged", 0o755, uid=0, gid=0, mtime=1_650_000_000),
        file("merged/new", data=b"new"),
        file("linked", data=b"alone now"),
    ],
    [
        # Every folder has an entry of its own, as in all layers that engines write; of one that has none docker forgets
        # what the layers beneath say, and gives it the time of unpacking.
        folder("merged", 0o755, mtime=1_660_000_000),
        file("merged/.wh.kept"),
        folder("gone", 0o700),
        file("gone/again", data=b"again"),
        folder("opaque", 0o711, uid=9, gid=9),
        file("opaque/.wh.new"),
        file(".wh.nothing-there"),
        file("opaque/two", data=b"two names"),
        hardlink("opaque/one", "opaque/two"),
    ],
]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with peers_lab.all_there_are(tmp_path_factory.mktemp("peers")) as found:
        yield found


def loaded(place: Path, tars: list[bytes]) -> Iterator[tuple[str, peers_lab.Tree]]:
    """What both of our ways make of an image whose archive lies in `place`."""
    for kind in ("indexed", "unpacked"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STACKPY_LAYERS", kind)
            store = Store(str(place / kind), create=True)
            image = archive.load(store, str(place / "image.tar"), tag=True)
            store.close()
            with peers_lab.ours(str(place / kind), image["id"]) as top:
                yield kind, peers_lab.tree(top, times=True)
    assert len(image["layers"]) == len(tars)


@pytest.mark.parametrize("peer", peers_lab.NAMES)
@pytest.mark.parametrize("what", ["all kinds of entries", "a real tree"])
def test_an_image_has_the_tree_that_a_peer_gives_it(
    peers: dict[str, Any], real: Path, tmp_path: Path, peer: str, what: str
) -> None:
    """Kind, mode, owner, size, time, links, device, attributes and content of everything."""
    if what == "a real tree":
        tars = [
            subprocess.run(
                ["tar", "-C", real, *FORMATS["posix-1.0"], "-c", "."], check=True, capture_output=True
            ).stdout
        ]
    else:
        tars = [tar_of(members, "") for members in LAYERS]
    built = Built(tars, config={}, history=[{"created_by": "x"} for _ in tars])
    as_tar(tmp_path / "image.tar", built.docker(RepoTags=["localhost/peers:1"]))
    other = peers[peer]
    other("load", "-i", str(tmp_path / "image.tar"))
    with other.mounted("localhost/peers:1") as top:
        theirs = peers_lab.tree(top, times=True)
    for kind, ours in loaded(tmp_path, tars):
        assert ours == theirs, kind
    assert len(theirs) > 30
