"""Sizes, durations and numbers in the forms that the Compose specification accepts."""

from __future__ import annotations

from stackpy.dsl.alphabets import DIGITS, NUMBER, Alphabet, decimal
from stackpy.dsl.values import Invalid, wrong

# docker/go-units RAMInBytes: binary units, whatever their spelling
_SCALE = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
# Go's time.ParseDuration
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_OCTAL = Alphabet("01234567")

SIZE = 'a size such as "256m" or "1.5gb", or a number of bytes'
DURATION = 'a duration such as "1.5s" or "1m30s", or a number of seconds'
MODE = 'a mode such as 0o644 or "0644"'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def size(value: object) -> int:
    """Bytes."""
    if _is_number(value) and 0 <= value < 2**63 and value == int(value):  # type: ignore[operator, call-overload]
        return int(value)  # type: ignore[call-overload, no-any-return]
    text = value.strip().lower() if isinstance(value, str) else ""
    text = text.removesuffix("b").removesuffix("i") if text.endswith("b") else text
    unit = text[-1:] if text[-1:] in _SCALE else ""
    number = text.removesuffix(unit).removesuffix(" ")
    if not decimal(number):
        raise wrong(SIZE, value)
    whole, _, fraction = number.partition(".")
    # integers throughout: a float would lose bytes of large sizes
    shift = _SCALE[unit]
    result = (int(whole) << shift) + ((int(fraction) << shift) // 10 ** len(fraction) if fraction else 0)
    if result >= 2**63:
        raise wrong("less than 8 EiB", value)
    return result


def duration(value: object) -> float:
    """Seconds."""
    if _is_number(value) and 0 <= value < 1e10:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    text = value.strip() if isinstance(value, str) else ""
    if text == "0":
        return 0.0
    seconds, rest = 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip(DIGITS + "."))]
        after = rest[len(number) :]
        unit = after[:2] if after[:2] in _UNITS else after[:1]
        if unit not in _UNITS or number.count(".") > 1 or number in ("", "."):
            break
        seconds += float(number) * _UNITS[unit]
        rest = after[len(unit) :]
    if not text or rest:
        hint = f'write "{text}s" or {text}' if text and not text.strip(DIGITS + ".") else ""
        raise wrong(DURATION, value, hint)
    return round(seconds, 9)


def interval(value: object) -> float:
    """A duration longer than nothing."""
    seconds = duration(value)
    if seconds <= 0:
        raise wrong("longer than 0 seconds", value)
    return seconds


def processors(value: object) -> float:
    """A number of processors: 0.5, "1.5"."""
    number: object = value
    if isinstance(value, str) and decimal(value):
        number = float(value)
    if not _is_number(number) or not 0 <= number < 100000:  # type: ignore[operator]
        raise wrong("a number of processors such as 0.5", value)
    if 0 < number < 0.01:  # type: ignore[operator]
        # CFS gives out no less than 1 ms in 100 (sched(7), cpu.cfs_quota_us).
        raise wrong("at least 0.01", value)
    return float(number)  # type: ignore[arg-type]


def whole(value: object, least: int = 0, most: int = 2**31 - 1) -> int:
    """A whole number within bounds; its decimal digits as text will do."""
    number: object = value
    if isinstance(value, str) and len(value) < 19 and NUMBER.fullmatch(value.removeprefix("-")):
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        bounds = f"of at least {least}" if most == 2**31 - 1 else f"from {least} to {most}"
        raise wrong(f"a whole number {bounds}", value)
    return number


def at_least_one(value: object) -> int:
    """1, 2, 3, …"""
    return whole(value, 1)


def processes(value: object) -> int:
    """A limit of processes; 0 and -1 are none, as in Docker."""
    return whole(value, -1)


def mode(value: object) -> int:
    """Permission bits, as a number or as octal text."""
    if isinstance(value, str) and _OCTAL.fullmatch(value.removeprefix("0o")) and len(value.removeprefix("0o")) < 6:
        number = int(value.removeprefix("0o"), 8)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
        digits = str(number)
        # no one means 0o1204 by 644
        if number > 0o777 and len(digits) == 3 and not set(digits) & set("89"):
            raise Invalid(f"must be {MODE}, not {number}", f"octal numbers are written 0o{digits}")
    else:
        raise wrong(MODE, value)
    if not 0 <= number <= 0o7777:
        raise wrong(MODE, value)
    return number
