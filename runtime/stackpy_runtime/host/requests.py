"""Checks what clients send before anything acts on it: types by the model, and no field that nobody knows."""

from __future__ import annotations

import difflib
import os
import threading
from typing import Any, Literal, get_type_hints

import msgspec

from stackpy_runtime import volume
from stackpy_runtime.container.stopping import signal_number
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.model import ContainerConfig, Isolation, Limits, NetworkConfig

_CONTAINER_FIELDS = tuple(get_type_hints(ContainerConfig))
_NETWORK_FIELDS = tuple(get_type_hints(NetworkConfig))
_PREDEFINED = ("bridge", "default", "host", "none")
_one_at_a_time = threading.Lock()
# What is set at each start: it can change while a container does not run.
AT_START = (
    "shm_size", "ulimits", "sysctls", "oom_score_adj", "init", "group_add", "domainname", "extra_hosts", "dns",
    "dns_search", "dns_opt", "cgroup_parent", *get_type_hints(Isolation),
)  # fmt: skip
UPDATABLE = (
    *get_type_hints(Limits), *AT_START, "annotations", "restart", "labels", "stop_signal", "stop_grace_period",
    "on_unhealthy", "pre_stop", "networks", "ports", "files", "healthcheck", "log_driver", "log_max_size",
    "log_max_file", "log_tag", "log_labels",
)  # fmt: skip


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


def _no_nul(value: Any, where: str) -> None:
    """Refuses what no argument, path or variable can hold: the kernel's strings end at a NUL."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidConfig(f"{where} has a NUL character")
    elif isinstance(value, dict):
        for key, entry in value.items():
            _no_nul(key, where)
            _no_nul(entry, f"{where}.{key}")
    elif isinstance(value, list):
        for entry in value:
            _no_nul(entry, where)


def _environment(variables: dict[str, str]) -> None:
    for name in variables:
        if not name or "=" in name:
            raise InvalidConfig(f"`{name}` cannot be an environment variable")


def _numbers(config: ContainerConfig) -> None:
    if not 0 <= config.get("stop_grace_period", 0.0) < float("inf"):
        raise InvalidConfig("stop_grace_period is not a number of seconds from 0 on")
    if config.get("log_max_size", 1) < 1 or config.get("log_max_file", 1) < 1:
        raise InvalidConfig("log_max_size and log_max_file are at least 1")
    if probe := config.get("healthcheck"):
        # Written so that NaN fails too.
        if not all(0 < seconds < float("inf") for seconds in (probe.get("interval", 1.0), probe.get("timeout", 1.0))):
            raise InvalidConfig("interval and timeout of a health check are above 0 s")
        if not (
            0 <= probe.get("start_period", 0.0) < float("inf") and 0 < probe.get("start_interval", 1.0) < float("inf")
        ):
            raise InvalidConfig("start_period of a health check is not negative, start_interval above 0 s")
        if probe.get("retries", 1) < 1:
            raise InvalidConfig("retries of a health check is at least 1")


def _logging(config: ContainerConfig) -> None:
    driver = config.get("log_driver", "local")
    if driver == "none" and ("log_max_size" in config or "log_max_file" in config):
        raise InvalidConfig("the log driver `none` keeps nothing: log_max_size and log_max_file mean nothing to it")
    if driver == "journald" or "log_tag" in config:
        from stackpy_runtime.container import journald  # few containers have either

        journald.check_tag(config.get("log_tag", ""))
        if driver == "journald" and not os.path.exists(journald.SOCKET):
            raise InvalidConfig(
                f"the log driver `journald` needs systemd-journald on this host: there is no {journald.SOCKET}",
                hint="leave the driver out: `local` keeps the log and `stackpy logs` shows it",
            )


def container(document: Any) -> ContainerConfig:
    """A container's configuration."""
    _known(document, _CONTAINER_FIELDS, "container")
    config: ContainerConfig = _convert(document, ContainerConfig, "container")
    _no_nul(config, "container")
    _environment(config.get("environment", {}))
    _numbers(config)
    if name := config.get("stop_signal"):
        signal_number(name)
    probe = config.get("healthcheck")
    if probe is not None and sum(key in probe for key in ("test", "http", "tcp")) > 1:
        raise InvalidConfig("a health check has only one of test, http and tcp")
    for name in ("pre_start", "post_start", "pre_stop"):
        for hook in config.get(name, []):  # type: ignore[attr-defined]
            if not hook["command"] or not hook["command"][0]:
                raise InvalidConfig(f"a hook of {name} has no command")
            _environment(hook.get("environment", {}))
    _logging(config)
    return config


def identity(arguments: dict[str, Any]) -> str:
    """The ID that a client has chosen for what it asks to be made; "" where it leaves that to us."""
    chosen: str = _convert(arguments.get("identity", ""), str, "identity")
    if chosen and (len(chosen) != 64 or chosen.strip("0123456789abcdef")):
        raise InvalidConfig(f"`{chosen}` is not an ID", hint="64 hexadecimal digits")
    return chosen


def execution(document: Any) -> None:
    """Checks what `exec` is asked to start."""
    kinds = {"argv": list[str], "environment": dict[str, str], "working_dir": str, "user": str, "execution": str}
    for field, kind in kinds.items():
        _convert(document.get(field) or kind(), kind, f"exec.{field}")
        _no_nul(document.get(field), f"exec.{field}")
    for field in ("stdin", "tty", "privileged", "detach"):
        _convert(document.get(field, False), bool, f"exec.{field}")
    if not document.get("argv"):
        raise InvalidConfig("no command to execute")
    _environment(document.get("environment") or {})


def attachment(document: Any) -> dict[str, Any]:
    """What a client wants of a container's streams."""
    _known(document, ("stdin", "streams", "size"), "attachment")
    kinds = {"stdin": bool, "streams": list[Literal["stdout", "stderr"]], "size": tuple[int, int]}
    return {
        field: _convert(document[field], kind, f"attach.{field}") for field, kind in kinds.items() if field in document
    }


def network(document: Any) -> NetworkConfig:
    """A network's configuration."""
    _known(document, _NETWORK_FIELDS, "network")
    config: NetworkConfig = _convert(document, NetworkConfig, "network")
    if not volume.NAME.fullmatch(config["name"]):
        raise InvalidConfig(f"`{config['name']}` is not a network name", hint="letters, digits, `_`, `.` and `-`")
    if config["name"] in _PREDEFINED:
        raise InvalidConfig(f"`{config['name']}` is what `--network` has a meaning for", hint="choose another name")
    return config


def changes(document: Any) -> dict[str, Any]:
    """What an update sets; None takes a field away."""
    _known(document, UPDATABLE, "container update")
    given = {key: value for key, value in document.items() if value is not None}
    container({"name": "", "image": "", **given})
    return dict(document)


def labels(document: Any) -> dict[str, str]:
    """Labels of a volume, network or secret."""
    result: dict[str, str] = _convert(document or {}, dict[str, str], "labels")
    return result
