"""Waiting for a condition: the one way in which a test lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENT = 60.0  # seconds: the machine that runs the tests may be slow and busy, and waits end as soon as they can


def wait_for(condition: Callable[[], T], what: str | Callable[[], str], timeout: float = PATIENT) -> T:
    """The first true value of `condition`, which is asked every 10 ms; fails the test after `timeout` seconds.

    what: what is waited for, in words; a function is called at the failure, to say what was seen last
    """
    # A turn counts for a second at most: whoever stands still is not waiting, and may have been stopped or suspended.
    waited, last = 0.0, time.monotonic()
    while not (value := condition()):
        now = time.monotonic()
        waited, last = waited + min(now - last, 1.0), now
        if waited > timeout:
            seen = "" if value in (False, None) else f"; seen last: {value!r}"
            raise AssertionError(f"not within {timeout:g} s: {what if isinstance(what, str) else what()}{seen}")
        time.sleep(0.01)
    return value
