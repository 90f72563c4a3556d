"""Numbers and times of the command line; each raises ValueError saying what it expected."""

from __future__ import annotations


def seconds(text: str) -> float:
    """Seconds: "10", "1.5", "2m", "1h30m"."""
    from stackpy.dsl.quantities import duration  # the same forms as in a stack file

    bare = text.replace(".", "", 1).isdigit()  # docker's flags take a bare number, Compose's fields do not
    return duration(f"{text}s" if bare else text)


def moment(text: str) -> str:
    """A point in time as RFC 3339 in UTC: a date, a Unix time, or how long ago ("10m")."""
    import time
    from datetime import UTC, datetime  # 2 ms, for --since and --until only

    try:
        ago = seconds(text)
    except ValueError:
        try:
            stamp = datetime.fromisoformat(text).timestamp()  # without a zone it is local time, as docker takes it
        except ValueError:
            raise ValueError("neither a date nor a duration") from None
    else:
        unix = ago > 1e8 and text[-1].isdigit()  # as docker takes it
        stamp = ago if unix else time.time() - ago
    return datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z")


def tail(text: str) -> int | None:
    """A number of lines; "all" is None."""
    if text == "all":
        return None
    if not text.isdigit():
        raise ValueError("not a number of lines")
    return int(text)


def whole(text: str) -> int:
    """A whole number."""
    if not text.isdigit():
        raise ValueError("not a whole number")
    return int(text)
