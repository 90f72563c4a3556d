"""A large folder copied by two processes at once.

Making a file takes the kernel longer than Python takes to ask for it, and neither can be shared by threads: one waits
for the interpreter's lock after each call of the other.
"""

from __future__ import annotations

import marshal
import os

from stackpy_runtime.errors import EngineError, from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.build.context import Item

LARGE = 1000  # items; a fork takes as long as copying thirty


def split(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Two halves of what is in a folder, neither with a part of a subfolder of the other; the second may be empty.

    items: in the order of a walk: each folder before what is in it
    """
    if len(items) < LARGE or len(os.sched_getaffinity(0)) < 2:
        return items, []
    tops = [index for index, item in enumerate(items) if "/" not in item.place]
    middle = min(tops, key=lambda index: abs(2 * index - len(items)))
    return (items[:middle], items[middle:]) if middle else (items, [])


class Apart:
    """Runs `work` in a process of its own. It must touch nothing but files, by descriptors that are open already."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._reading, writing = os.pipe2(os.O_CLOEXEC)
        self._process = os.fork()
        if not self._process:
            try:
                os.write(writing, marshal.dumps(_outcome(work)))
            finally:
                # Nothing of the parent's is to be finalized here: databases, threads, buffers.
                os._exit(0)
        os.close(writing)

    def join(self) -> int:
        """Waits for it; returns what `work` returned, or raises what it raised."""
        with open(self._reading, "rb") as file:
            outcome = file.read()
        os.waitpid(self._process, 0)
        if not outcome:
            raise EngineError("the process that copied a half of the files was killed")
        kind, value = marshal.loads(outcome)  # noqa: S302 - our own child wrote it
        if kind == "engine":
            raise from_wire(value)
        if kind == "system":
            raise OSError(*value)
        return int(value)

    def stop(self) -> None:
        """Ends it."""
        os.kill(self._process, 9)
        os.waitpid(self._process, 0)
        os.close(self._reading)


def _outcome(work: Callable[[], int]) -> tuple[str, Any]:
    try:
        return "done", work()
    except EngineError as error:
        return "engine", error.to_wire()
    except OSError as error:
        return "system", (error.errno, error.strerror, error.filename)
    except BaseException as error:
        return "engine", EngineError(f"{type(error).__name__}: {error}").to_wire()
