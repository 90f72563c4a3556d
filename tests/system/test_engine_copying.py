"""cp between this host and containers: what arrives, whose it is, and where it goes."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.engine_lab import Lab

pytestmark = pytest.mark.root


@pytest.fixture(name="tree")
def tree_fixture(tmp_path: Path) -> Path:
    """A folder `d` and a file `f` with all that a copy has to keep."""
    tree = tmp_path / "tree"
    (tree / "d" / "sub").mkdir(parents=True)
    (tree / "f").write_text("file\n")
    (tree / "d" / "sub" / "y").write_text("y\n")
    (tree / "d" / "large").write_bytes(os.urandom(3 << 20))
    (tree / "d" / "link").symlink_to("sub/y")
    os.link(tree / "d" / "large", tree / "d" / "twin")
    os.mkfifo(tree / "d" / "pipe")
    (tree / "d" / "ünï\n").write_text("")
    (tree / "link").symlink_to("f")
    os.chown(tree / "f", 1000, 1001)
    os.chmod(tree / "f", 0o4640)
    os.utime(tree / "d" / "sub", (1_000_000_000, 1_000_000_000))
    os.setxattr(tree / "f", "user.colour", b"blue")
    return tree


def told(path: Path) -> dict[str, tuple[object, ...]]:
    """A tree with what is to be kept of it, by path."""
    found = {}
    for each in [path, *sorted(path.rglob("*"))]:
        status = each.lstat()
        content: object = os.readlink(each) if each.is_symlink() else each.read_bytes() if each.is_file() else ""
        moment = int(status.st_mtime)
        found[str(each.relative_to(path))] = (status.st_mode, status.st_nlink, moment, content)
    return found


@pytest.mark.parametrize("state", ["running", "stopped", "never started"])
def test_there_and_back(lab: Lab, tree: Path, tmp_path: Path, state: str) -> None:
    lab.engine.create_volume("data", {})
    bind = tmp_path / "bind"
    bind.mkdir()
    mounts = [
        {"type": "volume", "source": "data", "target": "/data", "read_only": False},
        {"type": "bind", "source": str(bind), "target": "/bind", "read_only": False},
        {"type": "bind", "source": str(tree), "target": "/ro", "read_only": True},
        {"type": "tmpfs", "source": "", "target": "/mem", "read_only": False},
    ]
    config = lab.config(["sleep", "600"], mounts=mounts)
    name = config["name"]
    lab.engine.create(config)
    if state != "never started":
        lab.engine.start(name)
    if state == "stopped":
        lab.engine.stop(name, 0)
    for index, place in enumerate(("/tmp", "/data", "/bind", *(["/mem"] if state == "running" else []))):
        assert lab.cli("cp", str(tree / "d"), f"{name}:{place}") == (0, "", ""), place
        assert lab.cli("cp", str(tree / "f"), f"{name}:{place}/f") == (0, "", ""), place
        back = tmp_path / f"back{index}"
        assert lab.cli("cp", "-a", f"{name}:{place}/d", str(back)) == (0, "", ""), place
        assert told(back) == told(tree / "d"), place
        assert lab.cli("cp", "-a", f"{name}:{place}/f", str(back)).code == 0
        status = (back / "f").stat()
        # Whose it is comes along with -a; no program stays set-id.
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1000, 1001, 0o640)
        assert lab.cli("cp", f"{name}:{place}/f", str(back / "ours")).code == 0
        assert ((back / "ours").stat().st_uid, (back / "ours").read_text()) == (0, "file\n")
    assert told(bind / "d") == told(tree / "d")
    refused = lab.cli("cp", str(tree / "f"), f"{name}:/ro/new")
    assert refused.code == 1 and "read-only" in refused.err
    if state != "running":
        assert "read-only" in lab.cli("cp", str(tree / "f"), f"{name}:/mem/new").err
        lab.engine.start(name)
    show = "stat -c '%u:%g %a' /tmp/f /data/f /bind/f; cat /data/d/sub/y"
    assert lab.exec(name, "sh", "-c", show).out == "1000:1001 4640\n" * 3 + "y\n"


def test_archives(lab: Lab, tree: Path) -> None:
    name = lab.up(["sleep", "600"])
    packed = subprocess.run(["tar", "-C", str(tree), "-c", "f", "d"], capture_output=True, check=True).stdout
    done = subprocess.run(
        lab.command("cp", "-", f"{name}:/tmp"), env=lab.environment, input=packed, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    for source, names in (
        ("/tmp/d", ["d", "d/large", "d/link"]),
        ("/tmp/d/.", [".", "./large", "./link"]),
        ("/tmp/f", ["f"]),
    ):
        done = subprocess.run(
            lab.command("cp", f"{name}:{source}", "-"), env=lab.environment, capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            assert archive.getnames()[:3] == names
            if source == "/tmp/f":
                [entry] = archive.getmembers()
                assert (entry.uid, entry.gid, entry.mode) == (1000, 1001, 0o4640)
    # What is not whole, is none, or leads elsewhere.
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../out"), io.BytesIO())
    for given, message in (
        (packed[: len(packed) // 2], "it ends within a file"),
        (b"no archive" * 100, "cannot be extracted"),
        (evil.getvalue(), "leads elsewhere"),
    ):
        done = subprocess.run(
            lab.command("cp", "-", f"{name}:/tmp"), env=lab.environment, input=given, capture_output=True, check=False
        )
        assert done.returncode == 1 and message in done.stderr.decode(), done


def test_names_links_and_what_is_there(lab: Lab, tree: Path, tmp_path: Path) -> None:
    name = lab.up(["sleep", "600"])
    lab.exec(name, "sh", "-c", "mkdir /w /w/dir /w/dir/f; ln -s dir /w/link; ln -s nowhere /w/broken; echo > /w/file")
    out = tmp_path / "out"
    out.mkdir()

    def check(*words: str, code: int = 0, message: str = "") -> None:
        done = lab.cli("cp", *words)
        assert done.code == code and message in done.err and not done.out, done

    # Into: links at the end of a destination are followed, of a source only with -L.
    check(str(tree / "f"), f"{name}:/w/link", code=1, message="is a folder there")
    check(str(tree / "d"), f"{name}:/w/link")
    check(str(tree / "link"), f"{name}:/w/copied")
    check("-L", str(tree / "link"), f"{name}:/w/followed")
    check(str(tree / "f"), f"{name}:/w/broken")
    check(str(tree / "f"), f"{name}:w/relative")
    check(f"{tree}/d/.", f"{name}:/w/new")
    listing = lab.exec(name, "sh", "-c", "cd /w; ls; ls dir new; readlink copied broken; cat nowhere followed").out
    assert (
        listing
        == (
            "broken\ncopied\ndir\nfile\nfollowed\nlink\nnew\nnowhere\nrelative\n"
            "dir:\nd\nf\n\nnew:\nlarge\nlink\npipe\nsub\ntwin\n"
            + lab.exec(name, "sh", "-c", "cd /w/new; ls | tail -n 1").out
            + "f\nnowhere\nfile\nfile\n"
        )
        or "ünï" in listing
    )
    # Out of.
    check(f"{name}:/w/link", str(out / "l"))
    assert os.readlink(out / "l") == "dir"
    check("-L", f"{name}:/w/link", str(out / "L"))
    assert (out / "L" / "d" / "sub" / "y").read_text() == "y\n"
    check(f"{name}:/w/link/", str(out / "slash"))
    assert (out / "slash").is_dir()
    check("-L", f"{name}:/w/link", f"{out}/", code=0)
    assert (out / "link").is_dir()
    (out / "dir").write_text("")
    check(f"{name}:/w/dir", str(out), code=1, message="is no folder there")
    check(f"{name}:/w/none", str(out), code=1, message="there is no `/w/none` in the container")
    check(f"{name}:/w/file", f"{out}/none/", code=1, message="there is no folder")
    check(f"{name}:/w/file/", str(out), code=1, message="is not a folder")
    check(str(tree / "f"), f"{name}:/w/none/x", code=1, message="to be in")
    check(str(tree / "none"), f"{name}:/w", code=1, message="on this host")
    check(f"{name}:/dev", str(out / "dev"))
    assert "device" in lab.cli("cp", f"{name}:/dev/null", str(out / "null")).err
    check(str(tree / "f"), f"{name}:/proc/sys/kernel/core_pattern", code=1, message="file system of the kernel")
    check(f"{name}:/proc/1/status", str(out), code=1, message="file system of the kernel")
    check(str(tree / "f"), "nobody:/x", code=1, message="no container is called")
    check("a", "b", code=64)
    check(f"{name}:/a", f"{name}:/b", code=64)
    # A file that is mounted there gets the content.
    check(str(tree / "f"), f"{name}:/etc/hosts")
    assert lab.exec(name, "cat", "/etc/hosts").out == "file\n"


def test_a_paused_container_and_one_that_is_started_meanwhile(lab: Lab, tree: Path) -> None:
    name = lab.up(["sleep", "600"])
    lab.engine.pause(name)
    assert lab.cli("cp", str(tree / "f"), f"{name}:/tmp/f") == (0, "", "")
    lab.engine.unpause(name)
    assert lab.exec(name, "cat", "/tmp/f").out == "file\n"
    lab.engine.stop(name, 0)
    with subprocess.Popen(
        lab.command("cp", "-", f"{name}:/tmp"), env=lab.environment, stdin=subprocess.PIPE
    ) as copying:
        assert copying.stdin
        with subprocess.Popen(lab.command("start", name), env=lab.environment) as starting:
            copying.stdin.write(
                subprocess.run(["tar", "-C", str(tree), "-c", "d"], capture_output=True, check=True).stdout
            )
            copying.stdin.close()
            assert copying.wait(60) == 0
            assert starting.wait(60) == 0
    assert lab.exec(name, "cat", "/tmp/d/sub/y").out == "y\n"
