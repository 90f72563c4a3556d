"""The nodes and links of a bundle's /dev, made by the container's first process."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.container.devices import LINKS
from stackpy_runtime.errors import EngineError, InvalidConfig, KernelError
from stackpy_runtime.linux import files, libc, mounts

if TYPE_CHECKING:
    from stackpy_runtime.oci.outside import Opened
    from stackpy_runtime.oci.plan import BundlePlan, Device


def make_devices(plan: BundlePlan, opened: Opened, top: int) -> None:
    """Makes the nodes and links of /dev. Raises KernelError that names the device, or the link."""
    # A /dev that is the host's own is left as it is.
    if any(mount["kind"] == "bind" and os.path.normpath(mount["target"]) == "/dev" for mount in plan["mounts"]):
        return
    for device in plan["devices"]:
        try:
            _make_device(device, opened.nodes.get(device["path"], -1), top)
        except OSError as error:
            reason = str(error) if isinstance(error, EngineError) else (error.strerror or str(error)).lower()
            raise KernelError(f"{device['where']} `{device['path']}`: {reason}", errno=error.errno or 0) from None
    folder = files.open_beneath(top, "dev", os.O_PATH | os.O_DIRECTORY)
    try:
        for name, link in LINKS.items():
            if name == "core" and _missing(top, "proc/kcore"):
                continue
            if name == "ptmx":
                # The host's multiplexer in its place would make terminals of the host's.
                _remove(name, folder)
            elif link.startswith("/proc") and _missing(top, "proc/self"):
                continue
            try:
                os.symlink(link, name, dir_fd=folder)
            except FileExistsError:
                pass
    finally:
        os.close(folder)


def make_console(top: int) -> None:
    """Makes what /dev/console is mounted on, while /dev can be written."""
    folder = files.open_beneath(top, "dev", os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(os.open("console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o620, dir_fd=folder))
    except FileExistsError:
        # What it is is looked at when it is covered.
        pass
    finally:
        os.close(folder)


def _missing(top: int, path: str) -> bool:
    try:
        os.close(files.open_beneath(top, path, os.O_PATH | os.O_NOFOLLOW))
    except KernelError as error:
        return error.errno == errno.ENOENT
    return False


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise libc.failure(f"replace /dev/{name}", error.errno) from None


def _make_device(device: Device, bound: int, top: int) -> None:
    """Makes a node, or binds the host's, in a folder that no link leads to (CVE-2025-31133)."""
    above, name = os.path.split(device["path"])
    parent = _plain_folder(top, above)
    try:
        if bound >= 0:
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
            except FileExistsError:
                pass
            point = files.open_beneath(parent, name, os.O_PATH)
            mounts.move_mount(bound, point, "")
            os.close(point)
            os.close(bound)
            return
        kind = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[device["type"]]
        try:
            os.mknod(name, kind | device["mode"], device["number"], dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != kind or found.st_rdev != device["number"]:
                _remove_node(name, parent)
                os.mknod(name, kind | device["mode"], device["number"], dir_fd=parent)
        node = files.openat2(parent, name, os.O_PATH | os.O_NOFOLLOW)
        try:
            # Of the node that was made, whatever has its name by now.
            os.chown(f"/proc/self/fd/{node}", device["user"], device["group"])
            os.chmod(f"/proc/self/fd/{node}", device["mode"])
        finally:
            os.close(node)
    finally:
        os.close(parent)


def _remove_node(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except OSError as error:
        raise libc.failure(f"replace {name}", error.errno) from None


def _plain_folder(top: int, path: str) -> int:
    """A descriptor of a folder whose path has no link in it; what is missing is made."""
    current = files.open_beneath(top, ".", os.O_PATH | os.O_DIRECTORY)
    for part in [part for part in path.split("/") if part]:
        try:
            os.mkdir(part, 0o755, dir_fd=current)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EROFS):
                os.close(current)
                raise libc.failure(f"mkdir {path}", error.errno) from None
        try:
            following = files.open_beneath(current, part, os.O_PATH | os.O_DIRECTORY)
        except KernelError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidConfig(f"{path} is a link or a file in the container's root: refused") from None
            raise
        finally:
            os.close(current)
        current = following
    return current
