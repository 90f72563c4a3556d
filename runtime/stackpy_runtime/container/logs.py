"""What containers write: from their FIFOs to log files, losing nothing to a kill -9 of whoever reads them.

A pipe's data is gone once it is read, so it is never read: splice(2) moves it into a *spool* file in one system call.
Whole lines are then *rendered* from the spool into the log, and a 24-byte state file says how far (bytes of each
spool, bytes of the log). A new reader cuts the log back to what the state says and renders on from there: no line is
lost and none is twice. What has been rendered is punched out of the spool, whose offsets only grow.

Lines are the Kubernetes CRI logging format: `TIME STREAM F|P TEXT`; P marks a part that no newline ended.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import time

from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.linux.libc import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from stackpy_runtime.container.journald import Journal

STREAMS: tuple[Literal["stdout"], Literal["stderr"]] = ("stdout", "stderr")
LONGEST_LINE = 16 << 10
DEFAULT_MAX_SIZE, DEFAULT_MAX_FILE = 10_000_000, 3
_STATE = struct.Struct("<QQQ")
_CHUNK = 1 << 20
_PUNCH_AT = 4 << 20
_USUAL_PIPE, _WIDE_PIPE = 1 << 16, 1 << 20  # bytes (pipe(7))
_PUNCH_HOLE_KEEP_SIZE = 3


def _between_letters(data: bytes, end: int) -> int:
    """`end`, or the few bytes less that leave a letter of UTF-8 in one piece."""
    for back in (1, 2, 3):
        byte = data[end - back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end - back if length > back else end
        if byte < 0x80:
            break
    return end


def render(stream: str, data: bytes, moment: str, *, last: bool, room: int = 1 << 62) -> tuple[bytes, int]:
    """Log lines for the whole lines in `data`, and how many bytes of it they cover; `last` takes the rest as well.

    room: bytes that the log lines may have
    """
    head = f"{moment} {stream} ".encode()
    whole = head + b"F "
    between = b"\n" + whole
    out: list[bytes] = []
    done, reach = 0, LONGEST_LINE
    while done < len(data):
        end = data.rfind(b"\n", done, done + reach)
        if end < 0 and reach < LONGEST_LINE:
            end = data.find(b"\n", done, done + LONGEST_LINE)
        if end >= 0:
            # All lines that end within reach at once: none of them can be longer than a line may be.
            block = data[done:end].replace(b"\n", between)
            if len(whole) + len(block) < room:
                out += (whole, block, b"\n")
                room -= len(whole) + len(block) + 1
                done = end + 1
                continue
            if block == data[done:end]:
                break  # one line, and no room for it
            reach = (end - done) // 2  # the room gets no larger: line by line, each would render all of them again
            continue
        if len(data) - done >= LONGEST_LINE:
            end = _between_letters(data, done + LONGEST_LINE)
        elif last:
            end = len(data)
        else:
            break
        room -= len(head) + end - done + 3
        if room < 0:
            break
        out += (head, b"P ", data[done:end], b"\n")
        done = end
    return b"".join(out), done


class Spool:
    """The bytes of one stream that have left the container and are not all rendered yet."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.end = os.fstat(self.descriptor).st_size
        self.punched = 0
        self.pending = b""  # read from a terminal, and refused by a full disk
        self.widened = False

    def take(self, source: int, most: int = 1 << 62) -> int:
        """Moves what a FIFO holds into the spool, about `most` bytes of it; returns how many, 0 for an empty one.

        One that is found full gets more room: who writes much waits less often, and we are woken less often.
        """
        taken = 0
        while taken < most:
            try:
                count = os.splice(source, self.descriptor, _CHUNK, offset_dst=self.end, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                return taken
            if not count:
                return taken
            self.end += count
            taken += count
            if count >= _USUAL_PIPE and not self.widened:
                self.widened = True
                try:
                    fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _WIDE_PIPE)
                except OSError:
                    # Above fs.pipe-max-size, or what one user may have in all: it is of use as it is.
                    pass
        return taken

    def append(self, data: bytes) -> None:
        """Adds bytes that came from elsewhere (a terminal); what the disk refuses is kept and added first next time."""
        self.pending += data
        while self.pending:
            count = os.pwrite(self.descriptor, self.pending, self.end)
            self.end += count
            self.pending = self.pending[count:]

    def read(self, start: int, size: int = _CHUNK) -> bytes:
        """Bytes from an offset on."""
        return os.pread(self.descriptor, size, start)

    def discard(self, before: int) -> None:
        """Gives the blocks before an offset back to the file system, now and then."""
        if before - self.punched >= _PUNCH_AT:
            libc.fallocate(
                self.descriptor,
                _PUNCH_HOLE_KEEP_SIZE,
                ctypes.c_long(self.punched),
                ctypes.c_long(before - self.punched),
            )
            self.punched = before

    def close(self) -> None:
        """Closes the file."""
        os.close(self.descriptor)


