"""`system check`: what this host can and cannot do for the engine, and the command that mends it."""

from __future__ import annotations

import ctypes.util
import os
import shutil

from stackpy_runtime.container import cgroups
from stackpy_runtime.errors import EngineError
from stackpy_runtime.host import storage_size
from stackpy_runtime.image import mountable
from stackpy_runtime.linux import mounts, namespaces
from stackpy_runtime.linux.libc import AT_FDCWD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import Check

OLDEST_KERNEL = (6, 1)


def _finding(name: str, ok: bool, detail: str, remedy: str = "", *, required: bool = True) -> Check:
    return {"name": name, "ok": ok, "required": required, "detail": detail, "remedy": "" if ok else remedy}


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 1) for `6.1.0-18-amd64`."""
    parts = release.split(".")
    return int(parts[0]), int("".join(c for c in parts[1] if c.isdigit()) or 0)


def _kernel() -> Check:
    release = os.uname().release
    ok = kernel_version(release) >= OLDEST_KERNEL
    return _finding("kernel", ok, f"Linux {release}", "the engine needs Linux 6.1 or newer: upgrade the kernel")


def _rights() -> Check:
    ok = os.geteuid() == 0
    return _finding("rights", ok, "root" if ok else f"user {os.geteuid()}", "run stackpy with sudo")


def _user_namespaces() -> Check:
    whole = [(0, 1_879_113_728, 65536)]
    try:
        os.close(namespaces.user_namespace(whole, whole))
    except (EngineError, OSError) as error:
        return _finding("user namespaces", False, str(error), "sysctl -w user.max_user_namespaces=15000")
    return _finding("user namespaces", True, "a container can have IDs of its own")


def _file_system(root: str) -> Check:
    """Whether layers of this root can be idmapped: overlayfs needs that of the file system below it."""
    folder = root
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    whole = [(0, 1_879_113_728, 65536)]
    try:
        users = namespaces.user_namespace(whole, whole)
        try:
            mount = mounts.open_tree(AT_FDCWD, folder)
            try:
                mounts.mount_setattr(mount, users=users)
            finally:
                os.close(mount)
        finally:
            os.close(users)
    except (EngineError, OSError) as error:
        remedy = "put the engine root on ext4, xfs or btrfs: stackpy --root DIR"
        return _finding("idmapped mounts", False, f"{folder}: {error}", remedy)
    return _finding("idmapped mounts", True, f"the file system of {folder} has them")


def _layers(root: str) -> Check:
    """Whether layers of this root stay tars; without that they are unpacked, which works everywhere."""
    folder = f"{root}/staging"
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    able = os.geteuid() == 0 and mountable.from_files(folder)
    detail = "mounted from their tars" if able else "unpacked into folders: more slowly, and no less safely"
    remedy = "Linux 6.12 or newer with erofs from files, and an engine root on ext4, xfs or btrfs"
    return _finding("layers", able, detail, remedy, required=False)


def _supported(kind: str, name: str, remedy: str) -> Check:
    with open("/proc/filesystems", encoding="ascii") as file:
        known = {line.split()[-1] for line in file}
    return _finding(name, kind in known, "built in or loaded" if kind in known else "not known to the kernel", remedy)


def _cgroups() -> list[Check]:
    try:
        layout = cgroups.layout()
    except OSError as error:
        return [_finding("cgroups", False, str(error), "mount -t cgroup2 none /sys/fs/cgroup")]
    if not layout.mounts:
        return [_finding("cgroups", False, "none is mounted", "mount -t cgroup2 none /sys/fs/cgroup")]
    if layout.version == 2:
        with open(f"{layout.mounts['']}/cgroup.controllers", encoding="ascii") as file:
            controllers = set(file.read().split())
    else:
        controllers = set(layout.mounts)
    missing = [name for name in ("memory", "cpu", "pids") if name not in controllers]
    detail = f"version {layout.version}" + (f", without {', '.join(missing)}" if missing else "")
    remedy = f"boot with cgroup_enable={','.join(missing)}; until then limits that need it are refused"
    return [_finding("cgroups", not missing, detail, remedy, required=False)]


def _library(name: str, package: str, what: str) -> Check:
    ok = ctypes.util.find_library(name) is not None
    return _finding(what, ok, "found" if ok else f"lib{name} is missing", f"apt-get install {package}")


def _program(name: str, package: str, what: str) -> Check:
    path = shutil.which(name)
    detail = path or f"`{name}` is missing: {what}"
    return _finding(name, path is not None, detail, f"apt-get install {package}", required=False)


def _storage(root: str) -> Check:
    """Whether what a container writes can be bounded."""
    try:
        storage_size.check(root)
    except (EngineError, OSError) as error:
        hint = getattr(error, "hint", "") or str(error)
        return _finding("storage_opt", False, "no project quotas: a size is refused", hint, required=False)
    return _finding("storage_opt", True, "the file system has project quotas")


def _forwarding() -> Check:
    """The engine turns forwarding on itself when the first network is made; a read-only /proc/sys forbids it."""
    path = "/proc/sys/net/ipv4/ip_forward"
    try:
        with open(path, encoding="ascii") as file:
            on = file.read().strip() == "1"
    except OSError:
        return _finding("forwarding", False, "no IPv4", "build the kernel with IPv4")
    writable = os.access(path, os.W_OK)
    detail = (
        "on" if on else "off: turned on while there are networks" if writable else "off, and it cannot be turned on"
    )
    return _finding("forwarding", on or writable, detail, "sysctl -w net.ipv4.ip_forward=1", required=False)


def check(root: str) -> list[Check]:
    """All findings, what is required first."""
    return [
        _kernel(),
        _rights(),
        _user_namespaces(),
        _file_system(root),
        _supported("overlay", "overlayfs", "modprobe overlay"),
        _library("seccomp", "libseccomp2", "libseccomp"),
        _library("nftables", "nftables", "nftables"),
        _layers(root),
        *_cgroups(),
        _storage(root),
        _forwarding(),
        _program("mmdebstrap", "mmdebstrap", "Image.bootstrap needs it"),
        _program("git", "git", "reconcile needs it"),
    ]
