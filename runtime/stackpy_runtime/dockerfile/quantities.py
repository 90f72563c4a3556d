"""Durations and sizes as Go programs read them."""

from __future__ import annotations

from stackpy_runtime.patterns import pattern

_DURATION = pattern(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", ascii_only=True)
_PART = pattern(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", ascii_only=True)
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_SIZE = pattern(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", ignore_case=True, ascii_only=True)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def nanoseconds(text: str) -> int | None:
    """`1m30s` in nanoseconds (time.ParseDuration); None when it is no duration."""
    if text == "0":
        return 0
    if not _DURATION.fullmatch(text):
        return None
    from fractions import Fraction  # only a HEALTHCHECK needs it

    total = sum(Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return int(-total if text.startswith("-") else total)


def size(text: str) -> int | None:
    """`64m` in bytes (units.RAMInBytes); None when it is no size."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return None
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])
