"""Work on bytes in a thread of its own, beside the work that they came from: hashing and writing let others run.

A layer is decompressed, hashed, read as a tar and written to disk, all in one pass; decompressing is half of that.
"""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[bytes], None]

# Below it handing over costs more than what is done.
_SMALL = 32 << 10
# Pieces that wait at most, so that memory is not filled where this work is the slowest.
_WAITING = 4


class Beside:
    """Calls `work` with what it is given, in that order; one thread at a time may use it.

    work: must not refer to whoever holds this
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._places = threading.Semaphore(_WAITING)
        self._errors: list[BaseException] = []

    def give(self, data: bytes) -> None:
        """Takes bytes, which must not change. Raises what `work` has raised for earlier ones."""
        self._raise()
        if self._thread is None:
            if len(data) < _SMALL:
                self._work(data)
                return
            arguments = (self._work, self._queue, self._places, self._errors)
            self._thread = threading.Thread(target=_run, args=arguments, daemon=True)
            self._thread.start()
            # Whoever lets go of this without an end leaves no thread behind.
            weakref.finalize(self, self._queue.put, None)
        self._places.acquire()
        self._queue.put(data)

    def wait(self) -> None:
        """Waits until all is done that was given. Raises what `work` has raised."""
        for _ in range(_WAITING):
            self._places.acquire()
        self._places.release(_WAITING)
        self._raise()

    def finish(self) -> None:
        """The same, and ends the thread."""
        self.close()
        self._raise()

    def close(self) -> None:
        """Ends the thread, whatever has become of the work; once more does nothing."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._queue = SimpleQueue()

    def _raise(self) -> None:
        if self._errors:
            raise self._errors[0]


def _run(
    work: Work, queue: SimpleQueue[bytes | None], places: threading.Semaphore, errors: list[BaseException]
) -> None:
    while (data := queue.get()) is not None:
        try:
            if not errors:
                work(data)
        except BaseException as error:  # whoever gives the next piece hears of it
            errors.append(error)
        places.release()
