"""When to try again. Pure but for the clock that a date in Retry-After is compared with."""

from __future__ import annotations

import random
import time

TRIES = 6  # of one request
_FIRST, _LONGEST = 0.25, 20.0  # seconds
# A registry that asks for more is not waited for: people would think that it hangs.
PATIENCE = 120.0


def passing(status: int) -> bool:
    """Whether an HTTP status may be another one soon."""
    return status == 429 or status in (500, 502, 503, 504)


def delay(attempt: int, retry_after: str = "") -> float:
    """Seconds to wait after the failure of the `attempt`-th try (from 1), or what the server asks for (RFC 9110)."""
    asked = _seconds(retry_after)
    if asked is not None:
        return asked
    # Spread, so that those who failed together do not come back together.
    return min(_LONGEST, _FIRST * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311


def _seconds(text: str) -> float | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # only for servers that send a date

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
