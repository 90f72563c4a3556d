"""Work that is killed before each of its calls, as by kill -9."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

# Beginnings of the names of what sys.audit tells: all that changes something.
CALLS = ("os.", "open", "sqlite3.", "fcntl.", "shutil.")


def killed_at(event: int, work: Callable[[], object], calls: tuple[str, ...] = CALLS) -> bool:
    """Runs `work` in a child that dies before its `event`-th audited call; whether it came to that."""
    child = os.fork()
    if not child:
        count = 0

        def hook(name: str, arguments: object) -> None:
            nonlocal count
            if name.startswith(calls):
                count += 1
                if count == event:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def every_death(work: Callable[[], object], *, least: int, calls: tuple[str, ...] = CALLS) -> Iterator[bool]:
    """Has `work` killed before its first call, its second, and so on until it comes through; each time whether it died.

    The caller makes ready for the next time after each. least: deaths without which this has tested nothing
    """
    event = deaths = 0
    died = True
    while died:
        event += 1
        died = killed_at(event, work, calls)
        deaths += died
        yield died
    assert deaths >= least
