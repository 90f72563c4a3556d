"""Health checks: Compose's mapping, and `HealthCheck`, which can also ask over HTTP and TCP from outside an image."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import quantities
from stackpy.dsl.alphabets import ALPHANUMERIC, HEXADECIMAL, NUMBER, Alphabet
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.resources import Frozen
from stackpy.dsl.session import Place
from stackpy.dsl.specs import DEFAULT_PROBE
from stackpy.dsl.values import Invalid, flag, meant, shell, show, words, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_HOST = Alphabet(ALPHANUMERIC + ".-")
_IPV6 = Alphabet(HEXADECIMAL + "ABCDEF:.")
_COMPOSE_FIELDS = ("test", *DEFAULT_PROBE, "disable")
# Not even that of its image.
_DISABLED = {"test": ["NONE"]}
Duration = str | int | float


class HealthCheck(Frozen):
    """How the engine finds out whether a container is well."""

    __slots__ = ("probe",)
    probe: dict[str, Any] | None  # None: nothing usable was given

    @checked("health check")
    def __init__(
        self,
        test: str | Sequence[str] | None = None,
        *,
        http: str | None = None,
        status: int | None = None,
        tcp: int | None = None,
        interval: Duration | None = None,
        timeout: Duration | None = None,
        retries: int | None = None,
        start_period: Duration | None = None,
        start_interval: Duration | None = None,
    ) -> None:
        """Asks by one of three ways, or as the image does; times are seconds or durations such as "1.5s".

        test: a command run in the container (a list, or a line for /bin/sh); well when it exits with 0
        http: a URL asked from within the container's network namespace
        status: the HTTP answer that means well; any 2xx or 3xx without it
        tcp: a port on which the container must accept connections
        """
        place = Place(caller(("test",)), "this health check")
        given = {
            "test": test, "http": http, "status": status, "tcp": tcp, "interval": interval, "timeout": timeout,
            "retries": retries, "start_period": start_period, "start_interval": start_interval,
        }  # fmt: skip
        object.__setattr__(self, "probe", _probe(place, given))

    def __repr__(self) -> str:
        return "HealthCheck(…)"


def _probe(place: Place, given: Mapping[str, Any]) -> dict[str, Any] | None:
    probe: dict[str, Any] = {}
    sound = True
    for key, value in given.items():
        if value is None:
            continue
        probe[key] = place.item(key).parse(_PARSERS[key], value)
        sound = sound and probe[key] is not None
    ways = [key for key in ("test", "http", "tcp") if key in probe]
    if not ways and probe and "status" not in probe:
        return probe if sound else None  # the image's check, with times of its own
    if len(ways) != 1:
        what = "asks nothing" if not ways else f"asks in {len(ways)} ways"
        target = place.item(ways[1]) if ways else place
        target.report(f"{place.name} {what}", "give exactly one of a command, `http` and `tcp`", key=bool(ways))
        return None
    if "status" in probe and "http" not in probe:
        place.item("status").report(f"{place.item('status').name} needs `http`", key=True)
        return None
    return {**probe, **{key: probe.get(key, default) for key, default in DEFAULT_PROBE.items()}} if sound else None


def for_image(place: Place, value: object, line: Callable[[object], list[str]]) -> dict[str, Any] | None:
    """Docker's Healthcheck of a command or a HealthCheck; None after reporting what is wrong.

    line: makes an argument vector of a command
    """
    if not isinstance(value, HealthCheck):
        argv = place.parse(line, value)
        if argv is None:
            return None
        return {"Test": ["CMD-SHELL", value] if isinstance(value, str) else ["CMD", *argv]}
    probe = value.probe
    if probe is None:
        return None
    if "test" not in probe:
        place.report("an image's health check runs a command", "give `http` and `tcp` to the container")
        return None
    argv = probe["test"]
    times = {
        key: int(probe[name] * 10**9)
        for name, key in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start_period", "StartPeriod"),
            ("start_interval", "StartInterval"),
        )
    }
    test = ["CMD-SHELL", argv[2]] if argv[:2] == ["/bin/sh", "-c"] and len(argv) == 3 else ["CMD", *argv]
    return {"Test": test, **{key: count for key, count in times.items() if count}, "Retries": probe["retries"]}


def _test(value: object) -> list[str]:
    if isinstance(value, list | tuple) and value and value[0] in ("CMD", "CMD-SHELL"):
        vector = words(value)[1:]
        if vector and (value[0] == "CMD" or len(vector) == 1):
            return vector if value[0] == "CMD" else shell(vector[0])
        raise Invalid(f"must have a command after `{value[0]}`, not {show(value)}")
    return shell(value)


def _url(value: object) -> str:
    if not isinstance(value, str) or not _is_url(value):
        raise wrong('a URL such as "http://localhost:8000/up"', value)
    return value


def _is_url(text: str) -> bool:
    """`http://HOST[:PORT][/PATH]`, without a fragment."""
    place, slash, path = text.removeprefix("http://").partition("/")
    inner, bracket, after = place.removeprefix("[").partition("]")
    if place.startswith("["):
        known, port = bracket and _IPV6.fullmatch(inner) and after[:1] in ("", ":"), after
    else:
        host, colon, number = place.partition(":")
        known, port = _HOST.fullmatch(host), colon + number
    reachable = not port or (NUMBER.fullmatch(port[1:]) and len(port) < 7 and 1 <= int(port[1:]) <= 65535)
    plain = not slash or ((path.split() == [path] or not path) and "#" not in path)
    return bool(text.startswith("http://") and known and reachable and plain)


_PARSERS: dict[str, Any] = {
    "test": _test,
    "http": _url,
    "status": lambda value: quantities.whole(value, 100, 599),
    "tcp": lambda value: quantities.whole(value, 1, 65535),
    "interval": quantities.interval,
    "timeout": quantities.interval,
    "retries": quantities.at_least_one,
    "start_period": quantities.duration,
    "start_interval": quantities.interval,
}


def healthcheck(place: Place, value: object) -> dict[str, Any] | None:
    """The field `healthcheck`: a HealthCheck or Compose's mapping; None where it was not understood."""
    if isinstance(value, HealthCheck):
        return getattr(value, "probe", None)
    if not isinstance(value, Mapping):
        place.refuse(wrong("a HealthCheck or a mapping with `test`", value))
        return None
    known = {}
    for key, item in value.items():
        if key in _COMPOSE_FIELDS:
            known[key] = item
        else:
            place.item(key).report(f"unknown key `{key}` of {place.name}", meant(str(key), _COMPOSE_FIELDS), key=True)
    if place.item("disable").parse(flag, known.pop("disable", False), True):
        return dict(_DISABLED)
    test = known.get("test")
    if test == "NONE" or (isinstance(test, list | tuple) and list(test) == ["NONE"]):
        return dict(_DISABLED)
    if test is None and len(known) < len(value):
        return None  # what was left out above may have been the test
    return _probe(place, known)
