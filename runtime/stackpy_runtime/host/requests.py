"""Checks what clients send before anything acts on it: types by the model, and no field that nobody knows."""

from __future__ import annotations

import difflib
import threading
from typing import Any, get_type_hints

import msgspec

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.model import ContainerConfig, NetworkConfig

_CONTAINER_FIELDS = tuple(get_type_hints(ContainerConfig))
_NETWORK_FIELDS = tuple(get_type_hints(NetworkConfig))
_one_at_a_time = threading.Lock()
UPDATABLE = ("mem_limit", "cpus", "pids_limit", "restart", "labels")


def _known(document: Any, fields: tuple[str, ...], what: str) -> None:
    if not isinstance(document, dict):
        raise InvalidConfig(f"a {what} is an object, not {type(document).__name__}")
    for field in document:
        if field not in fields:
            near = difflib.get_close_matches(str(field), fields, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(fields)}"
            raise InvalidConfig(f"unknown field `{field}` of a {what}", hint=hint)


def _convert(document: Any, kind: Any, what: str) -> Any:
    try:
        # msgspec works a TypedDict out when it first meets it; two threads that do so at once crash the process (0.22)
        with _one_at_a_time:
            return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"{what}: {str(error)[:1].lower()}{str(error)[1:]}") from None


def container(document: Any) -> ContainerConfig:
    """A container's configuration."""
    _known(document, _CONTAINER_FIELDS, "container")
    config: ContainerConfig = _convert(document, ContainerConfig, "container")
    probe = config.get("healthcheck")
    if probe is not None and sum(key in probe for key in ("test", "http", "tcp")) != 1:
        raise InvalidConfig("a health check has exactly one of test, http and tcp")
    return config


def network(document: Any) -> NetworkConfig:
    """A network's configuration."""
    _known(document, _NETWORK_FIELDS, "network")
    config: NetworkConfig = _convert(document, NetworkConfig, "network")
    return config


def changes(document: Any) -> dict[str, Any]:
    """What an update sets; None takes a field away."""
    _known(document, UPDATABLE, "container update")
    given = {key: value for key, value in document.items() if value is not None}
    _convert({"name": "", "image": "", **given}, ContainerConfig, "container update")
    return dict(document)


def labels(document: Any) -> dict[str, str]:
    """Labels of a volume, network or secret."""
    result: dict[str, str] = _convert(document or {}, dict[str, str], "labels")
    return result
