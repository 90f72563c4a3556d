"""What comes through a pipe, as a file that can be read from anywhere in it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy_runtime.store.root import Root

_CHUNK = 1 << 20


@contextlib.contextmanager
def spooled(root: Root, descriptor: int) -> Iterator[str]:
    """A path under which the content of a descriptor can be opened; a regular file is not copied.

    Raises EngineError where the disk is full. The copy has no name, so no death of ours leaves it behind.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield f"/proc/self/fd/{descriptor}"
        return
    with temporary(root) as copy:
        try:
            while data := os.read(descriptor, _CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(copy, view) :]
        except OSError as error:
            hint = "free some space and try again" if error.errno in (28, 122) else ""  # ENOSPC, EDQUOT
            raise EngineError(f"cannot keep the input: {(error.strerror or str(error)).lower()}", hint=hint) from None
        yield f"/proc/self/fd/{copy}"


@contextlib.contextmanager
def temporary(root: Root) -> Iterator[int]:
    """A descriptor of an empty file without a name on the engine root's file system."""
    import tempfile

    # Its own fall-back where O_TMPFILE is missing unlinks the file at once.
    with tempfile.TemporaryFile(dir=root.staging) as file:
        yield file.fileno()
