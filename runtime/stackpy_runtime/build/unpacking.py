"""ADD of an archive: a tar, plain or compressed, into an image's tree.

The archive is read by our own reader, within the limits of a layer. Every place is looked up in the image with the
image as the root, so that no name and no link of the archive, or of the image, leads to the host; nothing of either is
run.
"""

from __future__ import annotations

import os
import posixpath
import stat

from stackpy_runtime.build import copying, tree
from stackpy_runtime.build.tree import Owner
from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image import rules
from stackpy_runtime.image.blobs import Blob, Content, Raw
from stackpy_runtime.image.entries import CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK, Entry
from stackpy_runtime.image.limits import DEFAULT, bad
from stackpy_runtime.image.tar import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.image.blobs import Stream

_LIMITS = DEFAULT
_CHUNK = 4 << 20
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ"
_XZ_MEMORY = 256 << 20  # bytes that a stream may want for its dictionary


def is_archive(descriptor: int) -> bool:
    """Whether a file is a tar, plain or compressed, as far as its first entry says: what ADD unpacks."""
    try:
        content = Content(stored(descriptor), _LIMITS)
        return next(iter(Reader(content, _LIMITS)), None) is not None
    except InvalidConfig:
        return False


def unpack(descriptor: int, root: int, target: str, who: Owner | None) -> str:
    """Unpacks the archive of a descriptor into the folder `target` of an image; returns the SHA-256 of the archive.

    root: descriptor of the image's merged tree
    who: whose the files become; None: whose the archive says

    Raises InvalidConfig for an archive that is damaged, passes a limit, or names places outside.
    """
    source = stored(descriptor)
    content = Content(source, _LIMITS, hashed=isinstance(source, Blob))
    reader = Reader(content, _LIMITS)
    folder, _ = tree.make_folders(root, target, who or tree.ROOT_OWNER)
    os.close(folder)
    unpacker = _Unpacker(reader, root, target, who)
    for entry in reader:
        try:
            unpacker.add(entry)
        except OSError as error:
            if isinstance(error, EngineError):
                raise
            reason = (error.strerror or str(error)).lower()
            raise EngineError(f"cannot write `{rules.show((entry.name,))}`: {reason}") from None
    unpacker.finish()
    content.finish()
    return (content.digest if isinstance(source, Blob) else source.digest).removeprefix("sha256:")


def stored(descriptor: int) -> Blob | Stream:
    """The bytes of an archive that may be compressed; of bzip2 and xz, in which no layer comes, those inside."""
    blob = Blob(descriptor, 0, os.fstat(descriptor).st_size)
    start = os.pread(descriptor, 6, 0)
    if start.startswith(_BZIP2):
        import bz2

        return _Other(Raw(blob, hashed=True), bz2.BZ2Decompressor)
    if start.startswith(_XZ):
        import lzma

        return _Other(Raw(blob, hashed=True), lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))
    return blob


class _Other:
    """The uncompressed bytes of a bzip2 or xz file of one stream or several; counts and hashes the stored ones."""

    def __init__(self, raw: Raw, new: Callable[[], object]) -> None:
        self._raw, self._new = raw, new
        self._member: object = new()
        self._input = b""
        self._first: bytes | None = None
        self.position = 0  # of the stored bytes

    @property
    def digest(self) -> str:
        """sha256 of the stored bytes read."""
        return self._raw.digest

    def start(self) -> bytes:
        """The first six bytes, which `read` gives too."""
        if self._first is None:
            self._first = self._next()
        return self._first[:6]

    def read(self) -> bytes:
        """The next piece; b"" at the end."""
        if self._first is not None:
            piece, self._first = self._first, None
            if piece:
                return piece
        return self._next()

    def _next(self) -> bytes:
        import lzma

        member: object = self._member
        while True:
            ended = False
            if not self._input and getattr(member, "needs_input", False):
                self._input = self._raw.read()
                ended = not self._input
            try:
                # Bounded, so that a bomb is seen before it has filled the memory.
                output: bytes = member.decompress(self._input, _CHUNK)  # type: ignore[attr-defined]
            except (OSError, EOFError, lzma.LZMAError) as error:
                bad(f"its compressed stream is damaged: {error}")
            self._input = b""
            if member.eof:  # type: ignore[attr-defined]
                self._input = member.unused_data.lstrip(b"\0") or self._raw.read()  # type: ignore[attr-defined]
                if self._input:
                    member = self._member = self._new()
                elif not output:
                    return b""
                else:
                    self._member = _End()
            elif ended and not output:
                bad("its compressed stream ends early")
            if output:
                self.position = self._raw.position
                return output


