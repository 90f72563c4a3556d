"""Which folders must be looked at so that no change of an input is missed. Reads what exists; watches nothing.

An editor writes a new file and renames it over the old one, or moves the old one away first; so a file is watched
through its folder, and what does not exist yet through the nearest folder above it that does.
"""

from __future__ import annotations

import os
import re

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What version control, caches and editors write without anyone having saved anything.
_NOISY_FOLDERS = frozenset(
    "__pycache__ .git .hg .svn .tox .venv .idea node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis".split()
)
_NOISY_NAME = re.compile(r"\.py[co]$|\.sw.$|~$|^\.#|^4913$|___jb_(tmp|old)___$|^\.DS_Store$")


class Places(NamedTuple):
    """What is watched.

    flat: folders of which direct children count; deep: folders of which everything below counts
    names: paths that matter; anything below one of `deep` does too
    """

    flat: frozenset[str]
    deep: frozenset[str]
    names: frozenset[str]

    def concern(self, path: str) -> bool:
        """Whether a change at `path` may change the stack."""
        if path in self.names or path in self.deep:
            return True
        return any(path.startswith(f"{folder}/") and not _noise(path[len(folder) + 1 :]) for folder in self.deep)


def _noise(relative: str) -> bool:
    *folders, name = relative.split("/")
    return name in _NOISY_FOLDERS or not _NOISY_FOLDERS.isdisjoint(folders) or bool(_NOISY_NAME.search(name))


def places(files: Iterable[str], folders: Iterable[str]) -> Places:
    """Where to look for changes of files and of whole folders (absolute paths)."""
    flat: set[str] = set()
    deep: set[str] = set()
    names: set[str] = set()
    for path in files:
        _above(path, flat, names)
        target = os.path.realpath(path)
        if target != path:
            _above(target, flat, names)  # behind a symbolic link, both ends can change
    for path in folders:
        _above(path, flat, names)
        if os.path.isdir(path):
            deep.add(path)
    # what lies below another one is seen there
    deep = {folder for folder in deep if not any(folder.startswith(f"{other}/") for other in deep)}
    return Places(frozenset(flat), frozenset(deep), frozenset(names))


def _above(path: str, flat: set[str], names: set[str]) -> None:
    """Adds the folder that shows a change of `path`; where it is missing, every level that has to appear first."""
    while True:
        names.add(path)
        parent = os.path.dirname(path)
        if os.path.isdir(parent) or parent == path:
            flat.add(parent)
            return
        path = parent


def newest(names: Iterable[str]) -> float:
    """When the youngest of the paths changed, in seconds since the epoch; 0 where none exists."""
    latest = 0.0
    for path in names:
        try:
            found = os.stat(path)
        except OSError:
            continue  # missing, or behind a folder that cannot be read: an error of the load, not ours
        latest = max(latest, found.st_mtime, found.st_ctime)
    return latest
