"""Mount options of a bundle → attributes, propagation and the file system's own options. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux import mounts

if TYPE_CHECKING:
    from stackpy_runtime.oci.plan import Attributes

# name → (set, clear); with an `r` before it, the same for all that is mounted below.
ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mounts.MOUNT_ATTR_RDONLY),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mounts.MOUNT_ATTR_NOSUID),
    "nodev": (mounts.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mounts.MOUNT_ATTR_NODEV),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mounts.MOUNT_ATTR_NOEXEC),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mounts.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mounts.MOUNT_ATTR_NOSYMFOLLOW),
    # Of the access times exactly one holds, and mount_setattr(2) wants all of their bits cleared before.
    "relatime": (mounts.MOUNT_ATTR_RELATIME, mounts.MOUNT_ATTR_ATIME),
    "norelatime": (mounts.MOUNT_ATTR_STRICTATIME, mounts.MOUNT_ATTR_ATIME),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, mounts.MOUNT_ATTR_ATIME),
    "atime": (mounts.MOUNT_ATTR_RELATIME, mounts.MOUNT_ATTR_ATIME),
    "strictatime": (mounts.MOUNT_ATTR_STRICTATIME, mounts.MOUNT_ATTR_ATIME),
    "nostrictatime": (mounts.MOUNT_ATTR_RELATIME, mounts.MOUNT_ATTR_ATIME),
}
PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}
# Of the whole file system, not of one mount: the kernel takes them as flags of fsconfig(2).
SUPERBLOCK = ("sync", "dirsync", "lazytime", "mand", "iversion")
# What holds without being said, and what only concerns the kernel's log.
NOTHING = ("defaults", "async", "nolazytime", "nomand", "noiversion", "loud", "silent")


class Options(NamedTuple):
    """What the options of a mount come to."""

    top: Attributes
    whole: Attributes
    propagation: list[tuple[int, bool]]
    own: dict[str, str | None]  # the file system's; None: a flag
    bind: bool
    recursive: bool
    remount: bool
    copy_up: bool
    idmap: str  # "", "top" or "whole"


def names() -> list[str]:
    """All that are known, as `features` lists them."""
    attributes = [*ATTRIBUTES, *(f"r{name}" for name in ATTRIBUTES)]
    propagation = [*PROPAGATION, *(f"r{name}" for name in PROPAGATION)]
    others = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"]
    return sorted([*attributes, *propagation, *SUPERBLOCK, *NOTHING, *others])


def _with(attributes: Attributes, change: tuple[int, int]) -> Attributes:
    """The later of two options that contradict each other holds."""
    set_, clear = change
    return {"set": attributes["set"] & ~clear | set_, "clear": attributes["clear"] & ~set_ | clear}


def read(options: list[str], where: str) -> Options:
    """The options of the mount `where`; raises InvalidConfig for a flag that is given a value."""
    top: Attributes = {"set": 0, "clear": 0}
    whole: Attributes = {"set": 0, "clear": 0}
    propagation: list[tuple[int, bool]] = []
    own: dict[str, str | None] = {}
    bind = recursive = remount = copy_up = False
    idmap = ""
    for option in options:
        name, equals, value = option.partition("=")
        deep = name[1:] if name.startswith("r") else ""
        if equals:
            if name in ATTRIBUTES or name in PROPAGATION or name in SUPERBLOCK or name in ("bind", "rbind"):
                raise InvalidConfig(f"{where}.options: `{name}` takes no value")
            own[name] = value
        elif name in ATTRIBUTES:
            top = _with(top, ATTRIBUTES[name])
        elif deep in ATTRIBUTES:
            whole = _with(whole, ATTRIBUTES[deep])
        elif name in PROPAGATION:
            propagation.append((PROPAGATION[name], False))
        elif deep in PROPAGATION:
            propagation.append((PROPAGATION[deep], True))
        elif name in ("bind", "rbind"):
            bind, recursive = True, recursive or name == "rbind"
        elif name == "remount":
            remount = True
        elif name == "tmpcopyup":
            copy_up = True
        elif name in ("idmap", "ridmap"):
            idmap = "whole" if name == "ridmap" else "top"
        elif name and name not in NOTHING:
            own[name] = None
    return Options(top, whole, propagation, own, bind, recursive, remount, copy_up, idmap)
