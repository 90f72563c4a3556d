"""Reading what container/logs.py has written: from the beginning, from the last lines, or on and on as it grows.

Whole lines come in blocks of about a megabyte, so that a log of any size takes no memory, and what only passes through
(one container's output to a terminal or a pipe) is never taken apart line by line.
"""

from __future__ import annotations

import _thread
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from stackpy_runtime.model import LogLine

_CHUNK = 1 << 20
_BACK = 1 << 16  # what is read at once on the way backwards
# Each line begins with a time of microseconds, a stream and a kind: "2026-01-31T12:00:00.000000Z stdout F ".
_TIME, _MARK, _STREAM, _KIND, HEAD = slice(0, 27), slice(27, 37), slice(28, 34), slice(35, 36), 37
_WHOLE = {b" stdout F ": b"stdout", b" stderr F ": b"stderr"}
_MOST_AHEAD = 256  # files that are kept open for a slow reader: 2.5 GB of the usual size
_SOON = 0.2  # seconds after which files are looked for, where no change was told
_AGAIN = 0.05  # seconds between two questions whether the container still runs


def parse(line: bytes) -> LogLine | None:
    """A line of a log file; None when it is not one."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3].decode("utf-8", "replace") + ("\n" if parts[2] == b"F" else "")
    return {"time": parts[0].decode(), "stream": "stderr" if parts[1] == b"stderr" else "stdout", "text": text}


def lines(blocks: Iterable[bytes]) -> Iterator[LogLine]:
    """The lines of blocks, taken apart."""
    for block in blocks:
        for line in block.split(b"\n"):
            if parsed := parse(line):
                yield parsed


def plain(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What was written, as it was written: (b"stdout" or b"stderr", bytes) for each run of one stream's lines."""
    position = 0
    while position < len(block):
        # Lines that were rendered at once have one head: they are taken apart without a step for each.
        head = block[position : position + HEAD]
        beginning = b"\n" + head
        last = max(block.rfind(beginning, position), position)
        end = (block.find(b"\n", last + 1) + 1) or len(block)
        part = block[position:end]
        stream = _WHOLE.get(head[_MARK])
        if stream and part.count(b"\n") == part.count(beginning) + 1:
            yield stream, part[HEAD:].replace(beginning, b"\n")
        else:
            yield from _by_lines(part)
        position = end


def _by_lines(part: bytes) -> Iterator[tuple[bytes, bytes]]:
    stream = b""
    run: list[bytes] = []
    for line in part.split(b"\n"):
        if len(line) < HEAD:
            continue
        if line[_STREAM] != stream:
            if run:
                yield stream, b"".join(run)
            stream, run = line[_STREAM], []
        run.append(line[HEAD:] + (b"\n" if line[_KIND] == b"F" else b""))
    if run:
        yield stream, b"".join(run)


def between(blocks: Iterable[bytes], since: str | None, until: str | None) -> Iterator[bytes]:
    """Blocks of only the lines between two times (RFC 3339 in UTC with microseconds), both included."""
    if since is None and until is None:
        yield from blocks
        return
    first, last = (since or "").encode(), (until or "~").encode()
    for block in blocks:
        kept = [line for line in block.split(b"\n") if line and first <= line[_TIME] <= last]
        if kept:
            yield b"\n".join(kept) + b"\n"


def read(folder: str, *, tail: int | None = None) -> Iterator[bytes]:
    """What a container's log holds, oldest first. tail: only so many of the last lines"""
    with Reader(folder, tail) as reader:
        yield from reader.new()


def follow(
    folder: str,
    running: Callable[[], bool],
    *,
    tail: int | None = None,
    until: float | None = None,
    pause: float = _AGAIN,
) -> Iterator[bytes]:
    """The same, then blocks as they come; ends when `running` says no and all is read, or at `until` (Unix time).

    pause: seconds between two questions whether it runs
    """
    from stackpy_runtime.linux.inotify import Watch  # ctypes, for those who follow only

    watch = Watch()
    try:
        with Reader(folder, tail, watch.add) as reader, _Ahead(reader):
            yield from reader.new()
            asked, alive = 0.0, True
            while True:
                if time.monotonic() - asked >= pause:
                    asked, alive = time.monotonic(), running() and (until is None or time.time() < until)
                yield from reader.new()
                if not alive:
                    return
                watch.wait(pause)
    finally:
        watch.close()


