"""What is in an image archive, by name: a tar read in place, or a folder."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod

from stackpy_runtime.errors import EngineError, NotFound
from stackpy_runtime.image.blobs import Blob, copy_decompressed, is_compressed
from stackpy_runtime.image.entries import FILE, FOLDER, LINK, SYMLINK
from stackpy_runtime.image.limits import DEFAULT, Limits, bad
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.linux.files import open_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_MAXIMUM_LINKS = 8


class Members(ABC):
    """The members of an archive; a context manager that closes what it has opened."""

    @abstractmethod
    def find(self, name: str) -> Blob | None:
        """The content of a file of the archive; its descriptor is good until the next call. None: no such file."""

    @abstractmethod
    def close(self) -> None:
        """Closes all descriptors."""

    def get(self, name: str) -> Blob:
        """As `find`; raises InvalidConfig where there is no such file."""
        blob = self.find(name)
        if blob is None:
            bad(f"`{name[:200]}` is missing from it")
        return blob

    def __enter__(self) -> Members:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TarFile(Members):
    """A tar; only its headers are read, and the offsets of its files kept. Takes over the descriptor."""

    def __init__(self, descriptor: int, limits: Limits = DEFAULT) -> None:
        self._descriptor = descriptor
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        size = os.fstat(descriptor).st_size
        source = _Forward(descriptor, size)
        reader = Reader(source, limits._replace(entries=limits.members), seek=source.seek)
        for entry in reader:
            if len(entry.name) > limits.member_name or len(entry.linkname) > limits.member_name:
                bad(f"it has a member whose name is longer than {limits.member_name} bytes")
            name = _normal(os.fsdecode(entry.name))
            self._files.pop(name, None)
            self._links.pop(name, None)
            if entry.kind == FILE and entry.regions is None:
                if reader.offset + entry.size > size:
                    bad("it ends within a file")
                self._files[name] = (reader.offset, entry.size)
            elif entry.kind == SYMLINK:
                # Old versions of docker wrote a layer once and linked to it.
                self._links[name] = _normal(os.path.join(os.path.dirname(name), os.fsdecode(entry.linkname)))
            elif entry.kind == LINK:
                self._links[name] = _normal(os.fsdecode(entry.linkname))
            elif entry.kind != FOLDER:
                bad(f"it has a member that is neither file nor folder: `{name[:200]}`")

    def find(self, name: str) -> Blob | None:
        """The content of a file of the archive."""
        name = _normal(name)
        for _ in range(_MAXIMUM_LINKS):
            if name not in self._links:
                break
            name = self._links[name]
        return Blob(self._descriptor, *self._files[name]) if name in self._files else None

    def close(self) -> None:
        """Closes the tar."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Folder(Members):
    """An OCI layout as a folder; a link in it may not lead outside. Takes over the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = -1

    def find(self, name: str) -> Blob | None:
        """The content of a file; the descriptor is good until the next call."""
        self._close_file()
        try:
            # Without O_NONBLOCK a pipe would keep us waiting.
            self._open = open_beneath(self._descriptor, name, os.O_RDONLY | os.O_NONBLOCK, follow=True)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            bad(f"`{name[:200]}` cannot be opened: {os.strerror(error.errno or 0).lower()}")
        status = os.fstat(self._open)
        if not stat.S_ISREG(status.st_mode):
            bad(f"`{name[:200]}` is not a file")
        return Blob(self._open, 0, status.st_size)

    def _close_file(self) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    def close(self) -> None:
        """Closes the folder and what was opened in it."""
        self._close_file()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def opened(path: str, scratch: str | None = None, limits: Limits = DEFAULT) -> Members:
    """The members of the archive at `path`: a folder, a tar, or a compressed tar.

    scratch: folder for the decompressed tar, as an unnamed file; the system's folder for such files without it

    Raises NotFound where there is nothing, InvalidConfig for what is no archive.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"no such archive: `{path}`", hint="give the path of a tar or of an OCI layout") from None
    except OSError as error:
        raise EngineError(f"cannot open `{path}`: {(error.strerror or str(error)).lower()}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            return Folder(descriptor)
        if not stat.S_ISREG(status.st_mode):
            bad("it is neither a file nor a folder")
        whole = Blob(descriptor, 0, status.st_size)
        if is_compressed(whole):
            plain = _temporary(scratch)
            try:
                copy_decompressed(whole, plain, limits)
            except BaseException:
                os.close(plain)
                raise
            os.close(descriptor)
            descriptor = plain
        return TarFile(descriptor, limits)
    except BaseException:
        os.close(descriptor)
        raise


class _Forward:
    """Pieces of a file from an offset on."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size, self._offset = descriptor, size, 0

    def read(self) -> bytes:
        piece = os.pread(self._descriptor, 16 << 10, self._offset)
        self._offset += len(piece)
        return piece

    def seek(self, offset: int) -> None:
        if offset > self._size:
            bad("it ends within a file")
        self._offset = offset


def _temporary(folder: str | None) -> int:
    import tempfile  # 10 ms, and only compressed archives need it

    with tempfile.TemporaryFile(dir=folder if folder and os.path.isdir(folder) else None) as file:
        return os.dup(file.fileno())


def _normal(name: str) -> str:
    """A member's name without `.` and `..`, which stay inside the archive."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
