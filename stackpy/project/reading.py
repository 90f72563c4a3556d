"""The outside world of a load: files and environment variables, each recorded as an input."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.session import Session
    from stackpy.project.inputs import Recorder
    from stackpy.project.rendering import Renderer

_GLOB = frozenset("*?[")
LIMIT = 4 * 2**20  # bytes of one file that is placed into containers


def read_regular(path: str) -> tuple[bytes, int]:
    """A regular file's content and permission bits; raises OSError.

    What it holds becomes a part of the stack's description, which is kept and compared: hence the limit.
    """
    # O_NONBLOCK: opening a FIFO would wait for somebody to write into it
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {LIMIT // 2**20} MiB; copy it into the image", path)
    return content, stat.S_IMODE(status.st_mode)


class FileReader:
    """stackpy.dsl.contents.Reader on the real file system."""

    def __init__(self, session: Session, recorder: Recorder) -> None:
        self._session, self._recorder = session, recorder
        self._renderer: Renderer | None = None

    def absolute(self, folder: str, path: str) -> str:
        """`path` relative to `folder`, with ~ expanded and `..` resolved."""
        return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))

    def read(self, path: str) -> tuple[bytes, int]:
        """A file's content and permission bits; raises OSError."""
        self._recorder.files.setdefault(path)
        return read_regular(path)

    def exists(self, path: str) -> bool:
        """Whether there is a file, folder or anything else; what is missing is watched, since it may come."""
        found = os.path.lexists(path)
        if not found:
            self._recorder.files.setdefault(path)
        return found

    def watch(self, path: str) -> None:
        """Takes a file as an input that is not read now."""
        self._recorder.files.setdefault(path)

    def matches(self, folder: str, pattern: str) -> bool:
        """Whether a COPY source names anything; what it names is watched, a glob by its fixed part."""
        pattern = pattern.lstrip("/") or "."  # the folder is the root, as in a Dockerfile
        path = os.path.normpath(os.path.join(folder, pattern))
        self._recorder.files.setdefault(os.path.join(folder, ".dockerignore"))
        if not _GLOB & set(pattern):
            if os.path.isdir(path):
                self._recorder.folders.add(path)
            else:
                self._recorder.files.setdefault(path)
            return os.path.lexists(path)
        fixed = folder
        for part in pattern.split("/"):
            if _GLOB & set(part):
                break
            fixed = os.path.join(fixed, part)
        self._recorder.folders.add(os.path.normpath(fixed))
        # glob costs 3 ms to import, and few sources are globs
        from glob import iglob

        return next(iglob(pattern, root_dir=folder, include_hidden=True), None) is not None

    def neighbours(self, path: str) -> list[str]:
        """Names beside `path`."""
        try:
            return os.listdir(os.path.dirname(path) or ".")
        except OSError:
            return []

    def render(self, folder: str, path: str, variables: dict[str, Any]) -> str | None:
        """A template's text; None after reporting what is wrong inside it; raises OSError when there is none."""
        if self._renderer is None:
            from stackpy.project.rendering import Renderer  # jinja2 costs 50 ms to import

            self._renderer = Renderer(self._session, self._recorder)
        return self._renderer.render(folder, path, variables)

    def variable(self, name: str) -> str | None:
        """A variable of the environment."""
        self._recorder.variables.add(name)
        return os.environ.get(name)
