"""Where an archive goes to: a file that is there whole or not at all, or standard output."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager

from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from stackpy.engines.base_containers import Sink


@contextmanager
def output(path: str | None) -> Iterator[Sink]:
    """A binary stream to the file `path`, renamed into place at the end; standard output without a path or for "-".

    Raises UsageError where standard output is a terminal, StackpyError where the file cannot be written.
    """
    if path is None or path == "-":
        if sys.stdout.isatty():
            raise UsageError("an archive is not written to a terminal", hint="use -o FILE, or redirect the output")
        # Unbuffered: what could not be written must not be tried again when the program ends.
        with open(os.dup(sys.stdout.fileno()), "wb", buffering=0) as raw:
            try:
                yield _Whole(raw)
            except BrokenPipeError:
                raise
            except OSError as error:
                if not _of_writing(error):
                    raise
                reason = (error.strerror or str(error)).lower()
                raise StackpyError(f"cannot write standard output: {reason}") from None
        return
    if os.path.isdir(path):
        raise UsageError(
            f"`-o {path}`: is a folder", hint=f"name the file, as in `-o {os.path.join(path, 'image.tar')}`"
        )
    # What is no regular file (a pipe, /dev/null) is written to, and not replaced.
    aside = path if os.path.exists(path) and not os.path.isfile(path) else f"{path}.{os.getpid()}.part"
    try:
        with open(aside, "wb", buffering=1 << 20) as file:
            yield file
        if aside != path:
            os.replace(aside, path)
    except OSError as error:
        _discard(aside, path)
        if error.filename is None and error.errno not in (
            28,
            122,
            5,
        ):  # ENOSPC, EDQUOT, EIO: of writing, without a name
            raise
        raise StackpyError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}") from None
    except BaseException:
        _discard(aside, path)
        raise


def _of_writing(error: OSError) -> bool:
    """Whether an error without a file's name is one that write(2) gives."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


class _Whole:
    """A raw stream that takes all of what it is given."""

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._raw.write(view) or 0 :]
        return len(data)


def _discard(aside: str, path: str) -> None:
    if aside != path:
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass  # never opened
