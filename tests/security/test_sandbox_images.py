"""Images made to deceive the engine: links where the kernel's trees belong, false users, labels and variables.

Rows of the threat list: 2019-16884, 2019-19921, 2023-27561, 2023-28642, 2025-31133, 2026-41579, 2025-52565, 2022-23648,
2022-36109, 2023-25173, 2024-40635, 2026-46680, 2026-53488, 2026-57231.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime import labels
from tests.engine_lab import Canary, Lab

pytestmark = pytest.mark.root

MASKED = "/proc/keys /proc/timer_list /proc/interrupts /proc/kcore /proc/latency_stats".split()


def _mount(kind: str, target: str, source: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "source": source, "target": target, "read_only": False, **fields}


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/tmp/tree", "tmp/tree", "/", "/etc", "/proc/self/root"])
def test_2019_16884_a_kernel_tree_as_link_is_refused(lab: Lab, canary: Canary, name: str, target: str) -> None:
    def tree(folder: Path) -> None:
        (folder / "tmp/tree/self/attr").mkdir(parents=True)
        (folder / name).symlink_to(target)

    assert "refused" in lab.reason(["true"], image=lab.image(None, tree))


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_2019_16884_a_kernel_tree_as_file_is_refused(lab: Lab, name: str) -> None:
    assert "refused" in lab.reason(["true"], image=lab.image(None, lambda folder: (folder / name).touch()))


@pytest.mark.parametrize("target", ["/proc", "/proc/self/attr", "/sys", "/sys/fs/cgroup", "/dev", "/proc/../proc", "/"])
def test_2023_28642_nothing_is_mounted_over_a_kernel_tree(lab: Lab, target: str) -> None:
    lab.engine.create_volume("x", {})
    assert lab.reason(["true"], mounts=[_mount("volume", target, "x")])
    assert lab.reason(["true"], mounts=[_mount("tmpfs", target)])
    assert lab.reason(["true"], image=lab.image({"Volumes": {target: {}}}))
    assert lab.reason(["true"], files=[{"target": target, "content": "", "mode": 0o644}])


@pytest.mark.parametrize("link", ["/proc", "/proc/self", "/sys", "/sys/kernel", "/proc/self/attr", "/proc/1/root/proc"])
def test_2023_27561_nor_through_a_link_of_the_image(lab: Lab, link: str) -> None:
    image = lab.image(None, lambda folder: (folder / "data").symlink_to(link))
    for target in ("/data", "/data/sub"):
        for kind, source in (("tmpfs", ""), ("volume", "x")):
            assert lab.reason(["true"], image=image, mounts=[_mount(kind, target, source)])
        assert lab.reason(["true"], image=image, files=[{"target": f"{target}/file", "content": "", "mode": 0o644}])


def test_2025_31133_masks_do_not_follow_the_image(lab: Lab, canary: Canary) -> None:
    def tree(folder: Path) -> None:
        (folder / "dev").mkdir()
        for name in ("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"):
            (folder / "dev" / name).symlink_to("/proc/sys/kernel/core_pattern")
        for name in ("pts", "shm", "mqueue"):
            (folder / "dev" / name).symlink_to(canary.folder)

    image = lab.image(None, tree)
    ended = lab.shell(
        f"for f in /dev/null {' '.join(MASKED)}; do [ -e $f ] && stat -c '%n %F %t:%T' $f; done;"
        "echo x > /proc/sys/kernel/core_pattern; cat /proc/keys /proc/timer_list",
        image=image,
        tty=True,
    )
    lines = [line for line in ended.out.replace("\r", "").splitlines() if line.startswith("/")]
    assert "/dev/null character special file 1:3" in lines
    assert len(lines) > 2
    for line in lines:
        assert line.endswith((" 1:3", " directory 0:0")), line
    canary.check(ended.out)


def test_2025_31133_a_volume_over_dev_through_a_link(lab: Lab, canary: Canary) -> None:
    """A volume that is mounted on /dev by way of a link decides what /dev/null is: the engine must not open that."""
    image = lab.image(None, lambda folder: (folder / "data").symlink_to("/dev"))
    mounts = [_mount("volume", "/data", "evil")]
    fill = "ln -sf /proc/self/exe /v/null; ln -sf /proc/sys/kernel/core_pattern /v/console"
    assert lab.shell(fill, mounts=[_mount("volume", "/v", "evil")]).code == 0
    assert "cannot be used" in lab.reason(["readlink", "/proc/self/fd/0"], image=image, mounts=mounts)
    for fill in ("rm /v/null; mknod /v/null p", "rm /v/null; touch /v/null", "rm /v/null; mkdir /v/null"):
        assert lab.shell(fill, mounts=[_mount("volume", "/v", "evil")]).code == 0
        assert "null" in lab.reason(["true"], image=image, mounts=mounts)


def test_2025_52565_the_console_is_the_terminal(lab: Lab, canary: Canary) -> None:
    links = "mkdir -p /v; for n in 0 1 2 3 4 5 6 7 8 9 ptmx; do ln -sf /proc/sys/kernel/core_pattern /v/$n; done"
    assert lab.shell(links, mounts=[_mount("volume", "/v", "terminals")]).code == 0
    for mounts in ([], [_mount("volume", "/dev/pts", "terminals")]):
        ended = lab.shell("stat -c '%F %t' /dev/console; echo hello > /dev/console", tty=True, mounts=mounts)
        assert ended.out.replace("\r", "") == "character special file 88\nhello\n", ended
    canary.check()


@pytest.mark.parametrize("target", ["/../../etc", "/data", "/data/../data/inner", "/../../../../../../../root"])
def test_2022_23648_an_image_volume_holds_nothing_of_the_host(lab: Lab, canary: Canary, target: str) -> None:
    def tree(folder: Path) -> None:
        (folder / "data").symlink_to(canary.folder)
        (folder / str(canary.folder)[1:]).mkdir(parents=True)
        (folder / "etc").mkdir()
        (folder / "etc/mine").write_text("the image's")

    image = lab.image({"Volumes": {target: {}}}, tree)
    config = lab.config(["sh", "-c", "cat /data/* /root/* /etc/mine; ls -aR /data/ /root"], image=image)
    name = lab.engine.up(config)
    volumes = [Path(volume["mountpoint"]) for volume in lab.engine.volumes()]
    found = {path.name: path.read_bytes() for volume in volumes for path in volume.rglob("*") if path.is_file()}
    ended = lab.end(name)
    assert canary.secret not in str(found)
    assert not {"shadow", "secret"} & set(found)
    canary.check(ended.out)


PASSWD = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"
PASSWD += "1001:x:0:0::/:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\n"
GROUP = "root:x:0:\nanna:x:1000:\naudio:x:29:anna,root\nvideo:x:44:anna\nkept:x:60:other\nout:x:70:\n"


@pytest.fixture(name="peopled")
def peopled_fixture(lab: Lab) -> str:
    """An image with users and groups of its own, and a file that members of one group may not read."""

    def tree(folder: Path) -> None:
        (folder / "etc").mkdir()
        (folder / "etc/passwd").write_text(PASSWD)
        (folder / "etc/group").write_text(GROUP)
        (folder / "negative").write_text("readable")
        os.chown(folder / "negative", 0, 44)
        (folder / "negative").chmod(0o604)

    return lab.image({"User": "anna"}, tree)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        (None, "1000 1000 1000 29 44"),
        ("anna", "1000 1000 1000 29 44"),
        ("1000", "1000 1000 1000 29 44"),
        ("anna:video", "1000 44 44"),
        ("1000:60", "1000 60 60"),
        ("500", "500 0 0"),
        ("500:500", "500 500 500"),
        ("root", "0 0 0 29"),
        ("1001", "1001 0 0"),
    ],
)
def test_2022_36109_supplementary_groups_are_the_images(lab: Lab, peopled: str, user: str | None, ids: str) -> None:
    script = "set -- $(id -G); echo $(id -u) $1 $(id -G); cat /negative"
    fields = {} if user is None else {"user": user}
    ended = lab.shell(script, image=peopled, **fields)
    assert ended.out.splitlines()[0] == ids
    denied = "44" in ids.split()[1:]
    assert ("readable" in ended.out) is not denied, ended
    name = lab.up(["sleep", "60"], image=peopled)
    options = {} if user is None else {"user": user}
    assert lab.exec(name, "sh", "-c", script, **options).out.splitlines()[0] == ids


@pytest.mark.parametrize(
    "user",
    ["2147483648", "4294967295", "4294967296", "65536", "-1", "0x0", "99999999999999999999", "big", "nobody-here"],
)
def test_2024_40635_a_user_out_of_range_is_refused(lab: Lab, peopled: str, user: str) -> None:
    assert lab.reason(["id"], image=peopled, user=user)
    assert lab.reason(["id"], image=lab.image({"User": user}))
    assert lab.reason(["id"], image=peopled, user=f"0:{user}")
    name = lab.up(["sleep", "60"], image=peopled)
    refused = lab.exec(name, "id", user=user)
    assert refused.code and not refused.out and "error: " in refused.err


def test_users_are_looked_up_in_the_image_alone(lab: Lab, tmp_path: Path) -> None:
    """Whoever reads its files has the host's rights: a link leads to what is there in the image, and no FIFO waits."""
    (tmp_path / "passwd").write_text("outside:x:4242:4242::/:/bin/sh\n")
    tmp_path.chmod(0o755)

    def tree(folder: Path) -> None:
        (folder / "etc").mkdir()
        (folder / "etc/passwd").symlink_to(tmp_path / "passwd")
        os.mkfifo(folder / "etc/group")
        inside = folder / str(tmp_path)[1:]
        inside.mkdir(parents=True)
        (inside / "passwd").write_text("inside:x:1234:1234::/:/bin/sh\n")

    image = lab.image(None, tree)
    assert "outside" in lab.reason(["id"], image=image, user="outside")
    assert lab.shell("id -u", image=image, user="inside").out == "1234\n"
    name = lab.up(["sleep", "60"], image=image)
    assert lab.exec(name, "id", "-u", user="inside").out == "1234\n"
    assert lab.exec(name, "id", "-u", user="outside").code != 0


