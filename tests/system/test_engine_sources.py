"""What of its source a mount shows: binds in which mounts spread, and parts of volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container.propagation import Mounted, check_all, mounted
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux import mounts
from tests.engine_lab import Lab

pytestmark = pytest.mark.root


def bind(source: Path, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": "bind", "source": str(source), "target": "/m", "read_only": False, **fields}]


def part(path: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": "volume", "source": "v", "target": "/m", "read_only": False, "subpath": path, **fields}]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder on a shared mount."""
    top = tmp_path / "shared"
    top.mkdir()
    mounts.mount("tmpfs", str(top), "tmpfs")
    mounts.mount(None, str(top), None, mounts.MS_SHARED)
    (top / "source").mkdir()
    yield top / "source"
    mounts.umount(str(top))


def test_what_tables_of_mounts_call_them(lab: Lab) -> None:
    """Programs tell by `overlay` that they are in a container, and df(1) shows these names."""
    memory = {"type": "tmpfs", "source": "", "target": "/t", "read_only": False, "size": "1%", "nr_inodes": 77}
    rows = [line.split() for line in lab.shell("cat /proc/mounts", mounts=[memory]).out.splitlines()]
    names = {row[1]: row[0] for row in rows}
    wanted = {"/": "overlay", "/proc": "proc", "/dev/shm": "shm", "/t": "tmpfs", "/sys": "sysfs"}
    assert {point: names[point] for point in wanted} == wanted
    assert "nr_inodes=77" in next(row[3] for row in rows if row[1] == "/t")


# --- propagation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rslave", "slave", "rshared", "shared"])
def test_what_the_host_mounts_later_appears_inside(lab: Lab, shared: Path, kind: str) -> None:
    name = lab.up(["sleep", "600"], mounts=bind(shared, propagation=kind), cap_add=["SYS_ADMIN"])
    (shared / "later").mkdir()
    mounts.mount("tmpfs", str(shared / "later"), "tmpfs")
    (shared / "later/file").write_text("from the host")
    assert lab.exec(name, "cat", "/m/later/file").out == "from the host"
    # The other way, as a container with the right to mount does.
    made = lab.exec(name, "sh", "-c", "mkdir /m/back && mount -t tmpfs inside /m/back && touch /m/back/file")
    assert made.code == 0
    assert os.path.exists(shared / "back/file") is (kind in ("rshared", "shared"))
    assert lab.exec(name, "umount", "/m/back").code == 0
    assert not os.path.exists(shared / "back/file")
    lab.engine.remove(name, force=True)
    assert (shared / "later/file").exists()


@pytest.mark.parametrize("kind", ["private", "rprivate", None])
def test_nothing_spreads_otherwise(lab: Lab, shared: Path, kind: str | None) -> None:
    given = {"propagation": kind} if kind else {}
    name = lab.up(["sleep", "600"], mounts=bind(shared, **given), cap_add=["SYS_ADMIN"])
    (shared / "later").mkdir()
    mounts.mount("tmpfs", str(shared / "later"), "tmpfs")
    (shared / "later/file").touch()
    assert lab.exec(name, "ls", "/m/later").out == ""
    assert lab.exec(name, "sh", "-c", "mkdir /m/back && mount -t tmpfs x /m/back && touch /m/back/file").code == 0
    assert os.listdir(shared / "back") == []


