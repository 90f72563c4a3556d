"""Published ports in Compose's short and long forms."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stackpy.dsl.patterns import pattern
from stackpy.dsl.values import Invalid, meant, one_of, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Binding = dict[str, Any]

_SHORT = pattern(
    r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\[\]]*):)??(?:(?P<published>\d*(?:-\d+)?):)?"
    r"(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>[a-zA-Z]+))?",
    re.ASCII,
)
EXPECTED = 'a published port such as "8080:80", "127.0.0.1:8080:80/udp" or "8000-8002:9000-9002"'
LONG_FIELDS = ("target", "published", "host_ip", "protocol")
ANY = 0  # the engine takes a free port of the host


def binding(value: object) -> list[Binding]:
    """The bindings of one entry: one, or as many as its range has ports."""
    if isinstance(value, Mapping):
        return _long(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SHORT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(EXPECTED, value)
    return _expand(match["host"] or "", match["published"] or "", match["target"], match["protocol"] or "tcp")


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
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text, re.ASCII)
    first = int(match[1]) if match else 0
    last = int(match[2]) if match and match[2] else first
    if match is None or not 1 <= first <= last <= 65535:
        raise Invalid(f"has a port that is not from 1 to 65535, or a range that runs backwards: {text}")
    return range(first, last + 1)


def _address(host: str) -> str:
    if not host:
        return ""
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", host, re.ASCII)
    if match is None or any(int(part) > 255 or part != str(int(part)) for part in match.groups()):
        raise Invalid(f"has a host address that is not an IPv4 address: {host}")
    return host


def overlap(first: Binding, second: Binding) -> bool:
    """Whether two bindings need the same port of the host."""
    if first["published"] == ANY or first["protocol"] != second["protocol"]:
        return False
    same = first["published"] == second["published"]
    addresses = {first["host_ip"], second["host_ip"]}
    return same and (len(addresses) == 1 or "0.0.0.0" in addresses)
