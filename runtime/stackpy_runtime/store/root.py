"""The engine root: where each thing lies on disk."""

from __future__ import annotations

import os

from stackpy_runtime.errors import Denied, EngineError

# The root itself may be walked through, so that an unprivileged client can reach the supervisor's socket; what lies in
# it is root's alone, since layers and volumes hold set-id programs and other people's files.
_ROOT_MODE, _FOLDER_MODE = 0o711, 0o700
# include/uapi/linux/fs.h
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000
# What a layer that is its own tar is called, and the index over it.
TAR, INDEX = ".tar", ".erofs"
_FOLDERS = ("blobs", "layers", "staging", "containers", "volumes", "secrets", "run", "stacks", "locks")


class Root:
    """Paths of one engine root. Making a Root touches nothing."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def __repr__(self) -> str:
        return f"Root({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Root) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def database(self) -> str:
        """The SQLite index."""
        return f"{self.path}/state.db"

    @property
    def blobs(self) -> str:
        """OCI content as it came, by digest."""
        return f"{self.path}/blobs"

    @property
    def layers(self) -> str:
        """Finished layers, one folder each."""
        return f"{self.path}/layers"

    @property
    def staging(self) -> str:
        """What is being written and not yet in its place."""
        return f"{self.path}/staging"

    @property
    def containers(self) -> str:
        """One folder for each container: upper folder, logs, exit code."""
        return f"{self.path}/containers"

    @property
    def volumes(self) -> str:
        """Named volumes, one folder each."""
        return f"{self.path}/volumes"

    @property
    def secrets(self) -> str:
        """Where the tmpfs with the secrets' values is mounted."""
        return f"{self.path}/secrets"

    @property
    def run(self) -> str:
        """Sockets, FIFOs and PID files of the running engine."""
        return f"{self.path}/run"

    @property
    def stacks(self) -> str:
        """Generations, written by stackpy."""
        return f"{self.path}/stacks"

    @property
    def locks(self) -> str:
        """Lock files."""
        return f"{self.path}/locks"

    @property
    def events(self) -> str:
        """What has happened here: the newer of two files; the older has `.1` behind its name."""
        return f"{self.path}/events"

    def exists(self) -> bool:
        """Whether an engine has been here."""
        return os.path.exists(self.database)

    def create(self) -> None:
        """Makes the root and its folders; what is there already is left as it is, if nobody else may write to it.

        Raises Denied where the caller may not, EngineError where another user could change what lies in it.
        """
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            _make(self.path, _ROOT_MODE)
            for name in _FOLDERS:
                _make(f"{self.path}/{name}", _FOLDER_MODE)
            if os.statvfs(self.path).f_flag & os.ST_RDONLY:
                raise EngineError(
                    f"`{self.path}` is read-only", hint="mount it writable, or give --root DIR another folder"
                )
            for path in (self.containers, self.staging):
                _spread(path)
        except PermissionError as error:
            raise Denied(
                f"cannot create `{error.filename}`: permission denied", hint="run it with sudo, or give --root DIR"
            ) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise EngineError(f"cannot create `{error.filename or self.path}`: {reason}") from None


def _spread(path: str) -> None:
    """Lets ext4 put each folder in `path` into a block group of its own, as it does with the homes of users.

    Else all containers' and layers' files come from one group, where each new one searches past those deleted in the
    last minutes: a tenth of a start where containers come and go, and most of unpacking a layer where others were
    removed (find_inode_bit in fs/ext4/ialloc.c; `T` in chattr(1)).
    """
    import fcntl
    import struct

    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = struct.unpack("l", fcntl.ioctl(folder, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l"))))[0]
        fcntl.ioctl(folder, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_TOPDIR_FL))
    except OSError:
        # Another file system, which has no such flag.
        pass
    finally:
        os.close(folder)


def _make(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        found = os.stat(path)
        if found.st_uid != os.geteuid():
            raise EngineError(
                f"`{path}` belongs to another user (UID {found.st_uid})", hint="give --root DIR a folder of its own"
            ) from None
        if found.st_mode & 0o022:
            raise EngineError(f"others may write to `{path}`", hint=f"chmod go-w {path}") from None
        return
    # mkdir's mode went through the umask.
    os.chmod(path, mode)
