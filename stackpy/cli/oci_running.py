"""What the verbs of `stackpy oci` do that change something. Each takes the runtime and the parsed words."""

from __future__ import annotations

import sys

from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BYTES = ("memory.limit", "memory.reservation", "memory.swap", "memory.kernel", "memory.kernelTCP")
_TEXTS = ("cpu.cpus", "cpu.mems")
_NOT_EXECUTED = 255  # of `exec`, as of runc: no program's own


def _options(arguments: Any) -> Any:
    from stackpy.engines.oci import creating_options

    if arguments.preserve_fds < 0:
        raise UsageError("`--preserve-fds` is negative")
    return creating_options(
        console_socket=arguments.console_socket,
        pid_file=arguments.pid_file,
        pidfd_socket=arguments.pidfd_socket,
        descriptors=arguments.preserve_fds,
        no_pivot=arguments.no_pivot,
        no_session=arguments.no_new_keyring,
    )


def create(runtime: Any, arguments: Any) -> int:
    """Creates."""
    runtime.create(arguments.id, arguments.bundle, _options(arguments))
    return 0


def start(runtime: Any, arguments: Any) -> int:
    """Starts."""
    runtime.start(arguments.id)
    return 0


def run(runtime: Any, arguments: Any) -> int:
    """Creates and starts; the exit code is the program's."""
    options = _options(arguments)
    code: int = runtime.run(arguments.id, arguments.bundle, options, detach=arguments.detach, keep=arguments.keep)
    return code


def execute(runtime: Any, arguments: Any) -> int:
    """Starts a process; without --detach the exit code is its own."""
    from stackpy.engines.oci import executing_options

    if bool(arguments.process) == bool(arguments.command):
        raise UsageError("`stackpy oci exec` needs a command or `--process`, not both")
    if arguments.process:
        document = runtime.read_document(_read(arguments.process), arguments.process)
        if arguments.tty:
            document["terminal"] = True

        def given(container: dict[str, Any]) -> dict[str, Any]:
            return {str(key): value for key, value in document.items()}
    else:
        given = runtime.process(
            arguments.command,
            cwd=arguments.cwd,
            env=arguments.env,
            user=arguments.user,
            groups_=arguments.additional_gids,
            terminal=arguments.tty,
            capabilities=arguments.cap,
            no_new_privileges=arguments.no_new_privs,
            apparmor=arguments.apparmor,
            label=arguments.process_label,
        )
    options = executing_options(
        console_socket=arguments.console_socket,
        pid_file=arguments.pid_file,
        pidfd_socket=arguments.pidfd_socket,
        descriptors=arguments.preserve_fds,
        paused=arguments.ignore_paused,
        group=arguments.cgroup,
    )
    try:
        code: int = runtime.execute(arguments.id, given, options, detach=arguments.detach)
    except StackpyError as error:
        error.exit_code = _NOT_EXECUTED
        raise
    return code


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StackpyError(f"`{path}`: {(error.strerror or '').lower()}") from error


def kill(runtime: Any, arguments: Any) -> int:
    """Signals."""
    runtime.kill(arguments.id, arguments.signal or "TERM", every=arguments.all)
    return 0


def delete(runtime: Any, arguments: Any) -> int:
    """Deletes."""
    runtime.delete(arguments.id, force=arguments.force)
    return 0


def pause(runtime: Any, arguments: Any) -> int:
    """Holds still."""
    runtime.pause(arguments.id)
    return 0


def resume(runtime: Any, arguments: Any) -> int:
    """Lets go on."""
    runtime.resume(arguments.id)
    return 0


def update(runtime: Any, arguments: Any) -> int:
    """Changes limits."""
    from stackpy.cli.oci_verbs import LIMITS

    document: dict[str, Any] = {}
    if arguments.resources:
        document = runtime.read_document(_read(arguments.resources), arguments.resources)
    for option, field, _ in LIMITS:
        text = getattr(arguments, option.lstrip("-").replace("-", "_"))
        if text is None:
            continue
        if field == "intelRdt":
            raise UsageError(f"`{option}`: cache and bandwidth allocation (resctrl) is not supported")
        section, _, key = field.partition(".")
        document.setdefault(section, {})[key] = text if field in _TEXTS else _number(option, text, field in _BYTES)
    if not document:
        raise UsageError("`stackpy oci update` needs something to change")
    runtime.update(arguments.id, document)
    return 0


def _number(option: str, text: str, is_size: bool) -> int:
    from stackpy.dsl.quantities import size

    try:
        return size(text) if is_size and not text.lstrip("-").isdigit() else int(text)
    except ValueError as error:
        raise UsageError(f"`{option} {text}`: {error}") from error