def test_2026_53488_reserved_labels_of_an_image_have_no_effect(lab: Lab) -> None:
    reserved = {
        labels.STACK: "evil",
        labels.RESOURCE: "container.evil",
        "stackpy.replica": "1",
        "stackpy.generation": "7",
        "stackpy.spec": "{}",
        "stackpy.anonymous": "x",
    }
    name = lab.up(["sleep", "60"], image=lab.image({"Labels": reserved}), ports=[])
    assert lab.engine.containers("evil") == []
    assert lab.engine.container(name)["config"].get("labels", {}) == {}
    assert "evil" not in lab.cli("--format", "json", "ls").out
    assert "evil" not in lab.cli("--format", "json", "ps", "-a").out


def test_2026_57231_variables_without_a_value_are_nobodys(lab: Lab) -> None:
    os.environ["LAB_SECRET"] = "of the host"
    try:
        env = ["LAB_SECRET", "LANG", "PATH_OF", "=odd", "A=b=c", "EMPTY=", "HOME"]
        image = lab.image({"Env": env})
        done = lab.cli("run", "--rm", "--network", "none", "-h", "box", image, "env")
        assert done.code == 0, done.err
        shown = dict(line.split("=", 1) for line in done.out.splitlines())
        expected = {"A": "b=c", "EMPTY": "", "HOSTNAME": "box", "HOME": shown["HOME"], "PATH": shown["PATH"]}
        assert shown == expected
        assert shown["PATH"].startswith("/usr/local/sbin:") or "bin" in shown["PATH"]
        assert "LAB_SECRET" not in lab.run(["env"], image=image).out
    finally:
        del os.environ["LAB_SECRET"]


def test_device_nodes_and_set_id_programs_of_an_image(lab: Lab) -> None:
    def tree(folder: Path) -> None:
        os.mknod(folder / "memory", 0o666 | stat.S_IFCHR, os.makedev(1, 1))
        os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(folder / "disk", 0o666 | stat.S_IFBLK, os.stat("/").st_dev)
        (folder / "become").write_bytes(Path("/usr/bin/id").read_bytes())
        (folder / "become").chmod(0o6755)

    ended = lab.shell(
        "for d in /memory /null /disk; do cat $d && echo opened; done; /become -u; mknod /mine c 1 1 && echo made;"
        "ls /dev",
        image=lab.image(None, tree),
        user="1000",
    )
    assert ended.out.splitlines()[0] == "1000"
    assert "opened" not in ended.out and "made" not in ended.out
    assert set(ended.out.splitlines()[1:]) == set(
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    assert "made" not in lab.shell("mknod /mine c 1 3 && echo made; mknod /disk b 254 0 && echo made").out
