"""Times as the engine writes them."""

from __future__ import annotations


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds. seconds: since the epoch."""
    import datetime

    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
