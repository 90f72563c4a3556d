"""stackpy inspect."""

from __future__ import annotations

from stackpy.cli import formats, naming
from stackpy.cli.failures import print_error
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.cli.context import Context

TYPES = ("container", "image", "network", "volume")


def find(context: Context, name: str, kind: str | None, *, size: bool = False) -> list[dict[str, Any]]:
    """The documents of what `name` means: containers first, then images, networks and volumes.

    size: measures what containers have written
    Raises StackpyError when nothing is called so, or nothing of the kind asked for.
    """
    engine = context.engine()
    ways: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "container": lambda: [engine.inspect(container, size=size) for container in naming.containers(context, name)],
        "image": lambda: [engine.image_inspect(name)],
        "network": lambda: [engine.network_inspect(name)],
        "volume": lambda: [engine.volume_inspect(name)],
    }
    if kind:
        return ways[kind]()
    from stackpy.engines.facade import Missing

    for way in ways.values():
        try:
            return way()
        except (naming.Unknown, Missing):
            continue
    raise StackpyError(
        f"no container, image, network or volume is called `{name}`", hint="`stackpy ps` lists the containers"
    )


def run(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's documents, or what a template says of each; 1 where one was not found.

    What was found is printed all the same, as docker does.
    """
    found: list[dict[str, Any]] = []
    errors: list[StackpyError] = []
    for name in arguments.name:
        try:
            found += find(context, name, arguments.type, size=arguments.size)
        except StackpyError as error:
            errors.append(error)
    formats.print_documents(context, arguments.format, found)
    for missing in errors:
        print_error(missing.message, missing.hint)
    return int(bool(errors))


COMMAND = Command(
    "inspect",
    "Show everything about containers, images, networks or volumes, as JSON in Docker's shape",
    run,
    options=[
        formats.option("-f", "--format"),
        Option("-s", "--size", help="what containers have written, and that with their images"),
        Option("--type", metavar="TYPE", choices=TYPES, help=f"look only for a {', '.join(TYPES)}"),
    ],
    arguments=[Argument("NAME", help="a resource, name, ID or reference", many=True, words="container")],
    examples=[
        ("stackpy inspect web.1", "state, addresses, mounts and configuration of the first replica"),
        ("stackpy inspect -f '{{.State.Status}}' web", "one value of each replica"),
        ("stackpy inspect -f '{{range .Config.Env}}{{println .}}{{end}}' web.1", "its environment, a line each"),
    ],
)
