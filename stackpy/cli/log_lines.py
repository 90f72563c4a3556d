"""Log lines of several containers on one pair of streams."""

from __future__ import annotations

import sys

from stackpy.cli.terminal import paint
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, TextIO

    Line = tuple[str, dict[str, Any]]  # the container's name and the line as the engine gives it

COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


def merged(sources: Mapping[str, Iterable[dict[str, Any]]]) -> Iterator[Line]:
    """The lines of all containers by their time."""
    if len(sources) == 1:
        for name, lines in sources.items():
            yield from _named(name, lines)
        return
    import heapq  # only for several

    yield from heapq.merge(*(_named(name, lines) for name, lines in sources.items()), key=lambda pair: pair[1]["time"])


def _named(name: str, lines: Iterable[dict[str, Any]]) -> Iterator[Line]:
    for line in lines:
        yield name, line


def follow(sources: Mapping[str, Iterable[dict[str, Any]]]) -> Iterator[Line]:
    """The lines of all containers as they come, until every one has ended.

    Raises the StackpyError that one of them ended with, once the others have ended too.
    """
    import queue
    import threading

    lines: queue.SimpleQueue[Line | tuple[str, StackpyError | None]] = queue.SimpleQueue()

    def read(name: str, source: Iterable[dict[str, Any]]) -> None:
        error: StackpyError | None = None
        try:
            for line in source:
                lines.put((name, line))
        except StackpyError as raised:
            error = raised
        lines.put((name, error))

    for name, source in sources.items():
        threading.Thread(target=read, args=(name, source), daemon=True).start()
    open_sources, failure = len(sources), None
    while open_sources:
        name, line = lines.get()
        if isinstance(line, dict):
            yield name, line
        else:
            open_sources -= 1
            failure = failure or line
    if failure:
        raise failure


def pass_through(output: Iterable[tuple[bytes, bytes]]) -> None:
    """Writes what one container wrote, byte for byte, to the streams that it was written to."""
    streams = {b"stdout": sys.stdout.buffer, b"stderr": sys.stderr.buffer}
    for stream, data in output:
        target = streams[stream]
        target.write(data)
        target.flush()


def show(
    lines: Iterable[Line], names: Sequence[str], *, timestamps: bool, live: bool = True, colour: bool = True
) -> None:
    """Writes the lines to the stream that each was written to.

    names: of the containers when there are several: each line gets its container's name in front, aligned
    live: each line is to be seen at once; else what comes at once is written at once
    colour: of the names, where the stream takes colour
    """
    width = max((len(name) for name in names), default=0)
    codes = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    whole: dict[tuple[str, str], bool] = {}  # whether that container's stream stands at the start of a line
    before: TextIO = sys.stdout
    for name, line in lines:
        stream = sys.stderr if line["stream"] == "stderr" else sys.stdout
        text = line["text"]
        at_start = whole.get((name, line["stream"]), True)
        head = ""
        if names:
            label = f"{name:<{width}} |"
            head = (paint(label, codes[name], stream) if colour else label) + " "
        if timestamps:
            head += f"{line['time']} "
        if names and not text.endswith("\n"):
            text += "\n"  # a part of a line must not run into another container's
        if stream is not before:
            before.flush()  # both may lead to the same terminal or file
            before = stream
        stream.write((head if at_start or names else "") + text)
        if live:
            stream.flush()
        whole[name, line["stream"]] = text.endswith("\n")
