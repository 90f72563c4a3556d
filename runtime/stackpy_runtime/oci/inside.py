"""The first process of a bundle's container: puts its root together, waits to be started, executes.

It is forked with what outside.py has opened. Its mount namespace is a copy of the host's, since hooks of the host run
in it before the root is exchanged; nothing that is mounted here reaches the host. Targets are opened once, as seen from
the container's root, and acted on as descriptors.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import termios
from typing import TYPE_CHECKING

from stackpy_runtime.container import users
from stackpy_runtime.container.devices import open_terminal
from stackpy_runtime.container.execution import NOT_FOUND, ExecFailed, close_others, execute, prepare_process
from stackpy_runtime.container.sandbox import read_inside
from stackpy_runtime.errors import EngineError, InvalidConfig, KernelError
from stackpy_runtime.filling import copy
from stackpy_runtime.linux import files, libc, mounts, namespaces, processes, scheduling
from stackpy_runtime.linux.title import set_title
from stackpy_runtime.oci import hooks, nodes

if TYPE_CHECKING:
    from stackpy_runtime.oci.line import Line
    from stackpy_runtime.oci.outside import Opened
    from stackpy_runtime.oci.plan import BundleMount, BundlePlan, Program

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# What lxcfs and its like show in place of the kernel's own: the only mounts that procfs takes.
PROC_FILES = (
    "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid "
    "sys/crypto/fips_enabled"
).split()


def run(plan: BundlePlan, opened: Opened, line: Line) -> None:
    """From the new namespaces to the program; never returns."""
    set_title(f"stackpy-init {plan['id']}")
    if not plan["no_session"]:
        processes.join_session_keyring()
    # What is unmounted here later must stay on the host; what the host mounts meanwhile may come.
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    if plan["spaces"]["new"] & namespaces.CLONE_NEWNET:
        _bring_up_loopback()
    if plan["hostname"]:
        socket.sethostname(plan["hostname"])
    if plan["domainname"]:
        namespaces.set_domain_name(plan["domainname"])
    # The first stage has changed into the folder of the root with the host's rights, which this process lacks.
    mounts.move_mount(opened.root, libc.AT_FDCWD, ".")
    top = opened.root
    state = line.ask("namespaces")
    _set_kernel(plan["sysctl"])
    read_only = _mount_all(plan, opened, top)
    nodes.make_devices(plan, opened, top)
    for path in dict.fromkeys(plan["masked"]):
        _mask(top, path)
    for path in dict.fromkeys(plan["locked"]):
        _lock(top, path)
    program = plan["program"]
    if program:
        _make_folder(top, program["plan"]["working_dir"])
        if read_only and program["plan"]["tty"]:
            nodes.make_console(top)
    for made in read_only:
        mounts.mount_setattr(made, set_=mounts.MOUNT_ATTR_RDONLY)
        os.close(made)
    hooks.call_all(plan["hooks"].get("createContainer", []), state["state"])
    console = _console(top, program)
    _exchange_root(plan, top)
    if program is None:
        # The lock of whoever creates it is among them: held by this process, `start` and `delete` would wait for ever.
        close_others(3, line)
        line.wait()
        raise InvalidConfig("process is missing in config.json: there is nothing to start")
    execute_program(program, plan, line, console)


def execute_program(program: Program, plan: BundlePlan, line: Line, console: int) -> None:
    """In the container's root: all that stands between here and the program. For `exec` as well."""
    filter_ = plan["filter"]
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    user, group, further, _ = program["identity"]
    identity = users.Identity(user, group, further, _home(root, user))
    check_program(root, program)
    os.close(root)
    if program["apparmor"] or program["label"]:
        # Mounted by us and seen by nobody else: what is written to it cannot go elsewhere (CVE-2025-52881).
        line.kept.append(mounts.new_mount("proc", {}))
    process = program["plan"]
    if filter_:
        process["filter_flags"] = filter_["flags"]
    ready = prepare_process(
        process,
        identity,
        [0, 1, 2],
        console,
        line,
        filter_["program"] if filter_ else b"",
        with_console=line.listener >= 0,
    )
    line.wait()
    state = line.told.get("state", "")

    def last() -> None:
        # Without no_new_privs the filter holds already.
        own = None if process.get("new_privileges") else filter_
        found = plan["hooks"].get("startContainer", [])
        hooks.call_all(found, state, environment=ready.environment, filter_=own)
        _label(program, line.kept)
        if program["personality"] is not None:
            scheduling.set_personality(program["personality"])

    execute(ready, line, last)


