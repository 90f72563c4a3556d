"""cp against a container that works against it. Rows of the threat list: 2018-15664 (and 2026-42306), 2019-14271."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from stackpy_runtime.errors import EngineError
from tests.engine_lab import PRELUDE, Canary, Lab
from tests.security.test_sandbox_entering import evil_modules

pytestmark = pytest.mark.root

EXCHANGE = """
import threading
RENAME_EXCHANGE, AT_FDCWD = 2, -100
target = sys.argv[1]
for place in sys.argv[2:]:
    os.makedirs(place + "/dir/empty")
    open(place + "/dir/secret", "w").write("inside")
    os.symlink(target, place + "/link")
print("exchanging", flush=True)
while True:
    for place in sys.argv[2:]:
        libc.syscall(316, AT_FDCWD, (place + "/dir").encode(), AT_FDCWD, (place + "/link").encode(), RENAME_EXCHANGE)
"""


@pytest.mark.parametrize("where", ["root", "volume"])
def test_2018_15664_2026_42306_cp_through_links_that_are_exchanged(
    lab: Lab, canary: Canary, tmp_path: Path, where: str
) -> None:
    mounts = []
    if where == "volume":
        lab.engine.create_volume("shared", {})
        mounts = [{"type": "volume", "source": "shared", "target": "/w", "read_only": False}]
    code = PRELUDE + EXCHANGE
    name = lab.up(["python3", "-c", code, str(canary.folder), "/w/a"], mounts=mounts)
    lab.said(name, "exchanging")
    given = tmp_path / "given"
    (given / "empty").mkdir(parents=True)
    (given / "secret").write_text("overwritten")
    got = tmp_path / "got"
    got.mkdir()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(given, "dir")
    seen: set[str] = set()

    class Out:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    class Given:
        def __init__(self) -> None:
            self.pieces = [packed.getvalue()]

        def read(self) -> bytes:
            return self.pieces.pop() if self.pieces else b""

    for turn in range(100):
        for path in ("/w/a/dir", "/w/a/dir/secret"):
            out = Out()
            try:
                lab.engine.archive_out(name, path, out, follow=bool(turn % 2))
                seen.add(out.data.decode(errors="replace"))
            except EngineError as error:
                seen.add(str(error))
        try:
            lab.engine.copy_into(name, f"{given}/.", "/w/a/dir")
        except EngineError as error:
            seen.add(str(error))
        try:
            lab.engine.archive_into(name, Given(), "/w/a")
        except EngineError as error:
            seen.add(str(error))
    for turn in range(20):
        try:
            lab.engine.copy_out(name, "/w/a/dir", str(got / str(turn)))
        except EngineError as error:
            seen.add(str(error))
    for path in got.rglob("*"):
        if path.is_file() and not path.is_symlink():
            seen.add(path.read_text())
    assert any("inside" in text or "overwritten" in text for text in seen)
    canary.check(*seen)


def test_2018_15664_cp_out_writes_nowhere_else(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    """A container that first gives a link, then a folder of that name, does not get its files put where it leads."""
    name = lab.up(["sleep", "600"])
    lab.exec(name, "sh", "-c", f"mkdir /d; ln -s {canary.folder} /d/x; ln -s {canary.folder}/secret /d/file")
    out = tmp_path / "out"
    lab.engine.copy_out(name, "/d", str(out))
    assert os.readlink(out / "x") == str(canary.folder)
    lab.exec(name, "sh", "-c", "rm /d/x /d/file; mkdir /d/x; echo new > /d/x/secret; echo new > /d/file")
    with pytest.raises(EngineError, match="is no folder there"):
        lab.engine.copy_out(name, "/d/.", str(out))
    lab.exec(name, "sh", "-c", "rm -r /d/x")
    lab.engine.copy_out(name, "/d/.", str(out))
    assert not (out / "file").is_symlink() and (out / "file").read_text() == "new\n"
    canary.check()


def test_2021_41089_what_comes_out_has_no_rights(lab: Lab, tmp_path: Path) -> None:
    name = lab.up(["sleep", "600"])
    lab.exec(
        name, "sh", "-c", "mkdir /d; cp /bin/true /d/evil 2>/dev/null || cat /bin/true > /d/evil; chmod 6755 /d/evil"
    )
    lab.engine.copy_out(name, "/d", str(tmp_path / "out"), archive=True)
    status = (tmp_path / "out" / "evil").stat()
    assert status.st_mode & 0o7777 == 0o755
    assert os.listxattr(tmp_path / "out" / "evil") == []


def test_2019_14271_cp_loads_nothing_of_the_container(lab: Lab, tmp_path: Path) -> None:
    def tree(folder: Path) -> None:
        (folder / "usr/lib").mkdir(parents=True)
        (folder / "lib").symlink_to("usr/lib")
        evil_modules(folder)

    image = lab.image(None, tree)
    (tmp_path / "f").write_text("x")
    for running in (True, False):
        name = lab.up(["sleep", "600"], image=image)
        if not running:
            lab.engine.stop(name, 0)
        for words in (
            ("cp", str(tmp_path / "f"), f"{name}:/tmp/näme-ünïcode"),
            ("cp", str(tmp_path), f"{name}:/tmp/folder"),
            ("cp", f"{name}:/tmp", str(tmp_path / f"out{running}")),
            ("cp", f"{name}:/nothing", str(tmp_path)),
            ("cp", f"{name}:/tmp/näme-ünïcode/", str(tmp_path)),
            ("cp", str(tmp_path / "f"), f"{name}:/no/where"),
        ):
            lab.cli(*words)
        lab.cli("cp", "-", f"{name}:/tmp", given="no archive")
        upper = Path(lab.root) / "containers" / lab.engine.container(name)["id"] / "upper"
        assert not (upper / "betrayed").exists(), (upper / "betrayed").read_text()
        assert (upper / "tmp" / "näme-ünïcode").exists()
