"""Binds in which what is mounted later spreads: from the host to the container (slave), or both ways (shared).

The kernel decides by peer groups (mount_namespaces(7)): such a bind must be cloned from the mount that the host itself
sees, and that mount must be shared, which is checked as Docker does (daemon/oci_linux.go, ensureShared).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from stackpy_runtime.container.runtimes import OWN
from stackpy_runtime.container.sources import open_source
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.linux import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy_runtime.container.plan import MountPlan


class Mounted(NamedTuple):
    """The mount that a path is on, and what mounts in it do: `shared:N` and `master:N` of proc_pid_mountinfo(5)."""

    point: str
    shared: bool
    slave: bool


def opened(mount: MountPlan) -> int:
    """The detached mount of a bind that spreads; called in the host's mount namespace."""
    wanted = mount["propagation"]
    deep = mounts.AT_RECURSIVE if mount.get("recursive") != "disabled" else 0
    check(mount["source"], wanted)
    source = open_source(mount)
    try:
        tree = mounts.open_tree(source, "", mounts.OPEN_TREE_CLONE | deep)
    finally:
        os.close(source)
    if wanted not in ("shared", "rshared"):
        # As runc does: what is mounted beneath follows the host, unless the `r` says that it does not.
        mounts.mount_setattr(tree, propagation=mounts.MS_SLAVE, recursive=bool(deep))
    if wanted == "private":
        mounts.mount_setattr(tree, propagation=mounts.MS_PRIVATE)
    return tree


def check_all(config: Mapping[str, Any]) -> None:
    """Raises InvalidConfig for a bind of a configuration that cannot spread as it is to."""
    runtime = config.get("runtime", OWN)
    for mount in config.get("mounts") or ():
        wanted = mount.get("propagation", "rprivate") if mount["type"] == "bind" else "rprivate"
        if wanted == "rprivate":
            continue
        if runtime != OWN:
            raise InvalidConfig(
                f"propagation `{wanted}` and runtime={runtime} exclude each other",
                hint="leave `runtime` out: the engine's own sandbox does it",
            )
        check(mount["source"], wanted)


def check(source: str, wanted: str) -> None:
    """Raises InvalidConfig where the mount that `source` is on does not spread as `wanted` needs it."""
    if wanted in ("private", "rprivate"):
        return
    path = os.path.realpath(source)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        found = mounted(path, file.read())
    if found.shared or (found.slave and wanted in ("slave", "rslave")):
        return
    kinds = "shared" if wanted in ("shared", "rshared") else "shared or slave"
    raise InvalidConfig(
        f"propagation `{wanted}`: {source} is on the mount {found.point}, which is not {kinds}",
        hint=("" if path == found.point else f"mount --bind {path} {path} && ") + f"mount --make-shared {path}",
    )


def mounted(path: str, table: str) -> Mounted:
    """The mount that `path` is on; table: a mountinfo. Pure."""
    best = Mounted("/", False, False)
    for line in table.splitlines():
        words = line.split(" ")
        point = _plain(words[4])
        # Of several on one point the last covers the others.
        if (path == point or path.startswith(f"{point.rstrip('/')}/")) and len(point) >= len(best.point):
            tags = words[6 : words.index("-")]
            best = Mounted(point, _any(tags, "shared:"), _any(tags, "master:"))
    return best


def _any(tags: list[str], start: str) -> bool:
    return any(tag.startswith(start) for tag in tags)


def _plain(text: str) -> str:
    """A path of mountinfo, in which blanks, tabs, line ends and backslashes are octal numbers."""
    for code, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, letter)
    return text
