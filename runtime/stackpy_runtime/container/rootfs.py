"""A container's root file system as a detached mount: overlayfs over idmapped layers.

The order that the kernel accepts was found by trying (Linux 6.18, root without CAP_SYS_RESOURCE): clone each layer as
a detached mount and idmap it; clone the folder that holds upper and work, idmap it too; then configure overlayfs with
the file-system IDs of the mapped root under SECBIT_NO_SETUID_FIXUP, so that capabilities stay. Without the last,
overlayfs cannot create its work folder (EOVERFLOW) and silently mounts read-only.
"""

from __future__ import annotations

import errno
import os

from stackpy_runtime.errors import EngineError, KernelError, NotFound
from stackpy_runtime.linux import libc, mounts
from stackpy_runtime.linux.processes import (
    PR_SET_SECUREBITS,
    SECBIT_NO_SETUID_FIXUP,
    prctl,
    set_filesystem_ids,
)
from stackpy_runtime.store import mounted

# Upper folders become layers, so nothing in them may depend on what lies below. With an index the kernel would refuse
# to start a container again while the flush at its last end goes on.
OPTIONS = {"redirect_dir": "off", "metacopy": "off", "index": "off"}


def idmapped_clone(path: str, users: int) -> int:
    """A detached clone of the mount at `path`, or of a layer by its index, seen through the user namespace `users`.

    users: a descriptor, or -1 for the host's, where IDs are what they are
    """
    descriptor = mounted.clone(path)
    if users >= 0:
        mounts.mount_setattr(descriptor, users=users)
    return descriptor


def _layer(path: str, users: int) -> int:
    try:
        return idmapped_clone(path, users)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        raise NotFound(
            f"a layer of its image is no longer on disk: `{path}`", hint="load, pull or build the image again"
        ) from None


class mapped_root:
    """Within it the caller makes files as root of the user namespace whose first host ID is `first`."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __enter__(self) -> None:
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
        set_filesystem_ids(self.first, self.first)

    def __exit__(self, *exception: object) -> None:
        set_filesystem_ids(0, 0)
        prctl(PR_SET_SECUREBITS, 0)


def overlay(lowers: list[str], writable: str, users: int, first: int, scratch: str, *, volatile: bool = False) -> int:
    """The detached overlay mount of `lowers` (bottom first) with `writable`/upper on top.

    users: descriptor of the user namespace whose first host ID is `first`; scratch: an empty folder of the host, used
    by kernels before 6.15, where overlayfs refuses detached layers. The caller is in a mount namespace of its own.
    volatile: the kernel need not flush `upper` to disk, which it else does at the end, before anyone hears of it.
    Raises KernelError, also where the kernel would have the mount read-only, since the disk is full.
    """
    layers = [_layer(path, users) for path in reversed(lowers)]
    top = idmapped_clone(writable, users)
    try:
        made = _made(layers, top, first, scratch, volatile)
        if os.fstatvfs(made).f_flag & os.ST_RDONLY:
            os.close(made)
            raise _no_work_folder(writable, first)
        return made
    finally:
        for descriptor in (*layers, top):
            os.close(descriptor)


def _made(layers: list[int], top: int, first: int, scratch: str, volatile: bool) -> int:
    with mapped_root(first):
        try:
            return _detached(layers, top, volatile)
        except KernelError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOENT):
                raise
    return _attached(layers, top, first, scratch, volatile)


def _no_work_folder(writable: str, first: int) -> EngineError:
    """Why overlayfs has mounted read-only, which it does without an error: what it could not do is tried again.

    As the same user: what a disk keeps in reserve for root is not a container's.
    """
    code, probe = errno.EROFS, f"{writable}/work/probe"
    with mapped_root(first):
        try:
            os.mkdir(probe)
            os.rmdir(probe)
        except OSError as error:
            code = error.errno or code
    hint = "free some space and try again" if code in (errno.ENOSPC, errno.EDQUOT) else "`dmesg` says why"
    return libc.failure(f"mount overlay workdir={writable}/work", code, hint)


def _detached(layers: list[int], top: int, volatile: bool) -> int:
    context = mounts.fsopen("overlay")
    try:
        # Programs tell by the name of their root that they are in a container: `overlay`, as mount(8) has it.
        options = [("source", "overlay"), *(("lowerdir+", f"/proc/self/fd/{layer}") for layer in layers)]
        options += [("upperdir", f"/proc/self/fd/{top}/upper"), ("workdir", f"/proc/self/fd/{top}/work")]
        for key, value in [*options, *OPTIONS.items()]:
            if code := mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, key, value):
                raise libc.failure(f"fsconfig overlay {key}={value}", code)
        if volatile and (code := mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, "volatile")):
            raise libc.failure("fsconfig overlay volatile", code)
        if code := mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE):
            raise libc.failure("fsconfig overlay create", code)
        return mounts.fsmount(context, mounts.MOUNT_ATTR_NODEV)
    finally:
        os.close(context)


def _attached(layers: list[int], top: int, first: int, scratch: str, volatile: bool) -> int:
    """The option-string form: layers attached under short names, which a page of options has room for."""
    mounts.mount("tmpfs", scratch, "tmpfs", 0, "mode=755,size=1m")
    home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(scratch)
        for name, layer in [*((str(index), layer) for index, layer in enumerate(layers)), ("w", top)]:
            os.mkdir(name)
            mounts.move_mount(layer, libc.AT_FDCWD, name)
        os.mkdir("m")
        lower = ":".join(str(index) for index in range(len(layers)))
        extra = ",".join([f"{key}={value}" for key, value in OPTIONS.items()] + (["volatile"] if volatile else []))
        with mapped_root(first):
            mounts.mount(
                "overlay", "m", "overlay", mounts.MS_NODEV, f"lowerdir={lower},upperdir=w/upper,workdir=w/work,{extra}"
            )
        return mounts.open_tree(libc.AT_FDCWD, "m")
    finally:
        os.fchdir(home)
        os.close(home)
        mounts.umount(scratch)