class _Ahead:
    """Opens what a log is rotated into as soon as it is there: opened, it stays, however slow its reader is.

    Who reads slowly neither misses anything nor holds up whoever writes; what it has yet to read stays on the disk.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        import threading

        from stackpy_runtime.linux.inotify import Watch

        self._watch, self._ended = Watch(), False
        self._watch.add_folder(os.path.dirname(self._reader.path))
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended:
            self._watch.wait(_SOON)
            self._reader.look_ahead()

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._watch.close()


class Reader:
    """The files of one log, oldest first and read on from where they were left, through rotation.

    tail: begin with so many of the last lines
    opened: told of each file that is read to its end
    """

    def __init__(
        self, folder: str, tail: int | None = None, opened: Callable[[str], object] = lambda path: None
    ) -> None:
        self.path, self.opened = f"{folder}/log", opened
        self.files = _open_all(self.path)
        self.lock = _thread.allocate_lock()
        self.rest = b""
        if tail is not None:
            self._skip(tail)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()

    def new(self) -> Iterator[bytes]:
        """Blocks of whole lines: what was added since the last call."""
        while True:
            # Looked for before the last read: what is in a file by then is read before the next is begun.
            later = self.look_ahead(only=True)
            if not self.files:
                return
            if not later:
                self.opened(self.path)
            while data := self.files[0].read(_CHUNK):
                whole, newline, rest = (self.rest + data).rpartition(b"\n")
                self.rest = rest
                if newline:
                    yield whole + newline
            if not later:
                return
            with self.lock:
                self.files.pop(0).close()
            self.rest = b""

    def look_ahead(self, *, only: bool = False) -> bool:
        """Opens the files that have come behind those that are open; whether there are any behind the one that is read.

        only: not where there are some already
        """
        with self.lock:
            if not self.files:
                self.files = _open_all(self.path)
            elif len(self.files) <= _MOST_AHEAD and not (only and len(self.files) > 1):
                self.files += self._later()
            return len(self.files) > 1

    def _later(self) -> list[BinaryIO]:
        """The files that have come behind the last that is open, opened."""
        own = os.fstat(self.files[-1].fileno())
        found = _open_all(self.path)
        for at, file in enumerate(found):
            if os.path.samestat(os.fstat(file.fileno()), own):
                for older in found[: at + 1]:
                    older.close()
                return found[at + 1 :]
        # So much has been written meanwhile that it is gone already.
        return found

    def _skip(self, count: int) -> None:
        """Goes to where the last `count` lines begin."""
        left = count
        for at in reversed(range(len(self.files))):
            file = self.files[at]
            left -= _back(file, left)
            if left <= 0 or not at:
                for older in self.files[:at]:
                    older.close()
                self.files = self.files[at:]
                return


def _back(file: BinaryIO, count: int) -> int:
    """Sets a file to where its last `count` lines begin; returns how many it has of them."""
    position = file.seek(0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(0, position - _BACK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        # The newline that ends a line stands before the one that begins the next.
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if found == count:
                file.seek(start + at + 1)
                return found
            found += 1
        position = start
    file.seek(0)
    return found


def _open_all(path: str) -> list[BinaryIO]:
    """The log's files, oldest first. The newest is opened first, so that a rotation meanwhile hides none."""
    found: list[BinaryIO] = []
    number = missing = 0
    # A rotation renames one after the other: one of them may be missing for a moment.
    while missing < 2:
        try:
            file = open(f"{path}.{number}" if number else path, "rb")
        except (FileNotFoundError, NotADirectoryError):
            missing += number > 0
        else:
            missing = 0
            if found and os.path.samestat(os.fstat(file.fileno()), os.fstat(found[-1].fileno())):
                file.close()
            else:
                found.append(file)
        number += 1
    return found[::-1]


def last_lines(folder: str, count: int) -> list[LogLine]:
    """The last lines, from the end of the newest files only: a log may be large."""
    return list(lines(read(folder, tail=count)))
