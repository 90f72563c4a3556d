"""What of the host a container reaches through mounts, and what the engine leaves on its disk.

Rows of the threat list: 2021-30465, 2024-45310, 2021-21284, 2021-41089, 2021-41091, 2021-41103; and that secrets are
never on disk, and root inside is not root in a bind.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime import filling
from stackpy_runtime.errors import EngineError
from tests.engine_lab import PRELUDE, Canary, Lab

pytestmark = pytest.mark.root


def _mount(kind: str, target: str, source: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "source": source, "target": target, "read_only": False, **fields}


def as_nobody(attempts: Callable[[], list[str]]) -> list[str]:
    """What a function returns in a process of an ordinary user of the host."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writing, json.dumps(attempts()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    found: list[str] = json.loads(text)
    return found


# --- races on mount targets -----------------------------------------------------------------------------------------

EXCHANGE = """
os.makedirs("/v/dir/sub", exist_ok=True)
open("/v/dir/file", "a").close()
if not os.path.islink("/v/link"):
    os.symlink(sys.argv[1], "/v/link")
print("exchanging", flush=True)
while not os.path.exists("/v/stop"):
    call(316, -100, b"/v/dir", -100, b"/v/link", 2)
"""


@pytest.mark.parametrize("target", ["/", "/proc/1/root", "../../../../../..", "/proc/self", "canary"])
def test_2021_30465_a_target_that_becomes_a_link(lab: Lab, canary: Canary, target: str) -> None:
    link = str(canary.folder) if target == "canary" else target
    shared = _mount("volume", "/v", "shared")
    attacker = lab.up(["python3", "-c", PRELUDE + EXCHANGE, link], mounts=[shared])
    lab.said(attacker, "exchanging")
    inner = [
        [_mount("volume", "/v/dir/sub", "inner")],
        [_mount("tmpfs", f"/v/dir{canary.folder}")],
        [_mount("bind", "/v/dir/file", str(canary.folder / "secret"), read_only=True)],
        [_mount("volume", "/v/dir/etc", "inner")],
    ]
    started = 0
    for attempt in range(40):
        config = lab.config(
            ["sh", "-c", f"cat /v/dir{canary.folder}/secret /v/dir/etc/shadow {canary.folder}/secret; ls /"],
            mounts=[shared, *inner[attempt % 2 * 3 if attempt % 3 else 0]],
        )
        if attempt % 3 == 1:
            config["files"] = [{"target": "/v/dir/etc/placed", "content": "", "mode": 0o666}]
        try:
            lab.engine.up(config)
        except EngineError:
            # Refused, since the target was a link into /proc in that moment: as good.
            lab.engine.remove(config["name"], force=True)
            continue
        started += 1
        canary.check(lab.end(config["name"]).out)
    assert started > 5
    lab.exec(attacker, "touch", "/v/stop")
    lab.end(attacker)


