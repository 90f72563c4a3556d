"""The file of --cidfile: a container's ID, for scripts."""

from __future__ import annotations

import os

from stackpy.errors import StackpyError


class IdentityFile:
    """A file that must not be there yet; without a path none is written.

    Raises StackpyError before anything is made where it is there, or cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._path, self._descriptor = path, -1
        if path is None:
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise StackpyError(
                f"`{path}` is there already", hint="another container may run by it; remove the file if none does"
            ) from None
        except OSError as error:
            raise StackpyError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}") from None

    def __enter__(self) -> IdentityFile:
        return self

    def write(self, identifier: str) -> None:
        """Writes the container's ID down."""
        if self._descriptor >= 0:
            os.write(self._descriptor, identifier.encode())

    def __exit__(self, *_: object) -> None:
        """An empty one goes: there is no container."""
        if self._descriptor >= 0 and self._path is not None:
            if not os.fstat(self._descriptor).st_size:
                os.unlink(self._path)
            os.close(self._descriptor)
