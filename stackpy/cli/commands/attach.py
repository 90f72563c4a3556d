"""stackpy attach."""

from __future__ import annotations

import sys

from stackpy.cli import naming, terminal_options
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.terminal_options import LEFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Attaches our streams until the container ends; its exit code."""
    name = naming.one(context, arguments.container)
    wishes = terminal_options.attaching(arguments, stdin=not arguments.no_stdin)
    code = context.engine().attach(name, wishes)
    if code is None:
        print(LEFT, file=sys.stderr)
        return 1
    return code


COMMAND = Command(
    "attach",
    "Attach our input and output to a container that runs",
    run,
    details="On a terminal Ctrl-P Ctrl-Q leaves it running; the exit code is the container's.",
    options=[
        terminal_options.DETACH_KEYS,
        Option("--no-stdin", help="do not pass our input on"),
        terminal_options.SIG_PROXY,
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID; of several replicas the first", words="container")],
    examples=[
        ("stackpy attach web", "what it writes from now on; Ctrl-C stops it"),
        ("stackpy attach --no-stdin --sig-proxy=false web", "only look; Ctrl-C stops looking"),
    ],
)
