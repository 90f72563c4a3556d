"""Times as the engine writes them."""

from __future__ import annotations


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds. seconds: since the epoch."""
    import datetime

    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; raises InvalidConfig for another text."""
    import datetime

    from stackpy_runtime.errors import InvalidConfig

    try:
        return datetime.datetime.fromisoformat(moment).timestamp()
    except ValueError:
        raise InvalidConfig(f"`{moment}` is not a time", hint="as in 2026-01-31T12:00:00Z") from None
