"""Who applies, and from which revision of the stack's files: for history."""

from __future__ import annotations

import os

_SHORTEST = 7  # characters of a digest


def user() -> str:
    """The person: who called sudo, where it was called, else whom this process belongs to."""
    given = os.environ.get("SUDO_USER", "")
    if given and os.geteuid() == 0:
        return given
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def revision(folder: str) -> str:
    """The commit that the git checkout around a folder is at, "" where there is none; no process is started for it."""
    where = os.path.abspath(folder)
    while not os.path.lexists(os.path.join(where, ".git")):
        above = os.path.dirname(where)
        if above == where:
            return ""
        where = above
    try:
        return _head(os.path.join(where, ".git"))
    except (OSError, ValueError):
        return ""


def _head(path: str) -> str:
    if os.path.isfile(path):
        # a worktree or a submodule: `gitdir: PATH`
        path = os.path.join(os.path.dirname(path), _read(path).removeprefix("gitdir:").strip())
    head = _read(os.path.join(path, "HEAD"))
    if not head.startswith("ref:"):
        return _digest(head)
    name, common = head.removeprefix("ref:").strip(), path
    if os.path.exists(os.path.join(path, "commondir")):
        common = os.path.join(path, _read(os.path.join(path, "commondir")))
    for folder in (path, common):
        if os.path.isfile(os.path.join(folder, name)):
            return _digest(_read(os.path.join(folder, name)))
    for line in _read(os.path.join(common, "packed-refs")).splitlines():
        digest, _, other = line.partition(" ")
        if other == name:
            return _digest(digest)
    return ""


def _digest(text: str) -> str:
    return text if len(text) > _SHORTEST and set(text) <= set("0123456789abcdef") else ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read(1 << 20).strip()
