"""What a layer's tar may hold, and what its names mean (OCI image-spec, layer.md): the same for a layer that is
unpacked and for one that is indexed. Pure.
"""

from __future__ import annotations

import struct

from stackpy_runtime.image.entries import Entry
from stackpy_runtime.image.limits import DEFAULT, Limits, bad

WHITEOUT, _META, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"

CAPABILITY, ACL_ACCESS, ACL_DEFAULT = b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"

_NO_ID = 0xFFFFFFFF  # "leave it" to chown(2)
_MOST_MAJOR, _MOST_MINOR = 0xFFF, 0xFFFFF  # include/linux/kdev_t.h
_LONGEST_ATTRIBUTE, _LARGEST_VALUE = 255, 65535  # XATTR_NAME_MAX; XATTR_SIZE_MAX less one
# include/uapi/linux/posix_acl_xattr.h and posix_acl.h
_ACL_VERSION, _ACL_ENTRY = 2, struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32

Path = tuple[bytes, ...]


def show(path: Path) -> str:
    """A path for messages: without control characters, and not longer than a line."""
    text = b"/".join(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-55:]}"


def layer_path(name: bytes, limits: Limits = DEFAULT) -> Path:
    """The parts of an entry's name; raises InvalidConfig for `..` and for what is too long."""
    if len(name) > limits.path:
        bad(f"it has a path of {len(name)} bytes, and {limits.path} are allowed: `{show((name,))}`")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if len(parts) > limits.depth:
        bad(f"it has folders {len(parts)} deep, and {limits.depth} are allowed: `{show(parts)}`")
    for part in parts:
        if part == b"..":
            bad(f"it has a path with `..`: `{show((name,))}`")
        if len(part) > limits.name:
            bad(f"it has a name of {len(part)} bytes, and {limits.name} are allowed: `{show((part,))}`")
    return parts


def link_target(entry: Entry, path: Path, limits: Limits = DEFAULT) -> Path:
    """What a hard link leads to."""
    target = layer_path(entry.linkname, limits)
    if not target:
        bad(f"the hard link `{show(path)}` leads nowhere")
    if any(part.startswith(WHITEOUT) for part in target):
        bad(f"the hard link `{show(path)}` leads to a whiteout")
    return target


def symlink_target(entry: Entry, path: Path, limits: Limits = DEFAULT) -> bytes:
    """What a symbolic link says."""
    if not entry.linkname or len(entry.linkname) > limits.path:
        bad(f"the link `{show(path)}` has a target of {len(entry.linkname)} bytes")
    return entry.linkname


def check_owner(entry: Entry, path: Path) -> None:
    """Raises InvalidConfig for IDs that no file can have."""
    if entry.uid >= _NO_ID or entry.gid >= _NO_ID:
        bad(f"`{show(path)}` belongs to {entry.uid}:{entry.gid}, which is no user and group")


def check_device(entry: Entry, path: Path) -> None:
    """Raises InvalidConfig for a device number that Linux has not."""
    if entry.major > _MOST_MAJOR or entry.minor > _MOST_MINOR:
        bad(f"the device `{show(path)}` has the number {entry.major}:{entry.minor}, which is none")


def is_whiteout(path: Path) -> bool:
    """Whether a path is a mark for what is removed, or lies in one."""
    return any(part.startswith(WHITEOUT) for part in path)


def hidden(path: Path) -> bytes | None:
    """What a whiteout hides in its folder: a name, b"" for all that lower layers have there, None for nothing."""
    name = path[-1]
    if name == _OPAQUE:
        return b""
    if any(part.startswith(_META) for part in path):
        return None  # aufs's own bookkeeping (.wh..wh.plnk and others); it names nothing of the image
    if is_whiteout(path[:-1]):
        bad(f"it has an entry within a whiteout: `{show(path)}`")
    name = name[len(WHITEOUT) :]
    if name in (b"", b".", b".."):
        bad(f"it has a whiteout of nothing: `{show(path)}`")
    return name


def attributes(entry: Entry, path: Path) -> dict[bytes, bytes]:
    """The extended attributes of a file or folder that enter the layer.

    Labels of another host's security modules and attributes of other systems are left out, as other engines do. Raises
    InvalidConfig for one that would deceive overlayfs, or that no file could have.
    """
    found = {}
    for name, value in (entry.xattrs or {}).items():
        if name.startswith((b"trusted.", b"user.overlay.")):
            bad(f"`{show(path)}` has the attribute `{show((name,))}`, by which overlayfs is steered")
        if name in (ACL_ACCESS, ACL_DEFAULT):
            if name == ACL_DEFAULT and entry.kind != "folder":
                bad(f"`{show(path)}` has default access rules, and is no folder")
            found[name] = access(value, entry.mode if name == ACL_ACCESS else None, path)
        elif name == CAPABILITY:
            if len(value) not in (20, 24) or value[3] != len(value) // 4 - 3:
                bad(f"`{show(path)}` has capabilities that cannot be read")
            found[name] = value
        elif name.startswith(b"user."):
            if name == b"user." or b"\0" in name or len(name) > _LONGEST_ATTRIBUTE or len(value) > _LARGEST_VALUE:
                bad(f"`{show(path)}` has an attribute that no file can have: `{show((name,))}`")
            found[name] = value
    return found


def access(value: bytes, mode: int | None, path: Path) -> bytes:
    """Access rules as the kernel keeps them: in order, with the rights that the mode says (posix_acl_chmod)."""
    entries = list(_ACL_ENTRY.iter_unpack(value[4:])) if len(value) % 8 == 4 else []
    tags = [tag for tag, _, _ in entries]
    named = [tag for tag in tags if tag in (_USER, _GROUP)]
    if (
        value[:4] != _ACL_VERSION.to_bytes(4, "little")
        or tags != sorted([*set(tags).difference(named), *named])
        or not {_USER_OBJ, _GROUP_OBJ, _OTHER} <= set(tags) <= {_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER}
        or (named and _MASK not in tags)
        or any(rights > 7 or (tag in named and number == _NO_ID) for tag, rights, number in entries)
    ):
        bad(f"`{show(path)}` has access rules that cannot be read")
    if mode is not None:
        group = _MASK if _MASK in tags else _GROUP_OBJ
        shifts = {_USER_OBJ: 6, group: 3, _OTHER: 0}
        entries = [(tag, mode >> shifts[tag] & 7 if tag in shifts else rights, who) for tag, rights, who in entries]
    return value[:4] + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries)
