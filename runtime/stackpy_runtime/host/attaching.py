"""A client on a container's streams: output as frames, signals the other way.

Input does not pass through us: the client gets our end of the container's pipe, or the controlling side of its
terminal, and writes there itself. So nothing that was typed is in a process of ours when that is killed.
"""

from __future__ import annotations

import os
import threading
import time

from stackpy_runtime.container.logs import STREAMS
from stackpy_runtime.container.stopping import signal_name
from stackpy_runtime.errors import Conflict, NotFound, ProcessFailed
from stackpy_runtime.host.events import of_container
from stackpy_runtime.host.live import MOST_BEHIND
from stackpy_runtime.host.pausing import is_paused
from stackpy_runtime.host.wire import MESSAGE, STDERR, STDIN, STDOUT, Closed, close_all, decoded
from stackpy_runtime.store import event_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.containers import Containers
    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.wire import Connection
    from stackpy_runtime.model import Asked

MOST_AT_ONCE = 1 << 20
_NEVER = 1 << 62  # where a stream is read on that the client has not asked for


class Attachment:
    """One attached client. Output is read from the spools at the client's own pace, so a slow one holds up nobody.

    wishes: `stdin`, `streams` and `size` (rows, columns) as the client has asked
    """

    def __init__(self, lifecycle: Lifecycle, live: Live, connection: Connection, wishes: dict[str, Any]) -> None:
        self.lifecycle, self.live, self.connection, self.wishes = lifecycle, live, connection, wishes
        self.tty = bool(live.config.get("tty"))
        self.stdin = bool(wishes.get("stdin")) and bool(live.config.get("stdin_open"))
        self.wanted = [name in wishes.get("streams", STREAMS) for name in STREAMS]
        self.offsets = [0, 0]
        self.spools: list[int] = []  # descriptors of our own: the recorder closes its when the container ends
        self.gone = False

    def begin(self, offsets: list[int] | None = None) -> None:
        """Registers for the output, from now on or from `offsets`, and tells the client."""
        try:
            self.live.open_recorder()
        except FileNotFoundError:
            raise NotFound("it has been removed", subject=f"container {self.live.name}") from None
        with self.live.changed:
            assert self.live.recorder
            ends = [spool.end for spool in self.live.recorder.spools]
            starts = ends if offsets is None else [min(*pair) for pair in zip(offsets, ends, strict=True)]
            self.offsets[:] = [start if wanted else _NEVER for start, wanted in zip(starts, self.wanted, strict=True)]
            self.spools = [os.dup(spool.descriptor) for spool in self.live.recorder.spools]
            self.live.readers[self] = self.offsets
        said = {"container": self.live.id, "tty": self.tty, "stdin": self.stdin, "offsets": starts}
        self.connection.send({"attached": said})
        if offsets is None:
            event_log.record(self.lifecycle.store.root, of_container(self.live, "attach"))

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns of the client's terminal."""
        rows, columns = self.wishes.get("size") or (0, 0)
        return (int(rows), int(columns)) if rows and columns else None

    def pass_input(self) -> None:
        """Gives the client what it writes input to, where there is any yet: before a start there is none."""
        live = self.live
        if not self.stdin:
            return
        with live.changed:
            target = live.terminal if self.tty else live.stdin
            if target >= 0:
                self.connection.send({"input": True}, (target,))

    def listen(self) -> None:
        """Reads what the client sends, in a thread of its own, until it goes."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                kind, payload, descriptors = self.connection.receive_raw()
                close_all(descriptors)
                if kind == STDIN:
                    # It has written all that there is.
                    self._end_input()
                elif kind == MESSAGE:
                    self._control(payload)
        except (Closed, OSError):
            # Docker closes it as well (StdinOnce): what reads it ends when nobody is there who could say more.
            self._end_input()
            with self.live.changed:
                self.gone = True
                self.live.changed.notify_all()

    def _end_input(self) -> None:
        if self.stdin and not self.tty and self.live.config.get("stdin_once"):
            self.lifecycle.endings.close_stdin(self.live)

    def _control(self, payload: bytes) -> None:
        message: dict[str, Any] = decoded(payload)
        if "signal" in message:
            number = int(message["signal"])
            with self.live.changed:
                asked: Asked = {"verb": "run", "signal": signal_name(number), "at": time.time()}
                self.live.state = {**self.live.state, "asked": asked}
            self.lifecycle.signal(self.live, number)
        elif "resize" in message:
            rows, columns = message["resize"]
            self.lifecycle.resize(self.live, int(rows), int(columns))

    def forward(self) -> None:
        """Sends output until the container has ended and all of it is sent, or the client is gone."""
        live = self.live
        try:
            while True:
                with live.changed:
                    live.changed.wait_for(lambda: self._pending() or self._over(), 5.0)
                    parts = self._take()
                    over = not parts and self._over()
                self._let_on()
                for kind, data in parts:
                    self.connection.send_raw(kind, data)
                if over:
                    return
        except OSError:
            self.gone = True
        finally:
            self.end()

    def end(self) -> None:
        """Gives the spools back."""
        with self.live.changed:
            self.live.readers.pop(self, None)
        self._let_on()
        close_all(self.spools)
        self.spools = []

    def _let_on(self) -> None:
        """Has the output read again that was left alone because of us."""
        live = self.live
        with live.changed:
            resumed = live.held and live.behind() < MOST_BEHIND // 2
            live.held = live.held and not resumed
        if resumed:
            self.lifecycle.outputs.watch(live)

    def _over(self) -> bool:
        live = self.live
        return (not live.pid and not live.launching) or self.gone

    def _pending(self) -> bool:
        return any(offset < os.fstat(spool).st_size for offset, spool in zip(self.offsets, self.spools, strict=True))

    def _take(self) -> list[tuple[bytes, bytes]]:
        parts = []
        for index, kind in enumerate((STDOUT, STDERR)):
            data = os.pread(self.spools[index], MOST_AT_ONCE, self.offsets[index])
            if data:
                self.offsets[index] += len(data)
                parts.append((kind, data))
        return parts


def run(
    lifecycle: Lifecycle, containers: Containers, connection: Connection, live: Live, wishes: dict[str, Any]
) -> dict[str, Any]:
    """Starts a container that was just made with the client on its streams; answers with its exit code."""
    try:
        attachment = _begun(lifecycle, connection, live, wishes)
    except BaseException:
        if live.config.get("auto_remove") and not lifecycle.keeper.is_gone():
            containers.remove(live, force=True, volumes=True)
        raise
    return _attend(lifecycle, attachment)


def start(lifecycle: Lifecycle, connection: Connection, live: Live, wishes: dict[str, Any]) -> dict[str, Any]:
    """Starts a container, or leaves one that runs as it is, with the client on its streams."""
    return _attend(lifecycle, _begun(lifecycle, connection, live, wishes))


def _begun(
    lifecycle: Lifecycle,
    connection: Connection,
    live: Live,
    wishes: dict[str, Any],
    offsets: list[int] | None = None,
) -> Attachment:
    """Starts a container with the client on its streams."""
    attachment = Attachment(lifecycle, live, connection, wishes)
    try:
        attachment.begin(offsets)
        lifecycle.start(live, attachment.size)
        attachment.pass_input()
    except BaseException:
        attachment.end()
        raise
    return attachment


def attach(
    lifecycle: Lifecycle, connection: Connection, live: Live, wishes: dict[str, Any], offsets: list[int] | None
) -> dict[str, Any]:
    """Puts a client on the streams of a container that runs.

    offsets: where each stream is to be read on, of a client that another supervisor has served; then the container may
    have ended
    """
    with live.changed:
        status = "running" if live.pid or live.launching else live.state["status"]
    subject = f"container {live.name}"
    if offsets is None and status == "restarting":
        raise Conflict("it is between two starts", subject=subject, hint="wait until it runs again")
    if offsets is None and is_paused(live):
        raise Conflict("it is paused", subject=subject, hint=f"`stackpy unpause {live.name}` has it go on")
    if offsets is None and status != "running":
        raise Conflict("it is not running", subject=subject, hint=f"stackpy start -a {live.name}")
    if offsets is not None and status == "created":
        # The supervisor that was to start it was killed before it had begun.
        return _attend(lifecycle, _begun(lifecycle, connection, live, wishes, offsets))
    attachment = Attachment(lifecycle, live, connection, wishes)
    attachment.begin(offsets)
    attachment.pass_input()
    if attachment.tty and attachment.size and offsets is None:
        # A program that draws does so when the size changes, and the client has an empty screen now.
        rows, columns = attachment.size
        lifecycle.resize(live, rows + 1, columns + 1)
        lifecycle.resize(live, rows, columns)
    return _attend(lifecycle, attachment)


def _attend(lifecycle: Lifecycle, attachment: Attachment) -> dict[str, Any]:
    live = attachment.live
    attachment.listen()
    attachment.forward()
    with live.changed:
        due, live.awaited = live.awaited and not live.pid, False
    if due:
        lifecycle.on_ended(live)
    if live.config.get("auto_remove") and not attachment.gone:
        live.wait_until(lambda: live.removed and live.id not in lifecycle.lives, 30.0)
        with live.verb:
            # Its anonymous volumes have gone as well when it is free.
            pass
    code = live.state["exit_code"]
    why = live.state.get("ending")
    if why and why["cause"] == "start" and not attachment.gone:
        # Of a start by a supervisor before us.
        raise ProcessFailed(why["text"], exit_code=code or 125, hint=why["hint"], subject=f"container {live.name}")
    if code is None and not attachment.gone:
        text = live.state["error"] or "it has ended, and its exit code is not known"
        raise ProcessFailed(text, exit_code=125, subject=f"container {live.name}")
    return {"id": live.id, "exit_code": code}
