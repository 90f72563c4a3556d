"""Published ports in Compose's short and long forms."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.alphabets import DIGITS, HEXADECIMAL, LETTERS, NUMBER, Alphabet
from stackpy.dsl.values import Invalid, meant, one_of, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Binding = dict[str, Any]

_PROTOCOL = Alphabet(LETTERS)
_IPV6 = Alphabet(HEXADECIMAL + "ABCDEF:.")
EXPECTED = 'a published port such as "8080:80", "127.0.0.1:8080:80/udp" or "8000-8002:9000-9002"'
LONG_FIELDS = ("target", "published", "host_ip", "protocol")
ANY = 0  # the engine takes a free port of the host


def binding(value: object) -> list[Binding]:
    """The bindings of one entry: one, or as many as its range has ports."""
    if isinstance(value, Mapping):
        return _long(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    parts = _short(value) if isinstance(value, str) else None
    if parts is None:
        raise wrong(EXPECTED, value)
    return _expand(*parts)


def _short(text: str) -> tuple[str, str, str, str] | None:
    """Host, published, target and protocol of `[HOST:][PUBLISHED:]TARGET[/PROTOCOL]`; None for what is none."""
    ports, slash, protocol = text.partition("/")
    before, _, target = ports.rpartition(":")
    host, _, published = before.rpartition(":")
    bracketed = before.startswith("[")
    if (bracketed and before.endswith("]")) or (not host and not _is_range(published, open_=True)):
        host, published = before, ""
    valid = (
        _is_range(target)
        and _is_range(published, open_=True)
        and (not slash or _PROTOCOL.fullmatch(protocol))
        and (_IPV6.fullmatch(host[1:-1]) and host.endswith("]") if bracketed else not set(host) & set(":[]"))
    )
    return (host, published, target, protocol or "tcp") if valid else None


def _is_range(text: str, *, open_: bool = False) -> bool:
    """`80` or `80-82`; with open_ also nothing, or `-82`."""
    first, dash, last = text.partition("-")
    return (NUMBER.fullmatch(first) or (open_ and not first)) and (not dash or NUMBER.fullmatch(last))


def _long(value: Mapping[Any, Any]) -> list[Binding]:
    for key in value:
        if key not in LONG_FIELDS:
            raise Invalid(f"has an unknown key `{key}`", meant(str(key), LONG_FIELDS), (key,), True)
    target, published = value.get("target"), value.get("published")
    if not isinstance(target, int | str) or isinstance(target, bool) or not str(target):
        raise Invalid("needs a `target`: the container's port")
    published = "" if published is None else published
    if not isinstance(published, int | str) or isinstance(published, bool):
        raise Invalid(f"must be a port or a range of ports, not {published!r}", path=("published",))
    host = value.get("host_ip") or ""
    if not isinstance(host, str):
        raise Invalid(f"must be an address of the host, not {host!r}", path=("host_ip",))
    return _expand(host, str(published), str(target), value.get("protocol") or "tcp")


def _expand(host: str, published: str, target: str, protocol: object) -> list[Binding]:
    address = _address(host)
    try:
        protocol = one_of("tcp", "udp")(protocol.lower() if isinstance(protocol, str) else protocol)
    except Invalid as invalid:
        raise Invalid(f"has a protocol that {invalid.message}", invalid.hint) from None
    inner = _range(target)
    if published in ("", "0"):
        return [{"host_ip": address, "published": ANY, "target": here, "protocol": protocol} for here in inner]
    outer = _range(published)
    if len(outer) != len(inner):
        raise Invalid(f"has ranges of different length: {published} is {len(outer)}, {target} is {len(inner)}")
    return [
        {"host_ip": address, "published": there, "target": here, "protocol": protocol}
        for there, here in zip(outer, inner, strict=True)
    ]


def _range(text: str) -> range:
    begin, dash, end = text.partition("-")
    first, last = (int(part) if NUMBER.fullmatch(part) and len(part) < 7 else 0 for part in (begin, end or begin))
    if (dash and not end) or not 1 <= first <= last <= 65535:
        raise Invalid(f"has a port that is not from 1 to 65535, or a range that runs backwards: {text}")
    return range(first, last + 1)


def _address(host: str) -> str:
    if not host:
        return ""
    parts = host.split(".")
    if len(parts) != 4 or any(part.strip(DIGITS) or not 0 < len(part) < 4 or part != str(int(part)) for part in parts):
        raise Invalid(f"has a host address that is not an IPv4 address: {host}")
    if any(int(part) > 255 for part in parts):
        raise Invalid(f"has a host address that is not an IPv4 address: {host}")
    return host


def overlap(first: Binding, second: Binding) -> bool:
    """Whether two bindings need the same port of the host."""
    if first["published"] == ANY or first["protocol"] != second["protocol"]:
        return False
    same = first["published"] == second["published"]
    addresses = {first["host_ip"], second["host_ip"]}
    return same and (len(addresses) == 1 or "0.0.0.0" in addresses)