def _label(program: Program, kept: list[int]) -> None:
    for name, value in (("apparmor/exec", program["apparmor"]), ("exec", program["label"])):
        if value:
            text = f"exec {value}" if name.startswith("apparmor") else value
            path = f"{os.getpid()}/task/{os.getpid()}/attr/{name}"
            descriptor = files.open_beneath(kept[-1], path, os.O_WRONLY)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)


def _home(root: int, user: int) -> str:
    for row in read_inside(root, "/etc/passwd").splitlines():
        fields = row.split(":")
        if len(fields) > 5 and fields[2] == str(user) and fields[5]:
            return fields[5]
    return "/"


def check_program(root: int, program: Program) -> None:
    """Raises ExecFailed, before anybody waits to start it, for a program that is not there."""
    plan = program["plan"]
    name = plan["argv"][0]
    if "/" in name:
        # Relative ones are looked for when the working folder is known, by execve.
        if name.startswith("/") and not _exists(root, name):
            raise ExecFailed(f'exec: "{name}": no such file or directory', NOT_FOUND)
        return
    path = plan["environment"].get("PATH", os.defpath)
    if not any(_exists(root, f"{folder}/{name}") for folder in path.split(":") if folder.startswith("/")):
        raise ExecFailed(
            f'exec: "{name}": executable file not found in $PATH: no such file or directory',
            NOT_FOUND,
            "check process.args and the PATH of process.env",
        )


def _exists(root: int, path: str) -> bool:
    try:
        os.close(files.open_in_root(root, path, os.O_PATH))
    except KernelError as error:
        # A magic link of /proc is none of our business here: execve follows it in the container.
        return error.errno not in (errno.ENOENT, errno.ENOTDIR)
    return True


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _set_kernel(values: dict[str, str]) -> None:
    """Sets sysctls through a procfs of our own, which nothing of the container can stand in for."""
    if not values:
        return
    proc = mounts.new_mount("proc", {})
    try:
        for path, value in values.items():
            try:
                descriptor = files.open_beneath(proc, f"sys/{path}", os.O_WRONLY)
                try:
                    os.write(descriptor, value.encode())
                finally:
                    os.close(descriptor)
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise InvalidConfig(f"linux.sysctl: {path.replace('/', '.')}={value}: {reason}") from None
    finally:
        os.close(proc)


def target(root: int, path: str, *, folder: bool, kind: str = "") -> int:
    """A descriptor of a mount's target, made when it is missing.

    Links of the container are resolved inside it. Nothing but PROC_FILES is mounted into procfs, and procfs and sysfs
    on no link: a false tree there would get what is meant for the kernel (CVE-2019-16884).
    """
    descriptor = -1
    if kind in ("proc", "sysfs"):
        try:
            descriptor = files.open_beneath(root, path.strip("/") or ".", os.O_PATH | os.O_DIRECTORY)
        except KernelError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidConfig(f"{path} is not a folder: {kind} is not mounted on a link") from None
            if error.errno != errno.ENOENT:
                raise
    try:
        if descriptor < 0:
            descriptor = files.open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        descriptor = _make(root, path, folder=folder)
    if files.file_system_type(descriptor) == files.PROC_SUPER_MAGIC:
        normal = os.path.normpath(path)
        if not (kind == "proc" and normal == "/proc") and normal.removeprefix("/proc/") not in PROC_FILES:
            os.close(descriptor)
            raise InvalidConfig(f"{path} leads into /proc, where nothing may be mounted")
    return descriptor


def _make(root: int, path: str, *, folder: bool) -> int:
    if folder:
        return files.make_folders(root, path)
    files.make_file(root, path)
    return files.open_in_root(root, path, os.O_PATH)


def _is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _mount_all(plan: BundlePlan, opened: Opened, top: int) -> list[int]:
    """Mounts in order; returns what is made read-only once nothing more is mounted or made in it."""
    read_only: list[int] = []
    for mount, source in zip(plan["mounts"], opened.sources, strict=True):
        try:
            _mount(plan, mount, source, opened, top, read_only)
        except OSError as error:
            reason = str(error) if isinstance(error, EngineError) else (error.strerror or str(error)).lower()
            raise KernelError(f"{mount['where']} `{mount['target']}`: {reason}", errno=error.errno or 0) from None
        except EngineError as error:
            error.message = f"{mount['where']} `{mount['target']}`: {error.message}"
            raise
    return read_only


