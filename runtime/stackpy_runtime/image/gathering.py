"""A part of the host's file tree as data: which folders, links and files, each under its own path.

Paths are canonical: every link on the way to a file is an entry of its own (`/bin`, /etc/alternatives), and what is
below it stands where it really is. So the tree can be written anywhere without following anything.
"""

from __future__ import annotations

import os
import stat
from typing import Literal, NamedTuple

from stackpy_runtime.errors import InvalidConfig

_MOST_LINKS = 40

# What must never be in an image, whoever asks for it.
_SECRET = ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssl/private", "/etc/ssh/ssh_host_", "/proc/", "/sys/")


class Entry(NamedTuple):
    """One thing of the tree.

    content: a link's target; of a file that is written rather than copied, its bytes as text in latin-1
    size, mtime_ns: of a copied file
    owner: the program that brought it
    """

    path: str
    kind: Literal["folder", "link", "file", "text"]
    mode: int
    content: str
    size: int
    mtime_ns: int
    owner: str


class Tree:
    """Entries by path, while they are gathered.

    watched: everything whose stat says whether the result would still be the same
    owner: whom new entries are put down to
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.watched: dict[str, os.stat_result] = {}
        self.owner = ""

    def look(self, path: str) -> os.stat_result:
        """lstat(2), remembered."""
        found = self.watched.get(path)
        if found is None:
            found = self.watched[path] = os.lstat(path)
        return found

    def add(self, path: str, *, secret: bool = False) -> str:
        """Adds what is at the absolute path, with all links and folders on the way; returns where it really is.

        secret: also a file that not everybody may read, because the user named it
        Raises FileNotFoundError; PermissionError for what is nobody's business; OSError for what is no file or folder.
        """
        rest = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        current, links = "", 0
        while rest:
            part = rest.pop()
            if part == "..":
                current = os.path.dirname(current).rstrip("/")
                continue
            here = f"{current}/{part}"
            status = self.look(here)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(40, "its links lead in a circle", path)
                target = os.readlink(here)
                self._put(here, "link", 0o777, target, status)
                rest += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
                current = "" if target.startswith("/") else current
                continue
            if stat.S_ISDIR(status.st_mode):
                # A folder that only its owner may walk (/root) must let the image's users through to what is below.
                self._put(here, "folder", (stat.S_IMODE(status.st_mode) & 0o1777) | 0o111, "", status)
            elif rest:
                raise NotADirectoryError(20, "not a folder", here)
            else:
                self._file(here, status, secret)
            current = here
        return current or "/"

    def _file(self, path: str, status: os.stat_result, secret: bool) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise OSError(22, "neither a file nor a folder", path)
        if path.startswith(_SECRET) or (not status.st_mode & 0o004 and not secret):
            raise PermissionError(13, "not everybody may read it", path)
        self._put(path, "file", stat.S_IMODE(status.st_mode) & 0o777, "", status)

    def _put(
        self, path: str, kind: Literal["folder", "link", "file"], mode: int, content: str, status: os.stat_result
    ) -> None:
        if path not in self.entries:
            copied = kind == "file"
            size, mtime_ns = (status.st_size, status.st_mtime_ns) if copied else (0, 0)
            self.entries[path] = Entry(path, kind, mode, content, size, mtime_ns, self.owner)

    def add_if_there(self, path: str) -> bool:
        """`add`, and whether it was possible."""
        try:
            self.add(path)
        except OSError:
            return False
        return True

    def folder(self, path: str, mode: int) -> None:
        """Adds a folder, with its parents, that need not be on the host; one that is there already keeps its mode."""
        if path != "/":
            self.folder(os.path.dirname(path), 0o755)
            self.entries.setdefault(path, Entry(path, "folder", mode, "", 0, 0, self.owner))

    def text(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Adds a file with this content."""
        self.folder(os.path.dirname(path), 0o755)
        self.entries[path] = Entry(path, "text", mode, content.decode("latin-1"), len(content), 0, self.owner)

    def link(self, path: str, target: str) -> None:
        """Adds a link, unless something is there, or in the place of a folder on the way."""
        parent = os.path.dirname(path)
        while parent != "/":
            if parent in self.entries and self.entries[parent].kind != "folder":
                return
            parent = os.path.dirname(parent)
        self.folder(os.path.dirname(path), 0o755)
        self.entries.setdefault(path, Entry(path, "link", 0o777, target, 0, 0, self.owner))


def write(tree: Tree, folder: str) -> None:
    """Writes the tree into an empty folder that nobody else writes to; everything belongs to root, without set-id bits.

    Copies, never hard links: root of a container could write through one to the host's file.
    Raises InvalidConfig when a file changed meanwhile.
    """
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        parent = tree.entries.get(os.path.dirname(path))
        if os.path.dirname(path) != "/" and (parent is None or parent.kind != "folder"):
            # Writing through a link would leave the folder.
            raise InvalidConfig(f"`{path}` cannot be written: what it lies in is no folder of the image")
        place = folder + path
        if entry.kind == "folder":
            os.mkdir(place, 0o700)
            # mkdir's mode went through the umask.
            os.chmod(place, entry.mode)
        elif entry.kind == "link":
            os.symlink(entry.content, place)
        elif entry.kind == "text":
            _fill(place, entry, entry.content.encode("latin-1"))
        else:
            _copy(entry, place)


def _fill(place: str, entry: Entry, content: bytes) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, entry.mode)
    finally:
        os.close(descriptor)


def _copy(entry: Entry, place: str) -> None:
    reading = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(reading)
        if not stat.S_ISREG(status.st_mode) or (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
            raise InvalidConfig(f"`{entry.path}` changed while it was copied", hint="run it again")
        writing = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _pour(reading, writing, entry.size)
            os.fchmod(writing, entry.mode)
            # The interpreter takes a compiled module only when its source has the time that it was compiled from.
            os.utime(writing, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _pour(reading: int, writing: int, size: int) -> None:
    """Copies a file's content: shared where the file system can, else inside the kernel, else through us."""
    left = size
    try:
        while left and (done := os.copy_file_range(reading, writing, left)):
            left -= done
    except OSError as error:
        if left != size or error.errno not in (1, 18, 22, 38, 95):  # EPERM, EXDEV, EINVAL, ENOSYS, EOPNOTSUPP
            raise
    while chunk := os.read(reading, 1 << 20):
        view = memoryview(chunk)
        while view:
            view = view[os.write(writing, view) :]
