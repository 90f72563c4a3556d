"""Extracting a tar beneath a folder's descriptor: what cp copies. docker's rules where something is there already.

Everything is made by one name beneath the descriptor of its folder, and changed by its own descriptor: a tree that
changes meanwhile gets what it gets, and nothing else does.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, KernelError
from stackpy_runtime.image.entries import BLOCK_DEVICE, CHARACTER, FIFO, FILE, FOLDER, LINK, SYMLINK
from stackpy_runtime.image.limits import DEFAULT, bad, shown
from stackpy_runtime.image.tar import Reader
from stackpy_runtime.linux import files

if TYPE_CHECKING:
    from stackpy_runtime.image.entries import Entry, Source

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERWRITE = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 50
_SET_ID = stat.S_ISUID | stat.S_ISGID


class Owners(NamedTuple):
    """Whose the files become.

    user, group: of all of them, where not -1: then each keeps its own
    last: the largest ID that there is; files of a larger one are root's
    set_id: whether programs may stay set-id, and keep their capabilities
    """

    user: int
    group: int
    last: int
    set_id: bool


class Extraction:
    """One tar into one folder."""

    def __init__(self, top: int, owners: Owners, *, strict: bool, old: str, new: str) -> None:
        self._top, self._owners = top, owners
        self._old, self._new = os.fsencode(old), os.fsencode(new)
        self._resolve = files.RESOLVE_NO_MAGICLINKS
        if strict:
            self._resolve |= files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
        self._folder: tuple[tuple[bytes, ...], int] | None = None  # the last that was written in
        self._times: list[tuple[tuple[bytes, ...], int]] = []
        self._left_out: list[str] = []

    def take(self, source: Source) -> list[str]:
        """Extracts all entries; returns those that cannot be there, for people."""
        reader = Reader(source)
        try:
            for entry in reader:
                parts = self._parts(entry.name)
                try:
                    if parts:
                        self._entry(reader, entry, parts)
                except OSError as error:
                    if isinstance(error, EngineError):
                        raise
                    hint = "free some space and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
                    reason = (error.strerror or str(error)).lower()
                    raise EngineError(f"cannot write `{_shown(parts)}`: {reason}", hint=hint) from None
        finally:
            if self._folder:
                os.close(self._folder[1])
                self._folder = None
        # What is written into a folder changes its time.
        for parts, moment in reversed(self._times):
            self._set_time(parts, moment)
        return self._left_out

    def _parts(self, name: bytes) -> tuple[bytes, ...]:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts or len(parts) > DEFAULT.depth or any(len(part) > DEFAULT.name for part in parts):
            bad(f"it has an entry `{os.fsdecode(name[:200])}`, which leads elsewhere or nowhere")
        if self._old == b".":
            return (self._new, *parts)
        if parts and parts[0] == self._old:
            return (self._new, *parts[1:])
        return tuple(parts)

    def _parent(self, parts: tuple[bytes, ...]) -> int:
        """The folder of an entry, made with those above it where it is missing; valid until the next call."""
        if self._folder and self._folder[0] == parts:
            return self._folder[1]
        if self._folder:
            os.close(self._folder[1])
            self._folder = None
        self._folder = (parts, self._open(parts))
        return self._folder[1]

    def _open(self, parts: tuple[bytes, ...]) -> int:
        if not parts:
            return os.dup(self._top)
        for _ in range(_TRIES):
            try:
                descriptor = files.openat2(self._top, b"/".join(parts), os.O_RDONLY | os.O_DIRECTORY, 0, self._resolve)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    reason = os.strerror(error.errno or 0).lower()
                    raise Conflict(f"`{_shown(parts)}` cannot be written into: {reason}") from None
                above = self._open(parts[:-1])
                try:
                    os.mkdir(parts[-1], 0o755, dir_fd=above)
                except FileExistsError:
                    pass
                finally:
                    os.close(above)
                continue
            if files.file_system_type(descriptor) in (files.PROC_SUPER_MAGIC, files.SYSFS_MAGIC):
                os.close(descriptor)
                raise InvalidConfig(f"`{_shown(parts)}` lies in a file system of the kernel, which is not written to")
            return descriptor
        raise Conflict(f"`{_shown(parts)}` changes all the time")

    def _entry(self, reader: Reader, entry: Entry, parts: tuple[bytes, ...]) -> None:
        if entry.kind in (CHARACTER, BLOCK_DEVICE):
            self._left_out.append(_shown(parts))
            return
        parent, name = self._parent(parts[:-1]), parts[-1]
        for _ in range(_TRIES):
            present = _status(parent, name)
            if present is not None:
                self._check(present, entry, parts)
                if entry.kind == FOLDER:
                    pass
                elif not self._unlink(parent, name):
                    if entry.kind != FILE or not stat.S_ISREG(present.st_mode):
                        raise Conflict(f"`{_shown(parts)}` is mounted there, and cannot be replaced")
                    self._overwrite(reader, entry, parent, name)
                    return
            try:
                self._make(reader, entry, parent, parts)
            except (FileExistsError, NotADirectoryError):
                continue  # somebody was faster
            return
        raise Conflict(f"`{_shown(parts)}` changes all the time")

    def _check(self, present: os.stat_result, entry: Entry, parts: tuple[bytes, ...]) -> None:
        is_folder = stat.S_ISDIR(present.st_mode)
        if is_folder and entry.kind != FOLDER:
            raise Conflict(f"`{_shown(parts)}` is a folder there, and what is copied is none")
        if not is_folder and entry.kind == FOLDER:
            raise Conflict(f"`{_shown(parts)}` is no folder there, and what is copied is one")

    def _unlink(self, parent: int, name: bytes) -> bool:
        """Takes an entry away; False where something is mounted on it."""
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def _make(self, reader: Reader, entry: Entry, parent: int, parts: tuple[bytes, ...]) -> None:
        name = parts[-1]
        if entry.kind == FILE:
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                reader.write(entry, descriptor)
                self._dress(descriptor, entry)
            finally:
                os.close(descriptor)
        elif entry.kind == FOLDER:
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                pass
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
            try:
                self._dress(descriptor, entry)
            finally:
                os.close(descriptor)
            self._times.append((parts, entry.mtime_ns))
        elif entry.kind == SYMLINK:
            os.symlink(entry.linkname, name, dir_fd=parent)
            self._dress_name(parent, name, entry)
        elif entry.kind == LINK:
            self._link(entry, parent, name)
        elif entry.kind == FIFO:
            os.mkfifo(name, entry.mode & 0o777, dir_fd=parent)
            self._dress_name(parent, name, entry)

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        first = self._parts(entry.linkname)
        if not first:
            bad("it has a link to nothing")
        folder = self._open(first[:-1])
        try:
            os.link(first[-1], name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            bad(f"it has a link to `{os.fsdecode(entry.linkname)}`, which it does not have")
        finally:
            os.close(folder)

    def _overwrite(self, reader: Reader, entry: Entry, parent: int, name: bytes) -> None:
        """New content for a file that cannot be replaced: something is mounted on it, as on /etc/hosts."""
        descriptor = os.open(name, _OVERWRITE, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Conflict(f"`{os.fsdecode(name)}` is not a file any more")
            reader.write(entry, descriptor)
        finally:
            os.close(descriptor)

    def _ids(self, entry: Entry) -> tuple[int, int]:
        owners = self._owners
        user = entry.uid if owners.user < 0 else owners.user
        group = entry.gid if owners.group < 0 else owners.group
        return (user if user <= owners.last else 0, group if group <= owners.last else 0)

    def _dress(self, descriptor: int, entry: Entry) -> None:
        """Owner, attributes, mode and time of a file or folder by its descriptor."""
        os.fchown(descriptor, *self._ids(entry))
        for key, value in (entry.xattrs or {}).items():
            if key.startswith(b"user.") or (key == b"security.capability" and self._owners.set_id):
                try:
                    os.setxattr(descriptor, key, value)
                except OSError as error:
                    # A file system without them; the file is of use without.
                    if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                        raise
        mode = entry.mode if self._owners.set_id or entry.kind == FOLDER else entry.mode & ~_SET_ID
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    def _dress_name(self, parent: int, name: bytes, entry: Entry) -> None:
        os.chown(name, *self._ids(entry), dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _set_time(self, parts: tuple[bytes, ...], moment: int) -> None:
        try:
            descriptor = files.openat2(self._top, b"/".join(parts), _FOLDER, 0, self._resolve)
        except KernelError:
            return  # it is gone, or something else by now
        try:
            os.utime(descriptor, ns=(moment, moment))
        except OSError:
            pass
        finally:
            os.close(descriptor)


def _status(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _shown(parts: tuple[bytes, ...]) -> str:
    return shown(os.fsdecode(b"/".join(parts)))