def test_a_bind_whose_source_is_exchanged(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    """What was looked at is what is mounted: the owner that decides the ID map is that of the folder mounted."""
    (tmp_path / "shared/mine").mkdir(parents=True)
    for path in (tmp_path / "shared", tmp_path / "shared/mine"):
        os.chown(path, 1234, 1234)
    (tmp_path / "shared/link").symlink_to("/etc")
    attack = "print('exchanging', flush=True)\nwhile not os.path.exists('/v/stop'):\n "
    attack += "call(316,-100,b'/v/mine',-100,b'/v/link',2)"
    shared = _mount("bind", "/v", str(tmp_path / "shared"))
    attacker = lab.up(["python3", "-c", PRELUDE + attack], mounts=[shared])
    lab.said(attacker, "exchanging")
    seen = set()
    for _ in range(40):
        config = lab.config(
            ["stat", "-c", "%u", "/b"], mounts=[_mount("bind", "/b", str(tmp_path / "shared/mine"), read_only=True)]
        )
        try:
            lab.engine.up(config)
        except EngineError:
            continue
        seen.add(lab.end(config["name"]).out)
    lab.exec(attacker, "touch", "/v/stop")
    lab.end(attacker)
    # Whichever of the two it was, its owner is root inside.
    assert seen == {"0\n"}


# --- whose files ----------------------------------------------------------------------------------------------------


@pytest.fixture(name="users_folder")
def users_folder_fixture(tmp_path: Path) -> Path:
    """A folder of user 1234 on the host."""
    folder = tmp_path / "users"
    folder.mkdir()
    (folder / "old").write_text("old")
    for path in (folder, folder / "old"):
        os.chown(path, 1234, 1235)
    return folder


@pytest.mark.parametrize("user", ["", "1000", "1000:1000"])
def test_files_made_in_a_bind_belong_to_its_owner(lab: Lab, users_folder: Path, user: str) -> None:
    script = "cat /bin/id > /b/set-id; chmod 6755 /b/set-id; mkdir /b/folder; echo new >> /b/old; ln -s /etc/x /b/link"
    ended = lab.shell(script, user=user, mounts=[_mount("bind", "/b", str(users_folder))])
    assert ended.err == ""
    for path in users_folder.iterdir():
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (1234, 1235), path
    assert (users_folder / "old").read_text() == "oldnew\n"


def test_nothing_made_in_a_users_folder_is_roots(lab: Lab, users_folder: Path) -> None:
    """Root of the container may give files to any of its users, but none of them is root outside."""
    code = """
for user in (0, 1, 33, 1000, 65535):
    for group in (0, 1, 42, 65535):
        path = f"/b/{user}-{group}"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.chown(path, user, group)
            os.chmod(path, 0o6755)
        except OSError:
            pass
for name, device in (("c", 0o20666), ("b", 0o60666)):
    try:
        os.mknod("/b/" + name, device, os.makedev(1, 1))
        print("made", name)
    except OSError:
        pass
"""
    ended = lab.python(code, mounts=[_mount("bind", "/b", str(users_folder))])
    assert ended.out == "" and ended.code == 0, ended
    for path in users_folder.iterdir():
        status = path.lstat()
        assert status.st_uid != 0 and status.st_gid != 0, path
        assert stat.S_ISREG(status.st_mode)


def test_set_id_programs_and_devices_of_a_bind_do_nothing(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "become").write_bytes(Path("/usr/bin/id").read_bytes())
    (folder / "become").chmod(0o6755)
    os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for owner in ("container", "plain"):
        mounts = [_mount("bind", "/b", str(folder), owner=owner)]
        # Where the process may have new privileges it is the mount that gives none.
        for fields in ({}, {"security_opt": ["no-new-privileges:false"]}):
            ended = lab.shell("/b/become -u; cat /b/null && echo opened", user="1000", mounts=mounts, **fields)
            assert ended.out == "1000\n", (ended, fields)


def test_a_read_only_bind_with_mounts_below_stays_so(lab: Lab, canary: Canary, tmp_path: Path) -> None:
    below = canary.folder / "empty"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", below], check=True)
    try:
        (below / "secret").write_text("of the tmpfs")
        mounts = [_mount("bind", "/b", str(canary.folder), read_only=True)]
        script = "touch /b/x /b/empty/x; mount -o remount,rw /b; mount -o remount,rw /b/empty; touch /b/y /b/empty/y"
        lab.shell(script, mounts=mounts)
        lab.shell(script, mounts=mounts, cap_add=["SYS_ADMIN"])
        assert sorted(os.listdir(below)) == ["secret"]
    finally:
        subprocess.run(["umount", below], check=True)


# --- the engine's own files -----------------------------------------------------------------------------------------


def test_2021_21284_the_root_is_closed_to_users(lab: Lab) -> None:
    def tree(folder: Path) -> None:
        (folder / "become").write_bytes(Path("/usr/bin/id").read_bytes())
        (folder / "become").chmod(0o6755)

    lab.engine.put_secret("closed", b"x", {})
    lab.engine.create_volume("closed", {})
    name = lab.up(["sleep", "60"], image=lab.image(None, tree))
    identity = lab.engine.container(name)["id"]
    folders = "blobs layers staging containers volumes secrets run stacks locks".split()
    modes = {folder: stat.S_IMODE(os.stat(f"{lab.root}/{folder}").st_mode) for folder in folders}
    assert modes == dict.fromkeys(folders, 0o700)
    assert stat.S_IMODE(os.stat(lab.root).st_mode) == 0o711
    tries = [f"{lab.root}/{folder}" for folder in folders] + [
        f"{lab.root}/containers/{identity}/upper",
        f"{lab.root}/secrets/closed",
        f"{lab.root}/secret.key",
        f"{lab.root}/state.db",
        f"{lab.root}/state.db-wal",
        f"{lab.root}/run/supervisor.sock",
        f"{lab.root}/volumes/closed/_data",
        *[f"{lab.root}/layers/{layer}/become" for layer in os.listdir(f"{lab.root}/layers")],
    ]

    def attempts() -> list[str]:
        reached = []
        for path in tries:
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDONLY | os.O_DIRECTORY):
                try:
                    os.open(path, flags)
                    reached.append(path)
                except OSError:
                    continue
            if os.access(path, os.X_OK):
                reached.append(path)
        try:
            socket.socket(socket.AF_UNIX).connect(f"{lab.root}/run/supervisor.sock")
            reached.append("connected")
        except OSError as error:
            reached.append(type(error).__name__)
        return reached

    # pytest's folders are closed to others: the root's own modes are what is tested.
    for folder in (Path(lab.root).parent, Path(lab.root).parent.parent):
        folder.chmod(0o755)
    assert as_nobody(attempts) == ["PermissionError"]


