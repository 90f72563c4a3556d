"""A bounded pool of threads that starts one only when there is work and none is free.

concurrent.futures would do; it costs as much to import as a small apply takes, and its threads hold the end of the
program up, which a second SIGINT must not wait for.
"""

from __future__ import annotations

from _queue import SimpleQueue
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], None]


class Workers:
    """Runs tasks, at most `limit` at a time, in the order in which they came. Tasks must not raise."""

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._lock = allocate_lock()
        self._threads = 0
        self._unfinished = 0

    def submit(self, task: Task) -> None:
        """Runs the task as soon as a thread is free."""
        with self._lock:
            self._unfinished += 1
            starts = self._unfinished > self._threads and self._threads < self._limit
            self._threads += starts
        self._tasks.put(task)
        if starts:
            start_new_thread(self._work, ())

    def close(self) -> None:
        """Ends each thread after its task; tasks that have not begun are not dropped."""
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._unfinished -= 1
