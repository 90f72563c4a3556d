"""Where a copy goes, by `docker cp`'s rules (docs.docker.com, `docker container cp`; archive/copy.go of moby). Pure.

A path that ends in `/.` means what is in a folder, one that ends in `/` means a folder. What is copied takes the name
of a destination that does not exist yet, and keeps its own in one that is a folder.
"""

from __future__ import annotations

from typing import NamedTuple

from stackpy_runtime.errors import Conflict, InvalidConfig, NotFound

CONTENT = "."  # the name in an archive of what is in a folder


class Path(NamedTuple):
    """A path as it was written, taken apart.

    core: without what stands for `folder` and `content` at its end
    folder: it ends in `/` or `/.`: nothing but a folder is meant
    content: it ends in `/.`, or names no entry of a folder: what is in it is meant
    """

    core: str
    folder: bool
    content: bool


class End(NamedTuple):
    """One end of a copy, as it was found.

    shown: the path for messages
    name: of the entry in its folder, once links are resolved; "." where it is a root
    kind: "" for nothing, "folder", "file" or "link"
    parent: whether there is a folder that it is, or could be, in
    """

    shown: str
    name: str
    kind: str
    parent: bool = True


class Target(NamedTuple):
    """Where an archive is extracted.

    into: "itself", the destination's own folder, or "parent", the one that it is in
    old, new: what the first name of each entry becomes; both "" where it stays
    """

    into: str
    old: str
    new: str


def split(text: str) -> Path:
    """Takes a path apart; "" is the root of what it is a path of."""
    core, folder, content = text, False, False
    while True:
        if core.endswith("/.") or core == ".":
            core, folder, content = core[:-1], True, True
        elif core.endswith("/") and core.strip("/"):
            core, folder = core[:-1], True
        else:
            break
    last = core.rpartition("/")[2]
    if last in ("", "..") and core not in ("",):
        folder = content = True
    return Path(core, folder, content or not core)


def target(source: End, called: str, wanted: Path, found: End) -> Target:
    """Where a source goes whose entries begin with the name `called` in its archive.

    wanted, found: the destination as written, and what is there
    """
    if found.kind == "folder":
        return Target("itself", "", "")
    if found.kind and source.kind == "folder":
        raise Conflict(f"a folder cannot be copied onto `{found.shown}`, which is none")
    if found.kind and wanted.folder:
        raise Conflict(f"`{found.shown}` is not a folder")
    if not found.parent:
        raise NotFound(f"there is no folder for `{found.shown}` to be in", hint="make it first")
    if not found.kind and wanted.folder and source.kind != "folder":
        raise NotFound(f"there is no folder `{found.shown}`", hint="without the slash the file gets that name")
    return Target("parent", called, found.name)


def check_archive(found: End) -> Target:
    """Where an archive of the user's own goes: into a folder that is there."""
    if found.kind != "folder":
        raise InvalidConfig(f"an archive is extracted into a folder, and `{found.shown}` is none")
    return Target("itself", "", "")
