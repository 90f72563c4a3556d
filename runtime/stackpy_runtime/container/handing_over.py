"""Hands a container over to an external OCI runtime: create, start, exec, delete.

The bundle stands in a mount namespace that lasts as long as the hand-over: the root file system, volumes and files are
attached there, seen through the container's IDs, and the runtime copies that namespace for the container. So there is
nothing to unmount, whoever dies when. The container's first process becomes a child of the keeper, as any other.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import time
from typing import TYPE_CHECKING

from stackpy_runtime.container import bundling, rootfs, users
from stackpy_runtime.container.execution import CANNOT_EXECUTE, ENGINE_FAILED, NOT_FOUND, ExecFailed
from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux import libc, mounts

if TYPE_CHECKING:
    from stackpy_runtime.container.cgroups import Group
    from stackpy_runtime.container.execution import Channel
    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.container.plan import HandedTo, SandboxPlan
    from stackpy_runtime.container.standby import Handed

# Every user may pass through its parents: a runtime opens mounts with the rights of the container's root.
BUNDLE = "/run/stackpy/bundle"
LEAVING = 2.0  # seconds in which what stood by has to leave the control group
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def enter(plan: SandboxPlan, first_id: int, group: Group, handed: Handed, channel: Channel, announce: int) -> None:
    """Has the runtime create and start the container. Runs in the first stage, whose mount namespace is its own."""
    runtime = plan["handed_to"]
    _leave(group)
    binds = _attach(plan, first_id, handed)
    identity = users.Identity(*handed.values["identity"])
    document = bundling.document(plan, identity, first_id, f"/{group.name}", binds)
    with open(f"{BUNDLE}/config.json", "w", encoding="utf-8") as file:
        json.dump(document, file)
    given = 1 if handed.values["stdin"] else 0
    streams = handed.descriptors[1 : 3 + given]
    os.makedirs(runtime["root"], mode=0o700, exist_ok=True)
    words = ["create", "--bundle", BUNDLE, "--pid-file", f"{BUNDLE}/pid"]
    _call_with_terminal(runtime, words, streams if given else [-1, *streams], channel, tty=plan["process"]["tty"])
    with open(f"{BUNDLE}/pid", encoding="ascii") as file:
        pid = int(file.read())
    os.write(announce, f"{pid}\n".encode())
    if plan["network"] == "own":
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        channel.send({"at": "network"}, (network,))
        os.close(network)
    channel.wait()
    call(runtime, ["start"])


def _leave(group: Group) -> None:
    """Empties the control group, which is the runtime's from now on."""
    for top in dict.fromkeys(group.layout.mounts.values()):
        with open(f"{top}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
    deadline = time.monotonic() + LEAVING
    while group.processes() and time.monotonic() < deadline:
        time.sleep(0.002)


def _attach(plan: SandboxPlan, first_id: int, handed: Handed) -> list[tuple[str, str, bool]]:
    """Puts the bundle together; returns what is bound into the container: source, target, whether read-only."""
    from stackpy_runtime.container.sandbox import write_files

    values, given = handed.values, iter(handed.descriptors)
    root = next(given)
    for _ in range(3 if values["stdin"] else 2):
        next(given)
    # The folder of the root stays on the host, empty: `runc exec` changes into it (cmd.Dir = Rootfs).
    os.makedirs(f"{BUNDLE}/rootfs", mode=0o711, exist_ok=True)
    mounts.mount("tmpfs", BUNDLE, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=711,size=16m")
    os.mkdir(f"{BUNDLE}/rootfs")
    with rootfs.mapped_root(first_id):
        write_files(root, plan["files"], values["contents"])
    mounts.move_mount(root, libc.AT_FDCWD, f"{BUNDLE}/rootfs")
    binds: list[tuple[str, str, bool]] = []

    def add(source: int, target: str, read_only: bool) -> None:
        path = f"{BUNDLE}/{len(binds)}"
        if os.path.isdir(f"/proc/self/fd/{source}"):
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        mounts.move_mount(source, libc.AT_FDCWD, path)
        binds.append((path, target, read_only))

    for mount, inside in zip(plan["mounts"], values["made inside"], strict=True):
        if not inside:
            add(next(given), mount["target"], mount["read_only"])
    for target in plan["etc"]:
        add(next(given), f"/etc/{target}", False)
    if plan["secrets"]:
        add(next(given), "/run/secrets", True)
    return binds


def words_of(runtime: HandedTo, log: str) -> list[str]:
    """The runtime's command line up to its verb."""
    return [runtime["program"], "--root", runtime["root"], "--log", log, "--log-format", "json"]


def call(runtime: HandedTo, words: list[str], streams: list[int] | None = None, tail: list[str] | None = None) -> None:
    """Calls a verb of the runtime; raises what it says it failed at.

    streams: descriptors for the standard streams, -1 for none; tail: what stands behind the container's ID
    """
    log = f"{runtime['root']}/.log-{os.urandom(6).hex()}"
    null = own_null()
    given = [null if _is_null(each) else each for each in (streams if streams is not None else [-1, -1, -1])]
    try:
        result = subprocess.run(
            [*words_of(runtime, log), *words, runtime["id"], *(tail or [])],
            stdin=given[0],
            stdout=given[1],
            stderr=subprocess.PIPE if streams is None else given[-1],
            env=ENVIRONMENT,
            check=False,
        )
        if result.returncode:
            raise _failure(runtime, words[0], _said(log, result.stderr or b""))
    finally:
        os.close(null)
        try:
            os.unlink(log)
        except FileNotFoundError:
            pass


def own_null() -> int:
    """A null device that is nobody else's: crun gives the streams to the container's user, and /dev/null with them."""
    top = mounts.new_mount("tmpfs", {"mode": "700", "size": "4k"})
    try:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=top)
        descriptor = os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=top)
        os.fchmod(descriptor, 0o666)
        return descriptor
    finally:
        os.close(top)


