"""What only build steps are shown: parts of folders and of other images, files in memory, sockets.

Done by the first stage, with the host's rights, so nothing here follows a path that a container may change: what lies
in a folder is opened as if that folder was the root of everything (CVE-2024-23651), and mounted by descriptor.
"""

from __future__ import annotations

import binascii
import errno
import os

from stackpy_runtime.container import rootfs
from stackpy_runtime.errors import InvalidConfig, KernelError
from stackpy_runtime.linux import files, libc, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.plan import MountPlan

KINDS = ("part", "layers", "memory", "socket")
_GUARD = mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def opened(mount: MountPlan, owners: int, first: int, scratch: str) -> int:
    """The detached mount of one of KINDS; raises InvalidConfig for what is not there.

    owners: descriptor of the user namespace whose first host ID is `first`
    scratch: an empty folder of the host; the caller is in a mount namespace of its own
    """
    if mount["kind"] == "memory":
        return _memory(mount, first, scratch)
    if mount["kind"] == "layers":
        top = rootfs.overlay(mount["lowers"], mount["source"], owners, first, scratch, volatile=True)
        try:
            result = part(top, mount["within"], scratch)
        finally:
            os.close(top)
        mounts.mount_setattr(result, set_=_GUARD)
        return result
    folder, name = os.path.split(mount["source"]) if mount["kind"] == "socket" else (mount["source"], mount["within"])
    top = os.open(folder, _FOLDER)
    try:
        result = part(top, name, scratch)
    finally:
        os.close(top)
    mounts.mount_setattr(result, set_=_GUARD)
    mounts.mount_setattr(result, users=owners)
    return result


def part(top: int, path: str, scratch: str) -> int:
    """A detached mount of what lies at `path` in the folder `top`; `scratch` as for `opened`."""
    try:
        return _clone(top, path)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            # Before Linux 6.15 only what is attached somewhere can be cloned.
            mounts.move_mount(top, libc.AT_FDCWD, scratch)
            try:
                return _clone(top, path)
            finally:
                mounts.umount(scratch)
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidConfig(f"the source `{path}` of a mount cannot be opened: {reason}") from None


def _clone(top: int, path: str) -> int:
    descriptor = files.open_in_root(top, path, os.O_PATH)
    try:
        return mounts.open_tree(descriptor, "")
    finally:
        os.close(descriptor)


def _memory(mount: MountPlan, first: int, scratch: str) -> int:
    """A file that no disk has seen: neither kept in one nor swapped out where the kernel can be told so."""
    content = binascii.a2b_base64(mount["content"])
    options = {"mode": "755", "size": str(len(content) + (1 << 16)), "uid": str(first), "gid": str(first)}
    guard = _GUARD | (0 if mount.get("executable") else mounts.MOUNT_ATTR_NOEXEC)
    top = mounts.new_memory(options, guard)
    try:
        descriptor = os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o400, dir_fd=top)
        with open(descriptor, "wb") as file:
            file.write(content)
            user, group = mount.get("owner", [0, 0])
            os.fchown(descriptor, first + user, first + group)
            os.fchmod(descriptor, mount.get("mode", 0o400))
        return part(top, "file", scratch)
    finally:
        os.close(top)
