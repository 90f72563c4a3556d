"""The fields of a tar header and the records of a pax header: bytes to numbers and texts. Pure."""

from __future__ import annotations

from zlib import adler32

from stackpy_runtime.image.limits import bad


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header: `LENGTH KEY=VALUE\\n`, where the length counts itself."""
    records = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 21)
        length = decimal(data[position:space] if space > 0 else b"", "extended header")
        end = position + length
        record = data[space + 1 : end]
        if end > len(data) or space >= end or not record.endswith(b"\n"):
            bad("it has an extended header that cannot be read")
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not key:
            bad("it has an extended header that cannot be read")
        records.append((key, value))
        position = end
    return records


def verify(block: bytes) -> None:
    """Raises InvalidConfig for a header whose checksum is wrong."""
    field = block[148:156]
    digits = field.split(b"\0", 1)[0].strip(b" ")
    recorded = int(digits, 8) if digits and not digits.strip(b"01234567") else -1
    # The lower half of Adler-32 is 1 plus the sum of all bytes, and forty times as fast as adding them here; what it
    # leaves open (it counts modulo a prime) is added below.
    if recorded - 8 * 32 + sum(field) + 1 == adler32(block) & 0xFFFF:
        return
    total = sum(block) - sum(field) + 8 * 32
    # Some old tars summed signed characters.
    if recorded != total and recorded != total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
        bad("it is not a tar archive, or damaged: a header's checksum is wrong")


def text(block: bytes, start: int, length: int) -> bytes:
    """A name, to its NUL or to the end of the field."""
    return block[start : start + length].split(b"\0", 1)[0]


def number(field: bytes, what: str) -> int:
    """A number that cannot be negative; `what` names it in the message."""
    value = signed(field, what)
    if value < 0:
        bad(f"it has an entry with a negative {what}")
    return value


def signed(field: bytes, what: str) -> int:
    """Octal digits, or a big number in base 256 where the first bit is set (GNU)."""
    digits = field.rstrip(b"\0 ")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The bit beneath the marker is the sign.
        return value - (1 << bits) if field[0] & 0x40 else value - (0x80 << bits - 8)
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    try:
        if not digits.isdigit():
            raise ValueError
        return int(digits, 8)
    except ValueError:
        bad(f"it has an entry whose {what} is not a number")


def decimal(digits: bytes, what: str) -> int:
    """A number of a pax header."""
    # More digits than any field can mean would make int() slow.
    if not digits.isdigit() or len(digits) > 20:
        bad(f"it has an entry whose {what} is not a number")
    return int(digits)


def nanoseconds(digits: bytes) -> int:
    """A time of a pax header: seconds with a fraction."""
    whole, _, fraction = digits.partition(b".")
    seconds = decimal(whole.removeprefix(b"-"), "modification time") * 1_000_000_000
    part = decimal((fraction[:9] or b"0").ljust(9, b"0"), "modification time")
    return -(seconds + part) if whole.startswith(b"-") else seconds + part
