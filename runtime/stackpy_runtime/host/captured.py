"""A process in a running container whose output is kept here: health checks and hooks."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.container.health import OUTPUT_KEPT
from stackpy_runtime.errors import Conflict
from stackpy_runtime.host import executions
from stackpy_runtime.host.beginnings import NEVER_EXECUTED
from stackpy_runtime.host.probes import Verdict, failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live

SLICE = 0.25  # seconds between two looks at a process that has left its output to others
_CHUNK, _MOST_CHUNKS = 65536, 16
_PROCESS_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9


class Captured(NamedTuple):
    """How it ended.

    code: None when it was killed at its time limit
    output: the first bytes of what it wrote, as text
    reason: why it could not be executed, else ""
    """

    code: int | None
    output: str
    reason: str


def run(
    lifecycle: Lifecycle,
    joining: JoinPlan,
    timeout: float | None,
    *,
    kept: int,
    each: Callable[[bytes], None] | None = None,
    begun: Callable[[str], None] | None = None,
) -> Captured:
    """Runs a process in a container to its end.

    timeout: seconds, then it and what it has started are killed
    kept: bytes of its output
    each: gets all of its output, as it comes
    begun: told the reference by which `kill` finds it
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.fchmod(writing, 0o666)  # to be opened again as /dev/stdout
    os.set_blocking(reading, False)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # Named so that the next supervisor ends it: what it writes nobody would read any more.
        reference = executions.spawn(lifecycle, joining, theirs.fileno(), -1, [writing, writing], of="captured")
    except BaseException:
        os.close(reading)
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(writing)
    try:
        if begun:
            begun(reference)
        code, output = _follow(lifecycle, reference, reading, timeout, kept, each)
        if code is None:
            kill(lifecycle, reference)
        if code == NEVER_EXECUTED:
            return Captured(137, "", "it was killed before it had executed its program")
        return Captured(code, output.decode("utf-8", "replace").strip(), _reason(ours) if code else "")
    finally:
        executions.forget(lifecycle, reference)
        ours.close()
        os.close(reading)


def probe(lifecycle: Lifecycle, live: Live, argv: list[str], timeout: float) -> Verdict:
    """Runs a health check's command; healthy when it exits with 0 within `timeout` seconds."""
    try:
        joining = executions.join_plan(lifecycle, live, argv)
    except Conflict as error:
        return failed(str(error))
    found = run(lifecycle, joining, timeout, kept=OUTPUT_KEPT)
    if found.code is None:
        text = f"`{' '.join(argv)}` did not end within {timeout:g} s"
        return Verdict(False, text, -1, found.output or text)
    if found.code == 0:
        return Verdict(True, "", 0, found.output)
    text = found.reason or f"exit code {found.code}" + (f": {found.output}" if found.output.strip() else "")
    return Verdict(False, text, found.code, found.output or found.reason)


def kill(lifecycle: Lifecycle, reference: str) -> None:
    """Kills a process in a container with all of its session's first process group."""
    beginnings = lifecycle.beginnings
    with beginnings.announced:
        _, _, pidfd = beginnings.started.get(reference, (0, 0, -1))
        if pidfd < 0:
            return
        for flags in (_PROCESS_GROUP, 0):
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL, None, flags)
                return
            except ProcessLookupError:
                return
            except OSError:
                continue  # an older kernel: the process alone


def _follow(
    lifecycle: Lifecycle,
    reference: str,
    reading: int,
    timeout: float | None,
    kept: int,
    each: Callable[[bytes], None] | None,
) -> tuple[int | None, bytes]:
    """Reads all that the process writes until it has ended; what it has left running may hold the pipe open."""
    end = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    output = b""
    while True:
        left = SLICE if end is None else min(SLICE, end - time.monotonic())
        open_still = True
        if left > 0 and poll.poll(left * 1000):
            open_still, data = _read(reading)
            output += data[: max(0, kept - len(output))]
            if each and data:
                each(data)
        with lifecycle.beginnings.announced:
            code = lifecycle.beginnings.executions.get(reference)
        if code is None and not open_still:
            code = executions.wait(lifecycle, reference, None if end is None else max(0.0, end - time.monotonic()))
            return code, output
        if code is not None:
            _, data = _read(reading)
            if each and data:
                each(data)
            return code, output + data[: max(0, kept - len(output))]
        if end is not None and time.monotonic() >= end:
            return None, output


def _read(reading: int) -> tuple[bool, bytes]:
    """What a pipe holds, and whether somebody has it open still."""
    parts: list[bytes] = []
    while len(parts) < _MOST_CHUNKS:
        try:
            data = os.read(reading, _CHUNK)
        except BlockingIOError:
            return True, b"".join(parts)
        if not data:
            return False, b"".join(parts)
        parts.append(data)
    return True, b"".join(parts)


def _reason(channel: socket.socket) -> str:
    """The error that the process reported before it could execute."""
    channel.setblocking(False)
    try:
        data = channel.recv(65536)
    except OSError:
        return ""
    return str(json.loads(data).get("error", {}).get("message", "")) if data else ""
