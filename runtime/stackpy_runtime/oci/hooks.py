"""Calls the hooks of a bundle: the container's state on standard input, their end waited for."""

from __future__ import annotations

import os
import select
import signal

from stackpy_runtime.errors import ProcessFailed
from stackpy_runtime.linux import processes
from stackpy_runtime.linux.notifications import FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from stackpy_runtime.oci.plan import Filter, Hook

KEPT = 1000  # characters of what a hook says, for its error


def call(hook: Hook, state: str, environment: Mapping[str, str], filter_: Filter | None = None) -> None:
    """Calls one; raises ProcessFailed with the end of its output when it fails or does not end in its time.

    state: JSON
    environment: of one that names none
    filter_: of its system calls; what an agent would be asked of fails
    """
    said = os.memfd_create("hook-output", os.MFD_CLOEXEC)
    told = os.memfd_create("hook-state", os.MFD_CLOEXEC)
    try:
        os.write(told, state.encode())
        os.lseek(told, 0, os.SEEK_SET)
        pid = os.fork()
        if not pid:
            _execute(hook, told, said, environment, filter_)
        code = _wait(pid, hook["timeout"])
        if code:
            text = os.pread(said, 1 << 16, 0).decode("utf-8", "replace").strip()[-KEPT:]
            how = f"did not end within {hook['timeout']} s" if code < 0 else f"exited with {code}"
            raise ProcessFailed(
                f"{hook['where']} `{hook['path']}` {how}{f': {text}' if text else ''}", exit_code=max(code, 1)
            )
    finally:
        os.close(said)
        os.close(told)


def _execute(hook: Hook, told: int, said: int, environment: Mapping[str, str], filter_: Filter | None) -> NoReturn:
    try:
        os.dup2(told, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.closerange(3, 1 << 16)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        entries = hook["env"]
        if entries is not None:
            environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        if filter_:
            unasked = filter_["flags"] & ~(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV)
            processes.install_filter(filter_["program"], unasked)
        os.execve(hook["path"], hook["args"] or [hook["path"]], environment)
    except OSError as error:
        os.write(2, (error.strerror or "").lower().encode())
    finally:
        os._exit(127)


def _wait(pid: int, timeout: int | None) -> int:
    """The exit code, 128+n for signal n; -1 when it had to be killed."""
    pidfd = os.pidfd_open(pid)
    try:
        line = select.poll()
        line.register(pidfd, select.POLLIN)
        ended = bool(line.poll(None if timeout is None else timeout * 1000))
        if not ended:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if not ended:
            return -1
        return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    finally:
        os.close(pidfd)


def call_all(
    found: list[Hook],
    state: str,
    *,
    warn: Callable[[str], None] | None = None,
    environment: Mapping[str, str] = os.environ,
    filter_: Filter | None = None,
) -> None:
    """Calls them in order; with `warn` a failure is only told, and the next is called.

    environment: of those that name none; the caller's, but never inside a container
    filter_: of the system calls of those that are the container's own programs
    """
    for hook in found:
        try:
            call(hook, state, environment, filter_)
        except (ProcessFailed, OSError) as error:
            if warn is None:
                raise
            warn(str(error))
