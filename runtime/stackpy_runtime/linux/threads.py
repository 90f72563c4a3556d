"""Work in a thread that shares less of the process with it: unshare(2), whose effect no thread can take back."""

from __future__ import annotations

import threading

from stackpy_runtime.linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

CLONE_FS = 0x200  # the current folder, root and umask


def apart(work: Callable[[], T], flags: int = 0) -> T:
    """What `work` gives in a thread with a current folder of its own; raises what it raises.

    flags: more of CLONE_* that the thread does not share
    """
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            if libc.libc.unshare(CLONE_FS | flags):
                raise libc.failure(f"unshare {CLONE_FS | flags:#x}")
            result.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]