def _mount(plan: BundlePlan, mount: BundleMount, source: int, opened: Opened, top: int, read_only: list[int]) -> None:
    kind = mount["kind"]
    folder = source < 0 or _is_folder(source)
    if kind == "inside" and mount["type"] == "tmpfs" and "mode" not in mount["options"]:
        # As runc and crun do: the tmpfs takes the place of a folder, which may have been only its user's.
        mode = files.folder_mode(top, mount["target"])
        if mode is not None:
            mount["options"]["mode"] = f"{mode:o}"
    point = target(top, mount["target"], folder=folder, kind=mount["type"] if kind == "inside" else "")
    try:
        if kind == "remount":
            attributes = mount["top"]
            mounts.mount_setattr(point, set_=attributes["set"], clear=attributes["clear"])
            return
        if _is_folder(point) != folder:
            raise InvalidConfig(
                "a folder cannot be mounted on a file" if folder else "a file cannot be mounted on a folder"
            )
        if kind == "inside":
            source = _new(plan, mount, point)
        elif kind == "cgroup":
            source = _new_groups(plan, mount, opened)
        mounts.move_mount(source, point, "")
        if kind == "cgroup":
            _show_groups(mount, opened, source)
        if kind != "bind":
            _finish(mount, source)
        if mount["type"] == "tmpfs" and mount["top"]["set"] & mounts.MOUNT_ATTR_RDONLY:
            read_only.append(source)
        else:
            os.close(source)
    finally:
        os.close(point)


def _new(plan: BundlePlan, mount: BundleMount, point: int) -> int:
    options = dict(mount["options"])
    if mount["source"]:
        options["source"] = mount["source"]  # what /proc/mounts shows
    if plan["mount_label"] and mount["type"] in ("tmpfs", "mqueue", "devpts"):
        options["context"] = plan["mount_label"]
    attributes = mount["top"]["set"]
    if mount["type"] == "tmpfs":
        # Later: targets of further mounts, nodes of devices and the console may be made in it.
        attributes &= ~mounts.MOUNT_ATTR_RDONLY
    source = mounts.new_mount(mount["type"], options, attributes)
    if not mount["copy_up"]:
        return source
    covered = files.open_beneath(point, ".", os.O_RDONLY | os.O_DIRECTORY)
    written = files.open_beneath(source, ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        copy(covered, written)
    finally:
        os.close(covered)
        os.close(written)
    return source


def _new_groups(plan: BundlePlan, mount: BundleMount, opened: Opened) -> int:
    """The container's own control group in each hierarchy; version 2 has one."""
    attributes = mount["top"]["set"]
    if [name for name, _ in opened.groups] == [""]:
        if plan["spaces"]["new"] & namespaces.CLONE_NEWCGROUP:
            os.close(opened.groups[0][1])
            return mounts.new_mount("cgroup2", {}, attributes)
        mounts.mount_setattr(opened.groups[0][1], set_=attributes)
        return opened.groups[0][1]
    guard = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
    return mounts.new_mount("tmpfs", {"mode": "755", "size": "64k"}, guard)


def _show_groups(mount: BundleMount, opened: Opened, top: int) -> None:
    """Version 1: a folder for each hierarchy, and a link for each controller of one that has several."""
    if [name for name, _ in opened.groups] == [""]:
        return
    for name, group in opened.groups:
        os.mkdir(name, 0o755, dir_fd=top)
        mounts.mount_setattr(group, set_=mount["top"]["set"])
        mounts.move_mount(group, top, name)
        os.close(group)
        for controller in name.split(",") if "," in name else []:
            os.symlink(name, controller, dir_fd=top)
    if mount["top"]["set"] & mounts.MOUNT_ATTR_RDONLY:
        mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)


