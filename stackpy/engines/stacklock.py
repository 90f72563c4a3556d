"""One command at a time works on a stack: flock on ROOT/stacks/NAME/lock, which names its holder.

flock goes with the process, so a killed command leaves nothing to clean up. Its descriptor travels with what is asked
of the engine: the stack of a command that was killed is free once the engine has done what it was asked for last, and
the next command finds nothing half made that would be in its way. Removing a stack's history removes the file too; so a
lock counts only on the file that still has the name, or two commands could hold one each.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from stackpy.engines.generations import cannot_make, ensure_folder, folder
from stackpy.errors import LockTimeout
from stackpy_runtime import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

POLL = 0.05  # seconds: flock has no timeout, and a signal would need the main thread
PATIENCE = 0.5  # seconds in which whoever has just taken it writes down who it is


class StackLock:
    """Holds a stack while the `with` block runs.

    command: what holders are shown as, e.g. `stackpy apply`
    timeout: seconds; None waits for ever
    waiting: told by whom the stack is held, when another command holds it, and when that is another one by then
    held: told the descriptors of locks that are held from now on
    """

    def __init__(
        self,
        root: str,
        stack: str,
        command: str,
        timeout: float | None,
        waiting: Callable[[str], None],
        held: Callable[..., None] = lambda *locks: None,
    ) -> None:
        self.root, self.stack, self.command, self.timeout, self.waiting = root, stack, command, timeout, waiting
        self.held = held
        self._descriptor = -1

    def __enter__(self) -> StackLock:
        try:
            self._acquire()
            document = {"pid": os.getpid(), "command": self.command, "since": time.time()}
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json_text.dumps(document).encode(), 0)
            self.held(self._descriptor)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held()
        # After a second Ctrl-C the engine may still be at work on what was asked for, and it is said for whom.
        if kind is None or issubclass(kind, Exception):
            os.ftruncate(self._descriptor, 0)
        self._close()

    def _acquire(self) -> None:
        began, told = time.monotonic(), ""
        while True:
            if self._descriptor < 0:
                path = os.path.join(ensure_folder(self.root, self.stack), "lock")
                try:
                    self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError as error:
                    raise cannot_make(path, error) from None
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._has_name(path):
                    return
                self._close()
                continue
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
            waited = time.monotonic() - began
            if self.timeout is None or self.timeout > 0:
                holder = self._noted()
                if not holder and not told and (waited >= PATIENCE or waited >= (self.timeout or PATIENCE)):
                    holder = self.holder()
                if holder and holder != told:
                    told = holder
                    self.waiting(holder)
            if self.timeout is not None and waited >= self.timeout:
                raise LockTimeout(
                    f"stack `{self.stack}` is held by {self.holder()}",
                    hint="wait for it, or allow more time with --lock-timeout",
                )
            time.sleep(POLL)

    def holder(self) -> str:
        """Who holds the stack: `stackpy apply` (pid 12, since 10:31:07)."""
        return self._noted() or "another command"  # it has the lock, but has not yet written who it is

    def _noted(self) -> str:
        return _described(os.pread(self._descriptor, 4096, 0))

    def _has_name(self, path: str) -> bool:
        try:
            named = os.stat(path)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._descriptor))

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)  # and with it the lock
            self._descriptor = -1


def holder(root: str, stack: str) -> str:
    """Who holds a stack now, as StackLock.holder; "" for nobody. Touches nothing, so that nobody is kept from it.

    The kernel's list of locks is asked and not the process: another may have the number by now of one that was killed.
    """
    path = os.path.join(folder(root, stack), "lock")
    try:
        with open(path, "rb") as file:
            described = _described(file.read(4096))
            if not described:
                return ""
            inode = f":{os.fstat(file.fileno()).st_ino}"
        with open("/proc/locks", encoding="ascii") as locks:
            # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:16195592 0 EOF
            held = any(" FLOCK " in line and line.split()[-3].endswith(inode) for line in locks)
    except OSError:
        return ""  # nobody has ever held it, or it is not ours to read
    return described if held else ""


def _described(text: bytes) -> str:
    """What a holder has written, in words; "" for nothing yet."""
    try:
        document = json_text.loads(text)
        since = time.strftime("%H:%M:%S", time.localtime(float(document["since"])))
        holder = f"`{document['command']}` (pid {document['pid']}, since {since})"
        if os.path.exists(f"/proc/{int(document['pid'])}"):
            return holder
        return f"the engine, which finishes what {holder} had asked for before it was killed"
    except (ValueError, KeyError, TypeError):
        return ""
