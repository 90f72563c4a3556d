"""A client on a container's streams: output as frames, input and signals the other way."""

from __future__ import annotations

import os
import threading
import time

from stackpy_runtime.container.stopping import signal_name
from stackpy_runtime.host.live import MOST_BEHIND
from stackpy_runtime.host.wire import MESSAGE, STDERR, STDIN, STDOUT, Closed, decoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.wire import Connection
    from stackpy_runtime.model import Asked

MOST_AT_ONCE = 1 << 20


class Attachment:
    """One attached client. Output is read from the spools at the client's own pace, so a slow one holds up nobody."""

    def __init__(self, lifecycle: Lifecycle, live: Live, connection: Connection) -> None:
        self.lifecycle, self.live, self.connection = lifecycle, live, connection
        self.offsets = [0, 0]
        self.spools: list[int] = []  # descriptors of our own: the recorder closes its when the container ends
        self.stdin = -1
        self.gone = False

    def begin(self, *, stdin: bool) -> int:
        """Registers for the output; returns the container's end of stdin, the caller's to close, or -1."""
        self.live.open_recorder()
        with self.live.changed:
            assert self.live.recorder
            self.offsets[:] = [spool.end for spool in self.live.recorder.spools]
            self.spools = [os.dup(spool.descriptor) for spool in self.live.recorder.spools]
            self.live.readers[self] = self.offsets
        if not stdin or self.live.config.get("tty"):
            return -1
        theirs, self.stdin = os.pipe2(os.O_CLOEXEC)
        # A process of any user may open it again as /dev/stdin; nobody else can reach it.
        os.fchmod(theirs, 0o666)
        return theirs

    def listen(self) -> None:
        """Reads what the client sends, in a thread of its own, until it goes."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                kind, payload, descriptors = self.connection.receive_raw()
                for descriptor in descriptors:
                    os.close(descriptor)
                if kind == STDIN:
                    self._input(payload)
                elif kind == MESSAGE:
                    self._control(payload)
        except (Closed, OSError):
            self.gone = True
            self._close_stdin()

    def _input(self, payload: bytes) -> None:
        if not payload:
            self._close_stdin()
            return
        target = self.live.terminal if self.live.config.get("tty") else self.stdin
        view = memoryview(payload)
        while view and target >= 0:
            try:
                view = view[os.write(target, view) :]
            except BlockingIOError:
                import select

                # Not select(2): it knows no descriptor above 1023.
                room = select.poll()
                room.register(target, select.POLLOUT)
                room.poll(1000)
            except OSError:
                # Nobody reads it any more.
                return

    def _close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def _control(self, payload: bytes) -> None:
        message: dict[str, Any] = decoded(payload)
        if "signal" in message:
            number = int(message["signal"])
            with self.live.changed:
                asked: Asked = {"verb": "run", "signal": signal_name(number), "at": time.time()}
                self.live.state = {**self.live.state, "asked": asked}
            self.live.signal(number)
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
            with live.changed:
                live.readers.pop(self, None)
            self._let_on()
            for descriptor in self.spools:
                os.close(descriptor)
            self.spools = []
            self._close_stdin()

    def _let_on(self) -> None:
        """Has the output read again that was left alone because of us."""
        live = self.live
        with live.changed:
            resumed = live.held and live.behind() < MOST_BEHIND // 2
            live.held = live.held and not resumed
        if resumed:
            self.lifecycle.watch(live)

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
