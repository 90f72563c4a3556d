"""Numbers and times of the command line; each raises ValueError saying what it expected."""

from __future__ import annotations


def seconds(text: str) -> float:
    """Seconds: "10", "1.5", "2m", "1h30m"."""
    from stackpy.dsl.quantities import duration  # the same forms as in a stack file

    bare = text.replace(".", "", 1).isdigit()  # docker's flags take a bare number, Compose's fields do not
    return duration(f"{text}s" if bare else text)


def instant(text: str) -> float:
    """A point in time as seconds since the epoch: a date, a Unix time, or how long ago ("10m")."""
    import time
    from datetime import datetime  # 2 ms, for --since and --until only

    from stackpy.dsl.values import Invalid

    try:
        ago = seconds(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()  # without a zone it is local time, as docker takes it
        except ValueError:
            raise Invalid(
                "neither a date nor a duration", hint='as in "10m", "2026-01-31" or "2026-01-31T12:00:00Z"'
            ) from None
    unix = ago > 1e8 and text[-1].isdigit()  # as docker takes it
    return ago if unix else time.time() - ago


def moment(text: str) -> str:
    """The same as RFC 3339 in UTC with microseconds: the engine's own form, which is compared with it as text."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(instant(text), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def tail(text: str) -> int | None:
    """A number of lines; "all", as a negative number, is None."""
    if text == "all" or (text.startswith("-") and text[1:].isdigit()):
        return None
    if not text.isdigit():
        raise ValueError("not a number of lines")
    return int(text)


def whole(text: str) -> int:
    """A whole number."""
    if not text.isdigit():
        raise ValueError("not a whole number")
    return int(text)
