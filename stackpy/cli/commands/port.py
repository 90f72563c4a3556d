"""stackpy port."""

from __future__ import annotations

from stackpy.cli import naming, terminal
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints where a container's ports are published; with a port, only where that is."""
    wanted = _wanted(arguments.port) if arguments.port else ""
    name = naming.one(context, arguments.container)
    published = context.engine().inspect(name)["NetworkSettings"]["Ports"]
    found = {port: [_address(each) for each in bindings] for port, bindings in published.items() if bindings}
    if wanted and wanted not in found:
        raise StackpyError(
            f"container {name}: it publishes no port {wanted}",
            hint=f"it publishes {', '.join(found)}" if found else "`stackpy ps` shows what is published where",
        )
    if context.json:
        terminal.print_json({wanted: found[wanted]} if wanted else found)
    elif wanted:
        print("\n".join(found[wanted]))
    else:
        _print_all(found)
    return 0


def _wanted(text: str) -> str:
    port, _, protocol = text.partition("/")
    if not port.isdigit() or not 0 < int(port) < 65536 or protocol not in ("", "tcp", "udp", "sctp"):
        raise UsageError(f"`{text}` is no port", hint="as in `80` or `53/udp`")
    return f"{int(port)}/{protocol or 'tcp'}"


def _address(binding: Mapping[str, str]) -> str:
    host = binding["HostIp"]
    return f"{f'[{host}]' if ':' in host else host}:{binding['HostPort']}"


def _print_all(found: Mapping[str, Sequence[str]]) -> None:
    for port in sorted(found, key=lambda port: (int(port.partition("/")[0]), port)):
        for address in found[port]:
            print(f"{port} -> {address}")


COMMAND = Command(
    "port",
    "Show where a container's ports are published",
    run,
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID; of several replicas the first", words="container"),
        Argument("PORT", help="a port of the container: 80 or 53/udp", optional=True),
    ],
    examples=[("curl http://$(stackpy port web 80)", "whatever port of the host that is")],
)