def _is_null(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def _said(log: str, errors: bytes) -> str:
    """The last error of a runtime's log, or what it has written."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            rows = [json.loads(line) for line in file if line.startswith("{")]
    except (OSError, ValueError):
        rows = []
    found = [str(row.get("msg", "")) for row in rows if row.get("level", "error") in ("error", "fatal")]
    return (found[-1] if found else errors.decode("utf-8", "replace")).strip()[-600:]


def _failure(runtime: HandedTo, verb: str, text: str) -> EngineError:
    """A runtime's message as an error, with Docker's exit codes where the program cannot be executed."""
    name = os.path.basename(runtime["program"])
    lowered = text.lower()
    code = ENGINE_FAILED
    if "executable file" in lowered or "no such file" in lowered:
        code = NOT_FOUND
    elif "permission denied" in lowered:
        code = CANNOT_EXECUTE
    message = f"{name} {verb}: {text or 'it failed and says nothing'}"
    return EngineError(message) if code == ENGINE_FAILED else ExecFailed(message, code)


def _call_with_terminal(
    runtime: HandedTo,
    words: list[str],
    streams: list[int],
    channel: Channel,
    *,
    tty: bool,
    tail: list[str] | None = None,
) -> None:
    """A verb that starts a process; its terminal, if it has one, is told over the channel."""
    if not tty:
        call(runtime, words, streams, tail)
        return
    path = f"{runtime['root']}/.console-{os.urandom(6).hex()}"
    folder = os.open(runtime["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            listener.listen(1)
            listener.settimeout(30)
            call(runtime, [*words, "--console-socket", path], [-1, -1, -1], tail)
            line, _ = listener.accept()
            with line:
                _, descriptors, _, _ = socket.recv_fds(line, 256, 1)
        channel.send({"at": "terminal"}, (descriptors[0],))
        os.close(descriptors[0])
    finally:
        os.close(folder)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def execute(plan: JoinPlan, channel: Channel, stdio: list[int], announce: int) -> None:
    """Has the runtime start another process in the container."""
    from stackpy_runtime.container.sandbox import identify

    runtime, process = plan["handed_to"], plan["process"]
    root = os.open(f"/proc/{plan['pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        identity = identify(root, process)
    finally:
        os.close(root)
    token = os.urandom(6).hex()
    document, pid_file = f"{runtime['root']}/.exec-{token}.json", f"{runtime['root']}/.exec-{token}.pid"
    try:
        with open(document, "x", encoding="utf-8") as file:
            json.dump(bundling.process_document(process, identity), file)
        words = ["exec", "--detach", "--pid-file", pid_file, "--process", document]
        _call_with_terminal(runtime, words, stdio, channel, tty=process["tty"])
        with open(pid_file, encoding="ascii") as file:
            os.write(announce, f"{int(file.read())}\n".encode())
    finally:
        for path in (document, pid_file):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def delete(runtime: HandedTo) -> None:
    """Removes what the runtime knows of a container; nothing happens when it knows nothing."""
    if not os.path.isdir(runtime["root"]):
        return
    try:
        call(runtime, ["delete", "--force"])
    except (EngineError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOENT or "does not exist" in str(error):
            return
        raise
