"""What COPY leaves out: the context's .dockerignore and the step's own excludes.

.dockerignore patterns stand at the context's root, as Docker reads them; a step's excludes are gitignore patterns seen
from each source, so that `*.pyc` and `__pycache__/` mean what people expect at any depth.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable

from stackpy_runtime.build.digests import named_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.build.stat_cache import StatCache

Excluded = Callable[[str, bool], bool]
"""Takes a path (without a leading or trailing slash) and whether it is a folder."""


def docker_patterns(text: str) -> list[str]:
    """The lines of a .dockerignore as gitignore patterns: rooted, cleaned, without comments."""
    patterns: list[str] = []
    for raw in text.removeprefix("\ufeff").splitlines():
        line = raw.strip()
        if not line or raw.startswith("#"):
            continue
        negated = line.startswith("!")
        line = line[1:].strip() if negated else line
        path = posixpath.normpath(f"/{line}").lstrip("/")
        if not path:
            # `.` and `/` name the whole context, which Docker takes as nothing.
            continue
        mark = "!" if negated else ""
        patterns.append(f"{mark}/{path}")
        if any(letter in path for letter in "*?["):
            # What matches takes along all that is below it; gitignore leaves that to whoever walks.
            patterns.append(f"{mark}/{path}/**")
    return patterns


class Rules:
    """One list of gitignore patterns; asks pathspec only for paths that it was never asked before.

    prunes: nothing below an excluded folder can be taken back, so it need not be walked: always so with gitignore, and
        with Docker where no pattern takes anything back
    """

    def __init__(self, patterns: list[str], cache: StatCache, *, docker: bool = False) -> None:
        self._patterns = patterns
        self._cache = cache
        self._verdicts = cache.verdicts(named_hash("ignore", [("pattern", pattern) for pattern in patterns]))
        self._match: Excluded | None = None
        self.prunes = not docker or not any(pattern.startswith("!") for pattern in patterns)

    def excluded(self, path: str, folder: bool) -> bool:
        """Whether `path` is left out."""
        key = f"{path}/" if folder else path
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self._ask(key)
            self._cache.learnt()
        return verdict

    def _ask(self, key: str) -> bool:
        if self._match is None:
            # pathspec costs 25 ms to import and compile.
            from pathspec import PathSpec

            spec = PathSpec.from_lines("gitignore", self._patterns)
            self._match = lambda path, _: spec.match_file(path)
        return self._match(key, key.endswith("/"))


def read_ignore_file(context: int) -> list[str]:
    """The patterns of the .dockerignore in the folder `context` (a descriptor); none when there is no such file."""
    try:
        descriptor = os.open(".dockerignore", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=context)
    except OSError:
        return []
    try:
        text = os.read(descriptor, 1 << 20) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    return docker_patterns(text.decode("utf-8", "surrogateescape"))