def _disk_files(lab: Lab) -> Iterator[Path]:
    """Every file of the engine root that lies on a disk."""
    device = os.stat(lab.root).st_dev
    for folder, folders, names in os.walk(lab.root):
        folders[:] = [name for name in folders if os.lstat(f"{folder}/{name}").st_dev == device]
        for name in names:
            path = Path(folder) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _mount_line(lab: Lab) -> str:
    """Where the engine holds the values."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next(line for line in lines if f" {lab.root}/secrets " in line)


def _holding(lab: Lab, value: bytes) -> list[str]:
    found = [str(path) for path in _disk_files(lab) if value in path.read_bytes()]
    for path in Path("/run/stackpy").rglob("*"):
        try:
            if path.is_file() and value in path.read_bytes():
                found.append(str(path))
        except FileNotFoundError:
            continue  # another root's
    for pid in lab.processes():
        for name in ("environ", "cmdline"):
            if value in Path(f"/proc/{pid}/{name}").read_bytes():
                found.append(f"{pid} {name}")
    return found


def test_secrets_are_never_on_disk(lab: Lab) -> None:
    value = f"s3cret-{os.urandom(16).hex()}".encode()
    encoded = base64.b64encode(value)[:-4]
    lab.engine.put_secret("word", value, {"a": "b"})
    secrets = [{"secret": "word", "target": "word"}, {"secret": "word", "target": "again"}]
    script = "cat /run/secrets/word; stat -c '%a %u %g' /run/secrets/word; ls /run/secrets; sleep 60"
    name = lab.up(["sh", "-c", script], secrets=secrets, user="1000:1001", log_max_file=1)
    lab.said(name, "word\n")
    out = lab.log(name)
    assert out.startswith(value.decode() + "400 1000 1001\nagain\nword\n")
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 4):
        # Nor may memory that is short take it there.
        for line in (lab.exec(name, "grep", " /run/secrets ", "/proc/self/mountinfo").out, _mount_line(lab)):
            assert "noswap" in line.rpartition(" - ")[2], line
    # Its own log is where it has written it itself; nothing else may have it.
    own = f"{lab.root}/containers/{lab.engine.container(name)['id']}/"
    assert {path.removeprefix(own) for path in _holding(lab, value)} <= {"log", "spool.stdout"}
    assert _holding(lab, encoded) == []
    silent = lab.up(["sleep", "60"], secrets=secrets)
    assert lab.exec(silent, "cat", "/run/secrets/word").out == value.decode()
    for command in (["inspect", silent], ["--format", "json", "ps", "-a"], ["logs", silent]):
        shown = lab.cli(*command)
        assert value.decode() not in shown.out + shown.err and encoded.decode() not in shown.out + shown.err
    denied = lab.exec(
        silent, "sh", "-c", "cat /run/secrets/word; echo x > /run/secrets/word; rm /run/secrets/word", user="1000"
    )
    assert value.decode() not in denied.out
    assert lab.exec(silent, "sh", "-c", "echo x > /run/secrets/word; rm -f /run/secrets/word").code != 0
    lab.engine.remove(name, force=True)
    assert _holding(lab, value) == _holding(lab, encoded) == []
    lab.kill("supervisor")
    assert lab.exec(silent, "cat", "/run/secrets/word").out == value.decode()
    lab.engine.stop(silent)
    assert _holding(lab, value) == []
    lab.engine.start(silent)
    assert lab.exec(silent, "cat", "/run/secrets/again").out == value.decode()
    lab.engine.remove(silent, force=True)
    lab.engine.remove_secret("word")
    assert _holding(lab, value) == []
    assert f"{lab.root}/secrets" not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("target", ["../x", "a/b", "/etc/x", "..", ".", ""])
def test_a_secrets_target_is_a_name(lab: Lab, target: str) -> None:
    lab.engine.put_secret("word", b"x", {})
    assert "target" in lab.reason(["true"], secrets=[{"secret": "word", "target": target}])
    if target:
        with pytest.raises(EngineError):
            lab.engine.put_secret(target, b"x", {})


# --- filling a volume that another container has ----------------------------------------------------------------------


def test_a_pipe_that_becomes_a_link_while_a_volume_is_filled(
    tmp_path: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who fills has the host's rights: a mode must go to the pipe that was made, not to what is there now."""
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / "source/pipe")
    (tmp_path / "source/pipe").chmod(0o666)
    mkfifo = os.mkfifo

    def exchanged(name: str, mode: int, *, dir_fd: int) -> None:
        mkfifo(name, mode, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink(canary.folder / "secret", name, dir_fd=dir_fd)

    source, target = (os.open(tmp_path / name, os.O_RDONLY | os.O_DIRECTORY) for name in ("source", "target"))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "mkfifo", exchanged)
            try:
                filling.fill(source, target)
            except EngineError:
                # Refused: as good.
                pass
        canary.check()
        for name in os.listdir(tmp_path / "target"):
            os.unlink(tmp_path / "target" / name)
        filling.fill(source, target)
    finally:
        os.close(source)
        os.close(target)
    status = (tmp_path / "target/pipe").lstat()
    assert stat.S_ISFIFO(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o666
