"""The flags of `run` → the engine's container configuration. Pure, but for --env-file and our own environment.

What a flag and a field of a stack file have in common is read by the DSL's parsers, imported with the flag that needs
them: `run --rm IMAGE true` imports none.
"""

from __future__ import annotations

from stackpy.cli import isolation_options, mount_options, resource_options
from stackpy.cli.environment import merged
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LOOPBACK = "127.0.0.1"  # where a port without an address is published, as in a stack file
DEFAULT_PROBE = {"interval": 30.0, "timeout": 30.0, "retries": 3, "start_period": 0.0, "start_interval": 5.0}


def config(arguments: Any) -> dict[str, Any]:
    """The configuration (stackpy_runtime.model.ContainerConfig): only what was asked for.

    Raises UsageError naming the flag whose value is wrong.
    """
    document: dict[str, Any] = {"name": arguments.name or "", "image": arguments.image}
    if arguments.command:
        document["command"] = arguments.command
    if arguments.entrypoint is not None:
        document["entrypoint"] = [arguments.entrypoint] if arguments.entrypoint else []
    environment = merged(arguments.env, arguments.env_file)
    if environment:
        document["environment"] = environment
    values = {
        "stop_grace_period": arguments.stop_timeout,
        "read_only": arguments.read_only or None,
        "tty": arguments.tty or None,
        "stdin_open": arguments.interactive or None,
        "stdin_once": _stdin_once(arguments) or None,
        "auto_remove": arguments.rm or None,
    }
    document |= {key: value for key, value in values.items() if value is not None}
    _add_names(document, arguments)
    _add_lists(document, arguments)
    resource_options.add(document, arguments)
    isolation_options.add(document, arguments)
    _add_restart(document, arguments)
    if arguments.network or arguments.network_alias or arguments.ip:
        from stackpy.cli import network_options

        network_options.add(document, arguments)
    _add_health(document, arguments)
    if arguments.expose:
        exposed(arguments.expose)  # of use with --publish-all alone, and wrong without it too
    return document


def _stdin_once(arguments: Any) -> bool:
    """Whether its input ends with the client's, as with docker's attached mode."""
    attached = not arguments.attach or "stdin" in arguments.attach
    return bool(arguments.interactive and attached and not getattr(arguments, "detach", False))


def _add_names(document: dict[str, Any], arguments: Any) -> None:
    if arguments.workdir is not None or arguments.user is not None or arguments.hostname is not None:
        from stackpy.dsl import values

        for key, flag, parser, value in (
            ("working_dir", "--workdir", values.absolute, arguments.workdir),
            ("user", "--user", values.user, arguments.user),
            ("hostname", "--hostname", values.hostname, arguments.hostname),
        ):
            if value is not None:
                document[key] = parsed(flag, parser, value)
    if arguments.stop_signal is not None:
        from stackpy.dsl.kernel_names import signal

        document["stop_signal"] = parsed("--stop-signal", signal, arguments.stop_signal)


def _add_lists(document: dict[str, Any], arguments: Any) -> None:
    if arguments.label or arguments.label_file:
        from stackpy.dsl.values import labels

        document["labels"] = {
            **parsed("--label-file", labels, label_lines(arguments.label_file)),
            **parsed("--label", labels, arguments.label),
        }
    _add_log(document, arguments)
    if arguments.volume or arguments.mount or arguments.tmpfs:
        mount_options.add(document, arguments)
    if arguments.publish:
        from stackpy.dsl.ports import binding

        bindings = [one for text in arguments.publish for one in parsed("--publish", binding, text)]
        document["ports"] = [{**one, "host_ip": one["host_ip"] or LOOPBACK} for one in bindings]


def label_lines(paths: list[str]) -> list[str]:
    """The lines of files of labels: KEY=VALUE or KEY, comments and empty ones left out."""
    from stackpy.cli.environment import lines

    texts = (line.strip() for path in paths for line in lines(path))
    return [text for text in texts if text and not text.startswith("#")]


def _add_log(document: dict[str, Any], arguments: Any) -> None:
    if arguments.log_driver is None and not arguments.log_opt:
        return
    from stackpy.dsl import log_driver, values

    options = parsed("--log-opt", lambda given: values.pairs(given, alone=""), arguments.log_opt)
    driver = parsed("--log-driver", log_driver.driver, arguments.log_driver or "local")
    try:
        logging = log_driver.logging({"driver": driver, "options": options})
    except values.Invalid as invalid:
        name = invalid.path[-1] if invalid.path else ""
        raise UsageError(f"`--log-opt {name}`: {invalid.message}", hint=invalid.hint) from invalid
    document |= {f"log_{key}": value for key, value in logging.items()}


def _add_restart(document: dict[str, Any], arguments: Any) -> None:
    if arguments.restart is not None:
        if arguments.rm and arguments.restart != "no":
            raise UsageError("`--rm` and `--restart` exclude each other", hint="leave one of them away")
        document["restart"] = restart_policy(arguments.restart)


def restart_policy(text: str) -> str:
    """A restart policy as the engine takes it; raises UsageError for another word."""
    from stackpy.dsl import container_fields

    return str(parsed("--restart", container_fields.restart_policy, text))


def exposed(ports: list[str]) -> list[dict[str, Any]]:
    """The ports of --expose, as bindings to free ones of the host; raises UsageError for what is no port."""
    from stackpy.dsl.ports import binding

    for port in ports:
        if ":" in port:
            raise UsageError(f"`--expose {port}`: a port of the container is meant", hint="`--publish` takes both")
    return [one for port in ports for one in parsed("--expose", binding, port)]


def _add_health(document: dict[str, Any], arguments: Any) -> None:
    given = {
        "interval": arguments.health_interval,
        "timeout": arguments.health_timeout,
        "retries": arguments.health_retries,
        "start_period": arguments.health_start_period,
        "start_interval": arguments.health_start_interval,
    }
    set_values = {key: value for key, value in given.items() if value is not None}
    if arguments.no_healthcheck:
        if arguments.health_cmd or set_values:
            raise UsageError("`--no-healthcheck` and a health check exclude each other", hint="give one of them")
        document["healthcheck"] = {"test": ["NONE"], **DEFAULT_PROBE}
    elif arguments.health_cmd:
        document["healthcheck"] = {"test": ["/bin/sh", "-c", arguments.health_cmd], **DEFAULT_PROBE, **set_values}
    elif set_values:
        document["healthcheck"] = set_values  # the image's check, with times of its own
    if arguments.on_unhealthy is not None:
        document["on_unhealthy"] = arguments.on_unhealthy


def parsed(flag: str, parser: Callable[[Any], Any], value: Any) -> Any:
    """What a parser of the stack file's fields makes of a flag's value; raises UsageError."""
    from stackpy.dsl.values import Invalid

    try:
        return parser(value)
    except Invalid as invalid:
        index = invalid.path[0] if invalid.path else 0
        shown = value[index] if isinstance(value, list) and isinstance(index, int) else value
        text = shown if isinstance(shown, str) else " ".join(value)
        raise UsageError(f"`{flag} {text}`: {invalid.message}", hint=invalid.hint) from invalid
