"""stackpy apply."""

from __future__ import annotations

from stackpy.cli import locking, stacks
from stackpy.cli.commands.plan import TARGET
from stackpy.cli.grammar import Command, Option
from stackpy.cli.quantities import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context, Planned

YES = Option("-y", "--yes", help="do not ask")
LOCK_TIMEOUT = Option(
    "--lock-timeout",
    metavar="SECONDS",
    convert=seconds,
    help="how long to wait for another command on this stack (default: until it is done)",
)


def run(context: Context, arguments: Any) -> int:
    """Shows the plan, asks, and makes it true."""
    from stackpy.planning import refusals

    with stacks.locked(context, context.load().stack.name, "apply", arguments.lock_timeout):
        planned = context.plan(arguments.target)
        stacks.show_before(planned.plan, context, yes=arguments.yes)
        code = 0
        if planned.plan.changes:
            refusals.check(planned.plan)
            stacks.agree("apply this plan?", arguments.yes)
            code = _execute(context, planned, arguments)
        if code == 0:
            locking.keep(planned.desired)
    if code == 0 and planned.stack.outputs and not (context.json or context.globals.quiet):
        from stackpy.cli.commands.output import text

        for name, value in planned.stack.outputs.items():
            print(f"{name} = {text(value)}")
    return code


def _execute(context: Context, planned: Planned, arguments: Any) -> int:
    from stackpy.applying import DEFAULT_TIMEOUT

    timeout = DEFAULT_TIMEOUT if arguments.timeout is None else arguments.timeout
    return stacks.execute(context, planned, timeout=timeout, wait=not arguments.no_wait)


COMMAND = Command(
    "apply",
    "Make what runs what stack.py says",
    run,
    details=(
        "Shows the plan and asks; without a terminal it needs --yes. Returns when all that it started runs and what\n"
        "has a health check is healthy. The first Ctrl-C stops after the running actions, the second at once;\n"
        "the next apply finishes the work in either case."
    ),
    stack=True,
    options=[
        YES,
        TARGET,
        Option("--no-wait", help="do not wait until what was started is healthy"),
        Option(
            "--timeout",
            metavar="SECONDS",
            convert=seconds,
            help="how long a resource may take to become healthy or completed (default: 5m)",
        ),
        LOCK_TIMEOUT,
    ],
    examples=[
        ("stackpy apply", "shows the plan, asks, does it"),
        ("stackpy apply --yes --set replicas=3", "from a script"),
    ],
)
