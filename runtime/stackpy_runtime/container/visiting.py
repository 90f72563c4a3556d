"""A process of ours inside a container's user and mount namespaces, which copies files there (cp).

Its root is the container's, so the kernel resolves links as it does for the container, and its rights are those of the
container's root: whoever swaps links meanwhile leads it nowhere that the container could not go (CVE-2018-15664).
It executes nothing, and from before it enters not a single module can be loaded (CVE-2019-14271): what it needs is
imported here, by the process that it is forked from. No process in the container sees it, since it stays in the host's
PID namespace.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - name look-ups and errors may ask for it
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from stackpy_runtime.container import rootfs, sandbox, users
from stackpy_runtime.container.copy_rules import End, Path, Target
from stackpy_runtime.container.execution import become
from stackpy_runtime.container.tree_ends import TreeEnd
from stackpy_runtime.container.tree_writing import Owners
from stackpy_runtime.errors import Conflict, EngineError, from_wire
from stackpy_runtime.linux import mounts, namespaces, proc, processes
from stackpy_runtime.linux.libc import AT_FDCWD

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.container.plan import MountPlan
    from stackpy_runtime.image.layer_tar import Sink

_LAST_ID = 65535  # in a container's user namespace
_PIECE = 1 << 18
_MEETING_POINT = "/etc"  # where a root is attached for the moment before pivot_root, in mounts of our own


class Pipe:
    """One end of a pipe as the source of an archive, or where one goes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self) -> bytes:
        """The next piece."""
        return os.read(self.descriptor, _PIECE)

    def write(self, data: bytes) -> None:
        """Writes all of it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]


class Packed:
    """A tar that a process in a container writes."""

    def __init__(self, descriptor: int, answer: Callable[[], object]) -> None:
        self._descriptor, self._answer = descriptor, answer
        self.size = 0

    def read(self) -> bytes:
        """The next piece; at its end raises what the process has failed at."""
        data = os.read(self._descriptor, _PIECE)
        self.size += len(data)
        if not data:
            # It closes its end when all is written, or when it has failed.
            self._answer()
        return data


class Visit:
    """A context manager: the process, which is asked one thing after the other.

    enter: takes it into the container; runs in the process
    """

    def __init__(self, enter: Callable[[], None]) -> None:
        self._enter = enter
        self._pid = 0

    def __enter__(self) -> Visit:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._out, writing = os.pipe2(os.O_CLOEXEC)
        reading, self._in = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if not self._pid:
            self._line.close()
            os.close(self._out)
            os.close(self._in)
            _serve(theirs, self._enter, Pipe(reading), Pipe(writing))
        theirs.close()
        os.close(reading)
        os.close(writing)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._out, self._in):
            if descriptor >= 0:
                os.close(descriptor)
        self._line.close()
        os.waitpid(self._pid, 0)

    def look(self, path: Path, shown: str, *, follow: bool) -> End:
        """Finds a path in the container, which the next request is about."""
        return End(*self._ask({"op": "look", "path": path, "shown": shown, "follow": follow}))

    def pack(self, called: str) -> Packed:
        """What was found as a tar, to be read to its end."""
        self._send({"op": "pack", "called": called})
        return Packed(self._out, self._answer)

    def extract(self, target: Target, write: Callable[[Sink], None]) -> list[str]:
        """Extracts into what was found the tar that `write` writes; returns what could not be there."""
        self._send({"op": "extract", "target": target})
        try:
            try:
                write(Pipe(self._in))
            finally:
                os.close(self._in)
                self._in = -1
        except BrokenPipeError:
            # It has stopped reading, and says why.
            pass
        left_out: list[str] = self._answer()
        return left_out

    def _ask(self, request: dict[str, Any]) -> Any:
        self._send(request)
        return self._answer()

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._line.send(json.dumps(request).encode())
        except OSError:
            self._answer()  # it has said what it failed at
            raise

    def _answer(self) -> Any:
        data = self._line.recv(1 << 17)
        if not data:
            raise EngineError("the process in the container has ended")
        answer = json.loads(data)
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["ok"]


def _serve(line: socket.socket, enter: Callable[[], None], given: Pipe, out: Pipe) -> None:
    """The process: enters, answers until nobody asks any more, and never returns."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # Nothing in the container can be taken for a module from here on.
        sys.meta_path.clear()
        sys.path_hooks.clear()
        sys.path.clear()
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        try:
            enter()
            os.umask(0)
            end: TreeEnd | None = None
            while data := line.recv(1 << 17):
                request = json.loads(data)
                if request["op"] == "look":
                    end = TreeEnd(Path(*request["path"]), request["shown"], follow=request["follow"])
                    result: Any = end.end
                elif request["op"] == "pack":
                    assert end
                    try:
                        end.pack(out, request["called"])
                    finally:
                        os.close(out.descriptor)
                    result = None
                else:
                    assert end
                    try:
                        owners = Owners(-1, -1, _LAST_ID, True)
                        result = end.extract(Target(*request["target"]), given, owners, strict=False)
                    finally:
                        os.close(given.descriptor)
                line.send(json.dumps({"ok": result}).encode())
        except EngineError as error:
            line.send(json.dumps({"error": error.to_wire()}).encode())
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}"
            line.send(json.dumps({"error": EngineError(f"{reason}: {error}").to_wire()}).encode())
    finally:
        os._exit(0)


