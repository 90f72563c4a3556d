"""What notes the system calls and capabilities that a container uses: a process of its own, until the container ends.

System calls come as notifications of a filter that asks about every one (linux/notifications.py); each goes on as if
nobody had asked. Capabilities come from the kernel's tracepoint `cap_capable` (Linux 6.14), followed into every process
that the first one begins. Nothing is decided here, so whoever deceives this process deceives nobody but himself.

A process, not a thread of the supervisor: it answers thousands of calls a second, and goes on should that one die.
"""

from __future__ import annotations

import errno
import json
import os
import select
import time

from stackpy_runtime.errors import KernelError
from stackpy_runtime.linux import mounts, namespaces, notifications, seccomp
from stackpy_runtime.linux.processes import CAPABILITIES
from stackpy_runtime.linux.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRACING = "/sys/kernel/tracing"
_EVENT = "events/capability/cap_capable"
_MARK = "stackpy-"  # our instances of the tracer, one for each process that is learned of
_OFTEN = 0.3  # seconds between two looks at the tracepoint's buffer
_SOON = 2.0  # milliseconds between two looks for a process that will ask
_NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_…


class CapabilityTrace:
    """The capabilities that a process and all that it begins use; raises OSError where the kernel does not tell.

    What overlayfs does in their place, with the rights of who mounted it, is not theirs: its capabilities are those of
    the host's user namespace. How the kernel names that one in its trace we learn by using a capability ourselves.
    """

    def __init__(self, pid: int) -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        _mount_tracing()
        _remove_stale()
        self._folder = f"{_TRACING}/instances/{_MARK}{pid}"
        os.mkdir(self._folder)
        try:
            self._write(f"{_EVENT}/filter", "ret == 0")
            self._write("options/event-fork", "1")
            self._pipe = os.open(f"{self._folder}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._outside = "" if _is_in_our_users(pid) else self._own_name()
            self._write("set_event_pid", str(pid))
            self._write(f"{_EVENT}/enable", "1")
        except OSError:
            os.rmdir(self._folder)
            raise

    def _own_name(self) -> str:
        """What the trace calls the user namespace that we are in."""
        self._write("set_event_pid", str(os.getpid()))
        self._write(f"{_EVENT}/enable", "1")
        os.setgroups(os.getgroups())
        self._write(f"{_EVENT}/enable", "0")
        return next((space for _, space in events_in(self._text())), "")

    def _write(self, name: str, value: str) -> None:
        with open(f"{self._folder}/{name}", "w", encoding="ascii") as file:
            file.write(value)

    def follow(self, pid: int) -> None:
        """Traces one more process, and what it begins from now on."""
        # Not by open(), whose look for the end of the file tracefs refuses.
        descriptor = os.open(f"{self._folder}/set_event_pid", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(pid).encode())
        finally:
            os.close(descriptor)

    def read(self) -> set[str]:
        """Those since the last look."""
        found = events_in(self._text())
        return {
            CAPABILITIES[number] for number, space in found if space != self._outside and number < len(CAPABILITIES)
        }

    def _text(self) -> str:
        text = b""
        while True:
            try:
                piece = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                break
            if not piece:
                break
            text += piece
        return text.decode("ascii", "replace")

    def close(self) -> None:
        """Stops tracing."""
        self._write(f"{_EVENT}/enable", "0")
        os.close(self._pipe)
        os.rmdir(self._folder)


def _mount_tracing() -> None:
    """Has the kernel's file system for traces where it is looked for: systemd mounts it there, others do not."""
    try:
        mounts.mount("tracefs", _TRACING, "tracefs")
    except KernelError as error:
        if error.errno != errno.EBUSY:
            raise


def _remove_stale() -> None:
    """Takes away what learners that were killed have left in the kernel."""
    for name in os.listdir(f"{_TRACING}/instances"):
        if name.startswith(_MARK) and not os.path.exists(f"/proc/{name.removeprefix(_MARK)}"):
            try:
                os.rmdir(f"{_TRACING}/instances/{name}")
            except OSError:
                # Somebody looks into it.
                pass


def events_in(text: str) -> list[tuple[int, str]]:
    """Capability and user namespace of each line like `… cap_capable: cred …, …, capable_ns X, cap 5, ret 0`."""
    found = []
    for line in text.splitlines():
        _, event, fields = line.partition(" cap_capable: ")
        _, _, space = fields.partition("capable_ns ")
        number = fields.partition(" cap ")[2].partition(",")[0]
        if event and fields.endswith("ret 0") and number.isdigit():
            found.append((int(number), space.partition(",")[0]))
    return found


def _is_in_our_users(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")


class Notebook:
    """What has been noted of a container, in a file that readers see whole; what a run before has noted stays."""

    def __init__(self, path: str, *, tells_capabilities: bool) -> None:
        self.path = path
        self.calls: set[str] = set()
        self.others: set[str] = set()  # architectures besides the machine's own
        self.capabilities: set[str] = set()
        self.tells_capabilities = tells_capabilities
        try:
            with open(path, encoding="utf-8") as file:
                before: dict[str, Any] = json.load(file)
        except (OSError, ValueError):
            return
        self.calls, self.others = set(before["calls"]), set(before["architectures"])
        self.capabilities = set(before["capabilities"] or ())
        self.tells_capabilities = tells_capabilities and before["capabilities"] is not None

    def write(self, *, ended: bool) -> None:
        """Puts it on disk."""
        document = {
            "calls": sorted(self.calls),
            "architectures": sorted(self.others),
            "capabilities": sorted(self.capabilities) if self.tells_capabilities else None,
            "ended": ended,
        }
        aside = f"{self.path}.new"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(aside, self.path)


def main(listener: int, pid: int, path: str, name: str, *, beneath: bool) -> None:
    """Notes until nobody is left who could be asked about.

    pid: the container's first process, which waits in its first call; path: of the file; name: of the container
    beneath: it is `init`, and the container's program, which was forked before, asks a listener of its own
    """
    set_title(f"stackpy learner {name}")
    trace = None
    try:
        trace = CapabilityTrace(pid)
    except OSError:
        # An older kernel, or one without tracing: that is said where it is shown.
        pass
    notebook = Notebook(path, tells_capabilities=trace is not None)
    _hurry(listener)
    try:
        _note([listener], notebook, trace, pid if beneath else 0)
    finally:
        if trace is not None:
            notebook.capabilities |= trace.read()
            trace.close()
        try:
            notebook.write(ended=True)
        except FileNotFoundError:
            # The container has been removed meanwhile.
            pass


def _hurry(listener: int) -> None:
    """Has each call be taken up at once, however busy the host is.

    A signal that comes before fails the call with EINTR, also one that no program expects that of, as fork (seccomp.c,
    seccomp_do_user_notification); from then on it waits as if nobody had asked.
    """
    notifications.wake_at_once(listener)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        # A control group without real-time time, or an engine without CAP_SYS_NICE: calls wait as long as others do.
        pass


def _listener_beneath(parent: int) -> tuple[int, int]:
    """The listener of a process that `parent` has forked, and its PID; (-1, 0) while none holds one."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return -1, 0
    for pid in children:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if (listener := notifications.listener_of(pid, pidfd)) >= 0:
                return listener, pid
        except KernelError:
            continue  # it has ended in this moment
        finally:
            os.close(pidfd)
    return -1, 0


def _note(listeners: list[int], notebook: Notebook, trace: CapabilityTrace | None, parent: int) -> None:
    """parent: a process that will have forked one with a listener of its own; 0 for none"""
    native = _NATIVE.get(os.uname().machine, 0)
    seen: set[tuple[int, int]] = set()
    waiting = select.poll()
    for listener in listeners:
        waiting.register(listener, select.POLLIN)
    looked = 0.0
    changed = True
    while listeners:
        if parent:
            found, child = _listener_beneath(parent)
            if found >= 0:
                parent = 0
                if trace is not None:
                    trace.follow(child)
                notifications.wake_at_once(found)
                listeners.append(found)
                waiting.register(found, select.POLLIN)
        for listener, events in waiting.poll(_SOON if parent else _OFTEN * 1000):
            if not events & select.POLLIN:
                # POLLHUP: the last process that asked it has ended.
                waiting.unregister(listener)
                listeners.remove(listener)
                continue
            call = notifications.let_go_on(listener)
            if call is not None and call not in seen:
                seen.add(call)
                notebook.calls.add(seccomp.call_name(*call) or f"number {call[1]}")
                if call[0] != native:
                    notebook.others.add(f"{call[0]:#x}")
                changed = True
        now = time.monotonic()
        if now - looked < _OFTEN:
            continue
        looked = now
        if trace is not None and (used := trace.read() - notebook.capabilities):
            notebook.capabilities |= used
            changed = True
        if changed:
            notebook.write(ended=False)
            changed = False