def test_a_mount_that_does_not_spread_is_refused_when_planned_and_made(lab: Lab, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a b").mkdir(parents=True)
    mounts.mount("tmpfs", str(top / "a b"), "tmpfs")
    mounts.mount(None, str(top / "a b"), None, mounts.MS_PRIVATE)
    (top / "a b/source").mkdir()
    source = top / "a b/source"
    asked: Any = {"mounts": bind(source, propagation="rshared")}
    with pytest.raises(
        InvalidConfig, match=f"propagation `rshared`: {source} is on the mount {top}/a b, which is not shared"
    ):
        lab.engine.refuse(asked, "web")
    assert "which is not shared or slave" in lab.reason(["true"], mounts=bind(source, propagation="slave"))
    # A slave of a shared one passes on what it gets, and gives nothing.
    mounts.mount(None, str(top / "a b"), None, mounts.MS_SHARED)
    lab.engine.refuse(asked, "web")
    with pytest.raises(InvalidConfig, match="runtime=crun exclude each other"):
        check_all({**asked, "runtime": "crun"})
    mounts.umount(str(top / "a b"))


def test_the_mount_that_a_path_is_on() -> None:
    table = "\n".join(
        [
            "1 0 8:1 / / rw - ext4 /dev/sda rw",
            "2 1 0:5 / /srv rw,nosuid shared:3 - tmpfs t rw",
            "3 2 0:6 / /srv/a\\040b rw master:3 propagate_from:1 - tmpfs t rw",
            "4 2 0:6 / /srv/both rw shared:9 master:3 - tmpfs t rw",
            "5 4 0:7 / /srv/both rw - tmpfs covers rw",
        ]
    )
    assert mounted("/etc", table) == Mounted("/", False, False)
    assert mounted("/srvx", table) == Mounted("/", False, False)
    assert mounted("/srv/x", table) == Mounted("/srv", True, False)
    assert mounted("/srv/a b/c", table) == Mounted("/srv/a b", False, True)
    assert mounted("/srv/both", table) == Mounted("/srv/both", False, False)


def test_what_is_mounted_beneath_a_bind(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "under").mkdir()
    mounts.mount("tmpfs", str(tmp_path / "under"), "tmpfs")
    (tmp_path / "under/file").touch()
    write = "touch /m/x || echo ro; touch /m/under/x || echo ro; ls /m/under"
    plain = lab.shell(write, mounts=bind(tmp_path, read_only=True))
    assert plain.out == "ro\nro\nfile\n"
    assert lab.shell(write, mounts=bind(tmp_path, read_only=True, recursive="writable")).out == "ro\nfile\nx\n"
    (tmp_path / "under/x").unlink()
    assert lab.shell("ls /m/under", mounts=bind(tmp_path, recursive="disabled")).out == ""
    mounts.umount(str(tmp_path / "under"))


# --- parts of volumes -----------------------------------------------------------------------------------------------


def test_a_part_of_a_volume(lab: Lab) -> None:
    whole = [{"type": "volume", "source": "v", "target": "/v", "read_only": False}]
    lab.shell("mkdir -p /v/a/b; echo x > /v/a/b/file; ln -s a /v/link", mounts=whole)
    assert lab.shell("ls /m; touch /m/new", mounts=part("a/b")).out == "file\n"
    assert lab.shell("cat /m", mounts=part("a/b/file")).out == "x\n"
    assert lab.shell("ls /m/b", mounts=part("link")).out == "file\nnew\n"
    assert "Read-only" in lab.shell("touch /m/x", mounts=part("a", read_only=True)).err
    assert "subpath `none`" in lab.reason(["true"], mounts=part("none"))
    for wrong in ("/a", "../a", "a/../..", ".", ""):
        assert "no path in a volume" in lab.reason(["true"], mounts=part(wrong))


def test_a_link_in_a_volume_leads_nowhere_else(lab: Lab, tmp_path: Path) -> None:
    """CVE-2017-1002101, CVE-2021-25741: the part that is asked for is a link to the host by the time it is mounted."""
    (tmp_path / "host-secret").write_text("secret")
    whole = [{"type": "volume", "source": "v", "target": "/v", "read_only": False}]
    up = "../" * 30
    lab.shell(
        f"ln -s {tmp_path} /v/absolute; ln -s {up}{tmp_path} /v/up; mkdir /v/d; ln -s {up}etc /v/d/deep;"
        "ln -s /proc/self/root /v/magic",
        mounts=whole,
    )
    for path in ("absolute", "up", "d/deep", "magic"):
        assert f"subpath `{path}`" in lab.reason(["true"], mounts=part(path))


def test_an_empty_part_of_a_volume_is_filled_from_the_image(lab: Lab) -> None:
    def filled(folder: Path) -> None:
        (folder / "m").mkdir()
        (folder / "m/file").write_text("from the image")

    image = lab.image(None, filled)
    lab.shell("mkdir /v/a /v/b", mounts=[{"type": "volume", "source": "v", "target": "/v", "read_only": False}])
    assert lab.shell("ls /m", image=image, mounts=part("a", nocopy=True)).out == ""
    assert lab.shell("cat /m/file", image=image, mounts=part("b")).out == "from the image"
    assert lab.shell("ls /m", mounts=part("a")).out == ""