class _End:
    """A decompressor at the end of everything."""

    needs_input, eof, unused_data = False, True, b""

    def decompress(self, data: bytes, length: int) -> bytes:
        """Nothing."""
        return b""


class _Unpacker:
    def __init__(self, reader: Reader, root: int, target: str, who: Owner | None) -> None:
        self._reader, self._root, self._target, self._who = reader, root, target, who
        self._times: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """One entry."""
        path = rules.layer_path(entry.name)
        rules.check_owner(entry, path)
        if rules.is_whiteout(path):
            bad(f"`{rules.show(path)}` is the mark of a layer for what is removed")
        place = posixpath.join(self._target, *(os.fsdecode(part) for part in path))
        if entry.kind == FOLDER:
            self._folder(entry, place, path)
            return
        if not path:
            bad("it has an entry without a name")
        parent, name = posixpath.split(place)
        folder, _ = tree.make_folders(self._root, parent, self._who or tree.ROOT_OWNER)
        try:
            self._leaf(entry, folder, name, path)
        finally:
            os.close(folder)

    def _leaf(self, entry: Entry, folder: int, name: str, path: rules.Path) -> None:
        owner = self._owner(entry)
        if entry.kind == FILE:
            self._file(entry, folder, name, path)
        elif entry.kind == SYMLINK:
            tree.link(folder, name, os.fsdecode(rules.symlink_target(entry, path)), owner)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)
        elif entry.kind == LINK:
            self._link(rules.link_target(entry, path), folder, name, path)
        else:
            rules.check_device(entry, path)
            kind = stat.S_IFIFO if entry.kind == FIFO else stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
            like = _Like(kind, os.makedev(entry.major, entry.minor), entry.mtime_ns)
            tree.node(folder, name, like, owner, entry.mode)

    def _owner(self, entry: Entry) -> Owner:
        return self._who or Owner(entry.uid, entry.gid)

    def _folder(self, entry: Entry, place: str, path: rules.Path) -> None:
        made, _ = tree.make_folders(self._root, place, self._who or tree.ROOT_OWNER)
        try:
            if not path:
                return  # the folder that everything goes to stays as it is
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=made)
            try:
                self._dress(opened, entry, path)
            finally:
                os.close(opened)
            self._times[place] = entry.mtime_ns
        finally:
            os.close(made)

    def _dress(self, descriptor: int, entry: Entry, path: rules.Path) -> None:
        os.fchown(descriptor, *self._owner(entry))
        for name, value in rules.attributes(entry, path).items():
            os.setxattr(descriptor, name, value)
        os.fchmod(descriptor, entry.mode)

    def _file(self, entry: Entry, folder: int, name: str, path: rules.Path) -> None:
        descriptor = tree.create(folder, name)
        try:
            self._reader.write(entry, descriptor)
            self._dress(descriptor, entry, path)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)

    def _link(self, target: rules.Path, folder: int, name: str, path: rules.Path) -> None:
        """Another name of a file that the archive has put there; never of one that a link leads to."""
        *parents, last = (os.fsdecode(part) for part in target)
        place = posixpath.join(self._target, *parents)
        opened = tree.open_folder(self._root, place)
        try:
            if opened is None:
                raise FileNotFoundError
            status = os.stat(last, dir_fd=opened, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                bad(f"the hard link `{rules.show(path)}` leads to a folder")
            tree.hard_link(opened, last, folder, name)
        except FileNotFoundError:
            bad(f"the hard link `{rules.show(path)}` leads to `{rules.show(target)}`, which is not there")
        finally:
            if opened is not None:
                os.close(opened)

    def finish(self) -> None:
        """Gives folders their times, which every entry in them has changed."""
        for place, mtime_ns in reversed(self._times.items()):
            copying.stamp(self._root, place, mtime_ns)


class _Like:
    """What tree.node asks of a stat result."""

    def __init__(self, kind: int, number: int, mtime_ns: int) -> None:
        self.st_mode, self.st_rdev, self.st_mtime_ns = kind, number, mtime_ns
