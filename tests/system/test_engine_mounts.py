"""Volumes, tmpfs, binds, files, secrets and the root file system, and overlayfs as older kernels want it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.container import rootfs
from stackpy_runtime.container.cgroups import layout, parent_name
from stackpy_runtime.errors import Conflict, EngineError
from stackpy_runtime.image.limits import DEFAULT
from stackpy_runtime.image.staging import TarLayer
from stackpy_runtime.linux import mounts, namespaces
from tests.engine_lab import Lab
from tests.image_archives import layer as tar_layer
from tests.layer_trees import Pieces
from tests.waiting import wait_for

pytestmark = pytest.mark.root


def mount(kind: str, target: str, source: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "source": source, "target": target, "read_only": False, **fields}


def place(target: str, text: str, mode: int = 0o644) -> dict[str, Any]:
    return {"target": target, "content": base64.b64encode(text.encode()).decode(), "mode": mode}


def filled(folder: Path) -> None:
    (folder / "data/sub").mkdir(parents=True)
    (folder / "data/file").write_text("from the image")
    (folder / "data/sub/link").symlink_to("../file")
    os.chown(folder / "data/file", 7, 8)
    (folder / "data/file").chmod(0o640)
    (folder / "data").chmod(0o751)
    os.chown(folder / "data", 1000, 1001)


# --- volumes --------------------------------------------------------------------------------------------------------


def test_an_empty_volume_is_filled_from_the_image_once(lab: Lab) -> None:
    image = lab.image(None, filled)
    show = "stat -c '%a %u %g' /data /data/file; readlink /data/sub/link; cat /data/file"
    first = lab.shell(
        show + "; echo changed > /data/file; rm /data/sub/link", image=image, mounts=[mount("volume", "/data", "v")]
    )
    assert first.out == "751 1000 1001\n640 7 8\n../file\nfrom the image"
    again = lab.shell(show, image=image, mounts=[mount("volume", "/data", "v")])
    assert again.out == "751 1000 1001\n640 7 8\nchanged\n"
    plain = lab.shell("ls /data", image=image, mounts=[mount("volume", "/data", "w", nocopy=True)])
    assert plain.out == ""
    elsewhere = lab.shell("ls /other", image=image, mounts=[mount("volume", "/other", "x")])
    assert elsewhere.out == ""


def test_volumes_keep_plain_ids_and_outlive_containers(lab: Lab) -> None:
    """Each container has IDs of its own on the host; what lies in a volume is the same to all of them."""
    volume = [mount("volume", "/data", "v")]
    lab.shell("touch /data/root; su_() { :; }; chown 1000:1001 /data/root; touch /data/mine", mounts=volume)
    keeps = lab.up(["sleep", "60"])
    shown = lab.shell("stat -c '%n %u:%g' /data/root /data/mine", mounts=volume)
    assert shown.out == "/data/root 1000:1001\n/data/mine 0:0\n"
    point = Path(lab.engine.volume("v")["mountpoint"])
    assert [(path.name, path.stat().st_uid) for path in sorted(point.iterdir())] == [("mine", 0), ("root", 1000)]
    lab.engine.remove(keeps, force=True)


def test_a_volume_in_use_stays(lab: Lab) -> None:
    name = lab.up(["sleep", "60"], mounts=[mount("volume", "/data", "v")])
    with pytest.raises(Conflict, match=name):
        lab.engine.remove_volume("v")
    lab.engine.stop(name)
    with pytest.raises(Conflict, match=name):
        lab.engine.remove_volume("v")
    lab.engine.remove(name)
    assert [volume["name"] for volume in lab.engine.volumes()] == ["v"]
    lab.engine.remove_volume("v")
    assert os.listdir(f"{lab.root}/volumes") == []


def test_anonymous_volumes_go_with_their_container(lab: Lab) -> None:
    image = lab.image({"Volumes": {"/data": {}, "/more": {}}}, filled)
    done = lab.cli("run", "--rm", "--network", "none", image, "sh", "-c", "cat /data/file; df /data /more | wc -l")
    assert done == (0, "from the image3\n", "")
    assert lab.engine.volumes() == []
    name = lab.up(["true"], image=image)
    lab.engine.wait(name)
    lab.engine.remove(name)
    assert len(lab.engine.volumes()) == 2
    name = lab.up(["true"], image=image, mounts=[mount("volume", "/data", "named")])
    lab.engine.wait(name)
    lab.engine.remove(name, volumes=True)
    assert "named" in [volume["name"] for volume in lab.engine.volumes()]
    assert len(lab.engine.volumes()) == 3


def test_read_only_mounts(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    all_ = [
        mount("volume", "/v", "v", read_only=True),
        mount("bind", "/b", str(tmp_path / "b"), read_only=True),
        mount("tmpfs", "/t", read_only=True),
    ]
    ended = lab.shell("for d in /v /b /t; do touch $d/x && echo wrote; done; touch /fine", mounts=all_)
    assert ended.out == "" and ended.err.count("Read-only file system") == 3


def test_tmpfs_options(lab: Lab) -> None:
    all_ = [mount("tmpfs", "/t", size=1 << 20, mode=0o750), mount("tmpfs", "/u")]
    script = "stat -c %a /t /u; df -k /t | tail -n 1; dd if=/dev/zero of=/t/x bs=1024 count=2000 2>/dev/null;"
    script += "stat -c %s /t/x"
    lines = lab.shell(script, mounts=all_).out.splitlines()
    assert lines[:2] == ["750", "1777"] and lines[2].split()[1] == "1024" and lines[3] == str(1 << 20)
    # Without a mode it has that of the folder which it covers, as Docker's and unlike the kernel's own.
    volume = mount("volume", "/v", "v")
    lab.shell("mkdir -m 710 /v/own", mounts=[volume])
    assert lab.shell("stat -c %a /v/own", mounts=[volume, mount("tmpfs", "/v/own")]).out == "710\n"
    options = lab.shell("grep -E ' /(t|u) ' /proc/self/mountinfo", mounts=all_).out
    assert all({"nosuid", "nodev"} <= set(line.split()[5].split(",")) for line in options.splitlines())


def test_mounts_lie_within_each_other_in_any_order(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    all_ = [
        mount("bind", "/a/b/c/file", str(tmp_path / "file")),
        mount("tmpfs", "/a/b/c"),
        mount("volume", "/a/b", "v"),
        mount("tmpfs", "/a"),
    ]
    ended = lab.shell("cat /a/b/c/file; df /a /a/b /a/b/c | wc -l; ls /a /a/b", mounts=all_)
    assert ended.out == "a file4\n/a:\nb\n\n/a/b:\nc\n"
    assert "two mounts" in lab.reason(["true"], mounts=[mount("tmpfs", "/a"), mount("tmpfs", "/a/")])


def test_a_target_beyond_a_link_to_nothing_is_made(lab: Lab) -> None:
    volume = mount("volume", "/v", "v")
    lab.shell("ln -s ../../../nowhere /v/link; ln -s loop /v/loop", mounts=[volume])
    assert lab.shell("ls /nowhere/a", mounts=[volume, mount("tmpfs", "/v/link/a/b")]).out == "b\n"
    assert not Path("/nowhere").exists()
    assert "too many levels" in lab.reason(["true"], mounts=[volume, mount("tmpfs", "/v/loop/a")])


# --- the root, files, secrets ---------------------------------------------------------------------------------------


def test_a_read_only_root(lab: Lab) -> None:
    fields: dict[str, Any] = {
        "read_only": True,
        "mounts": [mount("tmpfs", "/tmp"), mount("volume", "/v", "v")],
        "files": [place("/etc/placed", "text")],
    }
    lab.engine.put_secret("s", b"secret", {})
    script = "touch /x; touch /etc/hosts_; touch /tmp/a /v/b /dev/shm/c && cat /etc/placed /run/secrets/s"
    ended = lab.shell(script, secrets=[{"secret": "s", "target": "s"}], **fields)
    assert ended.out == "textsecret"
    assert ended.err.count("Read-only file system") == 2


def test_files_are_placed_before_it_starts(lab: Lab) -> None:
    files = [place("/etc/app/x.conf", "a = ü\n", 0o640), place("/bin/hello", "#!/bin/sh\necho hello\n", 0o755)]
    files.append(place("/etc/hostname_", ""))
    name = lab.up(
        ["sh", "-c", "cat /etc/app/x.conf; hello; stat -c '%a %u' /etc/app/x.conf; echo own >> /etc/app/x.conf"],
        files=files,
    )
    lab.engine.wait(name)
    assert lab.log(name) == "a = ü\nhello\n640 0\n"
    lab.engine.start(name)
    lab.engine.wait(name)
    # Each start has it as it was asked for.
    assert lab.log(name) == "a = ü\nhello\n640 0\n" * 2


def test_a_file_replaces_a_link_of_the_image_and_follows_none(lab: Lab) -> None:
    def tree(folder: Path) -> None:
        (folder / "etc").mkdir()
        (folder / "etc/conf").symlink_to("/bin/sh")

    ended = lab.shell(
        "cat /etc/conf; readlink /etc/conf", image=lab.image(None, tree), files=[place("/etc/conf", "mine")]
    )
    assert ended.out == "mine" and ended.code == 1
    reason = lab.reason(["true"], files=[place("/etc", "x")])
    assert "/etc" in reason


def test_secrets_are_read_anew_at_each_start(lab: Lab) -> None:
    lab.engine.put_secret("s", b"one\x00\xff", {})
    name = lab.up(
        ["python3", "-c", "print(open('/run/secrets/t', 'rb').read())"], secrets=[{"secret": "s", "target": "t"}]
    )
    lab.engine.wait(name)
    lab.engine.put_secret("s", b"two", {"l": "x"})
    lab.engine.start(name)
    lab.engine.wait(name)
    assert lab.log(name) == f"{b'one' + bytes([0, 255])!r}\n{b'two'!r}\n"
    with pytest.raises(Conflict, match=name):
        lab.engine.remove_secret("s")
    (secret,) = lab.engine.secrets()
    assert (secret["name"], secret["labels"], secret["available"]) == ("s", {"l": "x"}, True)
    assert secret["fingerprint"] == lab.engine.fingerprint(b"two") != lab.engine.fingerprint(b"one")
    assert "two" not in json.dumps(secret)


def test_every_container_has_the_usual_trees(lab: Lab) -> None:
    script = "cat /etc/hostname /etc/hosts /etc/resolv.conf; df /dev/shm | tail -n 1; echo x > /dev/shm/x;"
    script += "ls -d /proc/1 /sys/class"
    ended = lab.shell(script, hostname="box", network_mode="bridge")
    assert ended.out.startswith("box\n127.0.0.1\tlocalhost\n")
    assert "\tbox\n" in ended.out and "nameserver 127.0.0.11\n" in ended.out
    assert "shm" in ended.out and ended.err == ""
    assert "127.0.1.1\tbox" in lab.shell("cat /etc/hosts", hostname="box").out


def test_the_containers_layer_holds_what_it_wrote_and_nothing_else(lab: Lab) -> None:
    all_ = [mount("tmpfs", "/new/folder"), mount("volume", "/v", "v")]
    name = lab.up(["sh", "-c", "echo x > /mine; mkdir /d; rm /bin/wc"], mounts=all_)
    lab.engine.wait(name)
    upper = Path(lab.root) / "containers" / lab.engine.container(name)["id"] / "upper"
    found = {str(path.relative_to(upper)) for path in upper.rglob("*")}
    assert found == {"mine", "d", "usr", "usr/bin", "usr/bin/wc"} or found == {"mine", "d", "bin", "bin/wc"}


# --- overlayfs before Linux 6.15 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("volatile", [False, True])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_overlay_of_attached_layers(tmp_path: Path, count: int, volatile: bool) -> None:
    """What kernels get that refuse detached layers: the same tree, and as writable."""
    first = 1_900_000_000
    lowers = []
    for number in range(count):
        lower = tmp_path / f"lower{number}"
        lower.mkdir()
        (lower / f"file{number}").write_text(str(number))
        (lower / "same").write_text(str(number))
        os.chown(lower / "same", 1000, 1000)
        lowers.append(str(lower))
    # One more as its tar and an index, which these kernels mount anew.
    tar = tar_layer(above="indexed")
    layer = TarLayer(f"{tmp_path}/indexed")
    layer.index("indexed", layer.entries(Pieces(tar)), [], DEFAULT)
    layer.close()
    lowers.append(f"{tmp_path}/indexed.erofs")
    writable, scratch = tmp_path / "writable", tmp_path / "scratch"
    for folder in (writable / "upper", writable / "work", scratch):
        folder.mkdir(parents=True)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            whole = [(0, first, 65536)]
            users = namespaces.user_namespace(whole, whole)
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            layers = [rootfs.idmapped_clone(path, users) for path in reversed(lowers)]
            top = rootfs.idmapped_clone(str(writable), users)
            root = rootfs._attached(layers, top, first, str(scratch), volatile=volatile)
            there = f"/proc/self/fd/{root}"
            seen = {
                "names": sorted(os.listdir(there)),
                "same": Path(f"{there}/same").read_text(),
                "owner": os.stat(f"{there}/same").st_uid - first,
            }
            with rootfs.mapped_root(first):
                Path(f"{there}/new").write_text("new")
                os.unlink(f"{there}/file0")
            seen["left"] = os.listdir(scratch)
            os.write(writing, json.dumps(seen).encode())
        except BaseException as error:
            os.write(writing, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        seen = json.load(file)
    os.waitpid(pid, 0)
    names = sorted(["same", "above", *(f"file{number}" for number in range(count))])
    assert seen == {"names": names, "same": str(count - 1), "owner": 1000, "left": []}
    assert (writable / "upper/new").stat().st_uid == 0
    assert os.listdir(scratch) == [] and str(scratch) not in Path("/proc/self/mountinfo").read_text()


def test_containers_run_on_attached_layers(lab: Lab, tmp_path: Path) -> None:
    """The whole engine, with the kernel's newer way taken away."""
    other = Lab(str(tmp_path / "root"))
    other.build()
    code = (
        "from stackpy_runtime.container import rootfs\n"
        "from stackpy_runtime.errors import KernelError\n"
        "def refused(*arguments, **options): raise KernelError('fsconfig overlay: invalid argument', errno=22)\n"
        "rootfs._detached = refused\n"
    )
    older = f"; exec({code!r}); from"
    start = (
        "from stackpy_runtime.host import launch, client\n"
        f"launch.KEEPER = launch.KEEPER.replace('; from', {older!r}, 1)\n"
        f"client.Client({other.root!r}).call('ping')\n"
    )
    subprocess.run([sys.executable, "-c", start], env=other.environment, check=True)
    try:
        ended = other.shell("echo x > /x; cat /x; stat -c %u /x; grep ' / / ' /proc/self/mountinfo")
        assert ended.out.startswith("x\n0\n") and "lowerdir=" in ended.out, ended
        name = other.up(["sleep", "60"], mounts=[mount("volume", "/v", "v")], user="1000")
        assert other.exec(name, "id", "-u").out == "1000\n"
    finally:
        other.leave()