def _finish(mount: BundleMount, source: int) -> None:
    whole, top = mount["whole"], mount["top"]
    if whole["set"] or whole["clear"]:
        mounts.mount_setattr(source, set_=whole["set"], clear=whole["clear"], recursive=True)
    if top["clear"] and mount["kind"] != "cgroup":
        later = mounts.MOUNT_ATTR_RDONLY if mount["type"] == "tmpfs" else 0
        mounts.mount_setattr(source, set_=top["set"] & ~later, clear=top["clear"])
    for kind, deep in mount["propagation"]:
        mounts.mount_setattr(source, propagation=kind, recursive=deep)


def _mask(top: int, path: str) -> None:
    """Hides a path: the host's null device over a file, an empty read-only folder over a folder."""
    point = _opened(top, path)
    if point < 0:
        return
    if _is_folder(point):
        cover = mounts.new_mount(
            "tmpfs", {"size": "4k", "mode": "555"}, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID
        )
    else:
        # Of the host, whose tree this process still sees, not of the container.
        cover = mounts.open_tree(libc.AT_FDCWD, "/dev/null")
        status = os.fstat(cover)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
            raise InvalidConfig("/dev/null of this host is not the null device")
    mounts.move_mount(cover, point, "")
    os.close(cover)
    os.close(point)


def _lock(top: int, path: str) -> None:
    """Makes a path read-only, with all that is mounted below."""
    point = _opened(top, path)
    if point < 0:
        return
    clone = mounts.open_tree(point, "", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
    mounts.mount_setattr(clone, set_=mounts.MOUNT_ATTR_RDONLY, recursive=True)
    mounts.move_mount(clone, point, "")
    os.close(clone)
    os.close(point)


def _opened(top: int, path: str) -> int:
    if not path.startswith("/"):
        raise InvalidConfig(f"linux.maskedPaths and linux.readonlyPaths: `{path}` is not absolute")
    try:
        return files.open_in_root(top, path, os.O_PATH)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return -1
        raise


def _make_folder(top: int, path: str) -> None:
    """Makes the working folder where it is missing, while the root can still be written."""
    try:
        os.close(files.open_in_root(top, path, os.O_PATH))
    except KernelError as error:
        if error.errno == errno.ENOENT:
            os.close(files.make_folders(top, path))


def _console(top: int, program: Program | None) -> int:
    """The controlling side of a new terminal of the container's own devpts; -1 without one."""
    if not program or not program["plan"]["tty"]:
        return -1
    device = files.open_beneath(top, "dev", os.O_PATH | os.O_DIRECTORY)
    try:
        return sized(open_terminal(device), program)
    except KernelError as error:
        raise InvalidConfig(f"process.terminal needs a devpts on /dev/pts among the mounts: {error}") from None
    finally:
        os.close(device)


def open_console(program: Program) -> int:
    """The same for a process that has joined the container: its root is the caller's."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _console(root, program)
    finally:
        os.close(root)


def sized(console: int, program: Program) -> int:
    """The terminal with the size that is asked for."""
    if program["console_size"]:
        fcntl.ioctl(console, termios.TIOCSWINSZ, struct.pack("HHHH", *program["console_size"], 0, 0))
    return console


def _hide_whole(root: str) -> None:
    """Takes the host's procfs and sysfs away, which a covered root still has.

    While the kernel finds one of them whole, it lets a user namespace that the container makes mount one anew, without
    what masks the container's own.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split() for line in file]
    for row in reversed(rows):
        whole, point, kind = row[3] == "/", row[4], row[row.index("-") + 1]
        if not whole or kind not in ("proc", "sysfs") or f"{point}/".startswith(f"{root}/"):
            continue
        try:
            mounts.umount(point)
        except KernelError:
            # Locked, in a user namespace of the container's own.
            mounts.mount("tmpfs", point, "tmpfs", 0, "")


def _exchange_root(plan: BundlePlan, top: int) -> None:
    os.fchdir(top)
    if plan["no_pivot"]:
        # For hosts whose root is the kernel's initial ramdisk: it cannot be exchanged, only covered.
        _hide_whole(os.getcwd())
        mounts.mount(".", "/", None, mounts.MS_MOVE)
        os.chroot(".")
    else:
        mounts.pivot_root(".", ".")
        mounts.umount(".")
    os.chdir("/")
    if plan["propagation"] in (mounts.MS_SHARED, mounts.MS_UNBINDABLE):
        mounts.mount(None, "/", None, plan["propagation"])
    if plan["read_only"]:
        mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)
    os.close(top)