def running(pid: int, start: int, subject: str) -> Callable[[], None]:
    """How to enter a container that runs, by its first process, started at `start` (clock ticks after boot)."""

    def enter() -> None:
        gone = Conflict("it is not running any more", subject=subject)
        try:
            target = os.pidfd_open(pid)
            own = os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
        except (ProcessLookupError, FileNotFoundError):
            raise gone from None
        # The pidfd is of the right process if that one is still there after it was opened.
        if proc.start_time(pid) != start:
            raise gone
        # The user namespace is that of the mounts; joining our own again is an error.
        namespaces.setns(target, namespaces.CLONE_NEWNS | (namespaces.CLONE_NEWUSER if own else 0))
        os.close(target)
        if own:
            become(users.Identity(0, 0, (), "/"))

    return enter


def stopped(
    lowers: list[str],
    writable: str,
    mounted: list[MountPlan],
    etc: dict[str, str],
    *,
    user: str,
    first: int,
    scratch: str,
    read_only: bool,
) -> Callable[[], None]:
    """How to enter a container that does not run: its root, put together for this process alone as for a start.

    mounted, etc: as in a SandboxPlan; a tmpfs has nothing in it, and takes nothing
    user: the container's configured one; first: of the range of host IDs
    """

    def enter() -> None:
        whole = [(0, first, _LAST_ID + 1)]
        owners = namespaces.user_namespace(whole, whole)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        root = rootfs.overlay(lowers, writable, owners, first, scratch)
        passwd, group = (sandbox.read_inside(root, path) for path in ("/etc/passwd", "/etc/group"))
        identity = users.resolve(user, passwd, group)
        guard = mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID
        sources = [sandbox.open_mount(mount, root, owners, first, identity, guard) for mount in mounted]
        files_ = [(target, rootfs.idmapped_clone(source, owners)) for target, source in etc.items()]
        mounts.move_mount(root, AT_FDCWD, _MEETING_POINT)
        os.close(root)
        top = os.open(_MEETING_POINT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for mount, source in zip(mounted, sources, strict=True):
            if not mount["target"].startswith("/dev/"):
                sandbox.attach_mount(
                    top, {**mount, "read_only": mount["read_only"] or mount["kind"] == "tmpfs"}, source
                )
        for target, source in files_:
            sandbox.place(top, f"/etc/{target}", source)
        if read_only:
            mounts.mount_setattr(top, set_=mounts.MOUNT_ATTR_RDONLY)
        os.fchdir(top)
        mounts.pivot_root(".", ".")
        mounts.umount(".")
        os.chdir("/")
        os.close(top)
        namespaces.setns(owners, namespaces.CLONE_NEWUSER)
        os.close(owners)
        become(users.Identity(0, 0, (), "/"))

    return enter