def test_a_bind_that_cannot_be_idmapped_shows_nobodys_files(lab: Lab, tmp_path: Path) -> None:
    """proc has no idmapped mounts: its owners are nobody inside, and nothing can be written."""
    ended = lab.shell(
        "stat -c %u /b/sys; echo x > /b/sys/kernel/core_pattern", mounts=[mount("bind", "/b", "/proc/sys/..")]
    )
    assert ended.code != 0
    assert ended.out in ("65534\n", "")
    with pytest.raises(EngineError):
        lab.engine.up(lab.config(["true"], mounts=[mount("bind", "/b", "/no/such")]))


# --- what stands by -------------------------------------------------------------------------------------------------


def test_a_process_that_stands_by_keeps_no_mount_of_the_host_busy(lab: Lab) -> None:
    lab.run(["true"])

    def first_processes() -> dict[int, list[str]]:
        """PID → mounts, of those that are PID 1 of a container to be."""
        found = {}
        top = Path(next(iter(layout().mounts.values())), parent_name(lab.root))
        for listing in top.glob("*/cgroup.procs"):
            for pid in listing.read_text().split():
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                    if "\nNSpid:\t" + pid + "\t1\n" in status:
                        found[int(pid)] = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
                except OSError:
                    continue  # gone in this moment
        return found

    def settled() -> bool:
        found = first_processes().values()
        return bool(found) and all(len(mounted) == 1 for mounted in found)

    wait_for(settled, "processes whose only mount is their root")
    assert all(" / / " in mounted[0] and " - tmpfs " in mounted[0] for mounted in first_processes().values())
