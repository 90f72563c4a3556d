"""The field `logging`: Compose's driver and options, or the options alone."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import quantities
from stackpy.dsl.values import Invalid, meant, text, words, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DRIVERS = ("local", "none", "journald")
SMALLEST = 4096
# Docker's other drivers (docs.docker.com, configure logging drivers), so that a hint can say what goes in their place.
_ELSEWHERE = ("syslog", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs", "logentries")
_PLACEHOLDER = pattern(r"\{\{\s*\.?([A-Za-z]*)\s*\}\}")
_PLACEHOLDERS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


def driver(value: object) -> str:
    """A log driver that there is; json-file is accepted as local, whose lines `logs` shows just the same."""
    if value == "json-file":
        return "local"
    if not isinstance(value, str) or value not in DRIVERS:
        hint = "a collector on this host can read journald" if value in _ELSEWHERE else ""
        hint = hint or (meant(value, DRIVERS) if isinstance(value, str) else "")
        raise wrong("`local`, `none` or `journald`", value, hint)
    return value


def _size(value: object) -> int:
    size = quantities.size(value)
    if size < SMALLEST:
        raise wrong("at least 4 KiB", value)
    return size


def tag(value: object) -> str:
    """A log's tag: text with Docker's placeholders."""
    template = text(value)
    for name in _PLACEHOLDER.findall(template):
        if name not in _PLACEHOLDERS:
            known = " ".join(f"{{{{.{one}}}}}" for one in _PLACEHOLDERS)
            raise Invalid(f"has an unknown placeholder `{{{{.{name}}}}}`", f"there are {known}")
    if "{{" in _PLACEHOLDER.sub("", template):
        raise wrong('text with placeholders such as "{{.Name}}"', value)
    return template


def _labels(value: object) -> list[str]:
    names = value.split(",") if isinstance(value, str) else words(value)
    return [name.strip() for name in names if name.strip()]


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "max_size": _size,
    "max_file": quantities.at_least_one,
    "tag": tag,
    "labels": _labels,
}
# Docker's other options of files and journald, and what is so here.
_OPTIONS_ELSEWHERE = {
    "compress": "logs are kept as they are: leave it out",
    "mode": "a container waits for a log that is far behind (blocking), so that no line is lost: leave it out",
    "max_buffer_size": "it is of the mode `non-blocking`, which there is not: leave it out",
    "env": "labels go along with each line: `labels`",
    "env_regex": "labels go along with each line: `labels`",
    "labels_regex": "name each of them: `labels`",
}
_OF_FILES = ("max_size", "max_file")


def logging(value: object) -> dict[str, Any]:
    """{"driver"?, "max_size"?, "max_file"?, "tag"?, "labels"?}; `local` is left out, since it is the default."""
    if not isinstance(value, Mapping):
        raise wrong('a mapping such as {"max_size": "10m", "max_file": 3}', value)
    result: dict[str, Any] = {}
    path: tuple[str, ...] = ()
    options: Mapping[Any, Any] = value
    if "driver" in value or "options" in value:
        for key in value:
            if key not in ("driver", "options"):
                raise Invalid(f"has an unknown key `{key}`", meant(str(key), ("driver", "options")), (str(key),), True)
        try:
            result["driver"] = driver(value.get("driver") or "local")
        except Invalid as invalid:
            raise invalid.inside("driver") from None
        found = value.get("options") or {}
        if not isinstance(found, Mapping):
            raise Invalid(f"must be a mapping, not {found!r}", path=("options",))
        options, path = found, ("options",)
    for key, item in options.items():
        name = str(key).replace("-", "_")
        if name not in _OPTIONS:
            hint = _OPTIONS_ELSEWHERE.get(name) or meant(str(key), _OPTIONS)
            raise Invalid(f"has an unknown key `{key}`", hint, (*path, str(key)), True)
        if name in _OF_FILES and result.get("driver") == "none":
            raise Invalid(f"has `{key}`, but the driver `none` keeps nothing", "", (*path, str(key)), True)
        try:
            result[name] = _OPTIONS[name](item)
        except Invalid as invalid:
            raise invalid.inside(*path, str(key)) from None
    if result.get("driver") == "local":
        del result["driver"]
    return result
