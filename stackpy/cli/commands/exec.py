"""stackpy exec."""

from __future__ import annotations

import sys

from stackpy.cli import terminal_options
from stackpy.cli.environment import merged
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.terminal_options import LEFT
from stackpy.engines.facade import Missing
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def refuse_tty_without_terminal(interactive: bool, tty: bool) -> None:
    """`-it` from a pipe would hang or garble: docker refuses it too."""
    if interactive and tty and not sys.stdin.isatty():
        raise StackpyError("`-t` needs a terminal, and the input is none", hint="leave `-t` away")


def run(context: Context, arguments: Any) -> int:
    """Runs the process on our own streams."""
    refuse_tty_without_terminal(arguments.interactive, arguments.tty and not arguments.detach)
    # Outside of a stack the engine knows all names that there are: listing them would take as long as the rest.
    name = arguments.container
    if context.stack_name():
        from stackpy.cli import naming

        name = naming.one(context, name)
    try:
        code = _exec(context, name, arguments)
    except Missing:
        from stackpy.cli import naming

        naming.one(context, name)  # says which name is near
        raise
    if code is None:
        print(LEFT, file=sys.stderr)
        return 1
    return code


def _exec(context: Context, name: str, arguments: Any) -> int | None:
    if arguments.workdir and not arguments.workdir.startswith("/"):
        raise UsageError(f'`--workdir {arguments.workdir}`: must be an absolute path, not "{arguments.workdir}"')
    return context.executions().exec(
        name,
        arguments.command,
        stdin=arguments.interactive,
        tty=arguments.tty,
        environment=merged(arguments.env, arguments.env_file),
        working_dir=arguments.workdir or "",
        user=arguments.user or "",
        privileged=arguments.privileged,
        detach=arguments.detach,
        detach_keys=arguments.detach_keys,
    )


COMMAND = Command(
    "exec",
    "Run a command in a running container",
    run,
    options=[
        Option("-d", "--detach", help="only begin it, with nothing on its streams"),
        terminal_options.DETACH_KEYS,
        Option("-i", "--interactive", help="pass standard input on"),
        Option("-t", "--tty", help="give it a terminal"),
        Option("-e", "--env", metavar="KEY=VALUE", many=True, help="an environment variable; KEY alone takes ours"),
        Option("--env-file", metavar="FILE", many=True, help="environment variables, a line each", words="file"),
        Option("-w", "--workdir", metavar="DIR", help="where it starts"),
        Option("--privileged", help="with every capability that the container's user namespace has"),
        Option("-u", "--user", metavar="USER[:GROUP]", help="who it runs as"),
    ],
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID; of several replicas the first", words="container"),
        Argument("COMMAND", help="what to run, with its arguments", rest=True),
    ],
    examples=[
        ("stackpy exec -it web sh", "a shell in the stack's `web`"),
        ("stackpy exec -u postgres db psql -c 'select 1'", "one command as another user"),
    ],
)