class Recorder:
    """Turns a container's two spools into its log. One at a time per container.

    keep: whether there is a log; without, attached clients see the output and nobody else ever does
    journal: gets each line as well
    """

    def __init__(
        self, folder: str, max_size: int, max_file: int, *, keep: bool = True, journal: Journal | None = None
    ) -> None:
        self.folder, self.max_size, self.max_file = folder, max_size, max_file
        self.keep, self.journal = keep, journal
        self.spools = [Spool(f"{folder}/spool.{name}") for name in STREAMS]
        self.state = os.open(f"{folder}/log.state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        recorded = os.pread(self.state, _STATE.size, 0)
        rendered = _STATE.unpack(recorded) if len(recorded) == _STATE.size else (0, 0, 0)
        self.rendered = [min(rendered[0], self.spools[0].end), min(rendered[1], self.spools[1].end)]
        self.log = self._open()
        self.size = os.fstat(self.log).st_size
        if self.size > rendered[2]:
            # Lines whose place in the spool was not recorded: they are rendered again below.
            os.ftruncate(self.log, rendered[2])
            self.size = rendered[2]
        self._record_state()
        self.kept: Callable[[int], int] = lambda index: self.spools[index].end

    def _open(self) -> int:
        return os.open(f"{self.folder}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def record(self, *, last: bool = False) -> None:
        """Renders what the spools hold. `last`: the container has ended, so a line without newline is a line too."""
        moment = timestamp(time.time())
        for index, name in enumerate(STREAMS):
            spool = self.spools[index]
            if not self.keep and self.rendered[index] != spool.end:
                self.rendered[index] = spool.end
                self._record_state()
            while self.rendered[index] < spool.end:
                data = spool.read(self.rendered[index])
                text, done = render(name, data, moment, last=last, room=max(0, self.max_size - self.size))
                if not done:
                    # No whole line, or none that this file has room for; one longer than a file gets one of its own.
                    text, done = render(name, data, moment, last=last, room=max(self.max_size, 2 * LONGEST_LINE))
                    if not done:
                        break
                    if self.size:
                        self._rotate()
                self._append(text)
                self.rendered[index] += done
                self._record_state()
                if self.journal:
                    self.journal.send(text)
            spool.discard(min(self.rendered[index], self.kept(index)))

    def _record_state(self) -> None:
        os.pwrite(self.state, _STATE.pack(*self.rendered, self.size), 0)

    def _append(self, text: bytes) -> None:
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[os.write(self.log, rest) :]
        except OSError:
            # A full disk has taken a part: all of it is rendered again when there is room.
            os.ftruncate(self.log, self.size)
            raise
        self.size += len(text)

    def _rotate(self) -> None:
        for number in range(self.max_file - 1, 0, -1):
            older = f"{self.folder}/log.{number - 1}" if number > 1 else f"{self.folder}/log"
            try:
                os.rename(older, f"{self.folder}/log.{number}")
            except FileNotFoundError:
                pass
        if self.max_file == 1:
            os.unlink(f"{self.folder}/log")
        os.close(self.log)
        self.log, self.size = self._open(), 0
        # Before a line is in the new file: one that comes after us must not take the old one's size for this one's.
        self._record_state()

    def close(self) -> None:
        """Closes all files."""
        for spool in self.spools:
            spool.close()
        os.close(self.log)
        os.close(self.state)
        if self.journal:
            self.journal.close()
