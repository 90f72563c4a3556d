"""stackpy apply."""

from __future__ import annotations

from stackpy.cli import locking, stacks
from stackpy.cli.changing_options import ALLOW_DATA_LOSS, LOCK_TIMEOUT, YES
from stackpy.cli.commands.plan import SELECTING, selection, show
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import seconds
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context, Planned


def run(context: Context, arguments: Any) -> int:
    """Shows the plan, asks, and makes it true; a saved one has been agreed to."""
    from stackpy.planning import refusals

    chosen = selection(arguments)
    saved = None
    if arguments.refresh_only and not arguments.file:
        show(context.refreshed().plan, context.globals.format)
        stacks.say(context, "there is no state file to refresh: what is, is read each time")
        return 0
    if arguments.file:
        from stackpy.cli import saved_plans

        if any(chosen) or arguments.destroy or arguments.refresh_only:
            raise UsageError(
                f"`{arguments.file}` says already what is to be done",
                hint="give --target, --exclude, --replace and --destroy to `stackpy plan --out`",
            )
        saved = saved_plans.read(arguments.file)
        saved_plans.adopt_options(context, saved, arguments.file)
        saved_plans.check_stack(context, saved, arguments.file)
    with stacks.locked(context, context.load().stack.name, "apply", arguments.lock_timeout):
        if saved is not None:
            planned = saved_plans.verified(context, saved, arguments.file)
        else:
            planned = context.destruction(chosen) if arguments.destroy else context.plan(chosen)
        if context.json:
            planned.plan = planned.attributed()
        destroys = arguments.destroy or (saved is not None and saved.options.destroy)
        stacks.show_before(planned.plan, context, yes=arguments.yes)
        code = 0
        if planned.plan.denials:
            from stackpy.planning.judging import refuse_denied

            refuse_denied(planned.plan)
        if planned.plan.changes:
            refusals.check(planned.plan)
            stacks.agree_to_loss(planned.plan, arguments.allow_data_loss)
            if saved is None:
                stacks.agree("destroy this?" if destroys else "apply this plan?", arguments.yes)
            # of a stack of which something stays, a generation is made
            whole = destroys and not any(chosen if saved is None else (saved.options.targets, saved.options.excludes))
            code = stacks.destroy(context, planned.plan) if whole else _execute(context, planned, arguments)
            if whole:
                context.engine().tidy()
        elif planned.plan.outputs:
            code = _execute(context, planned, arguments)  # nothing on the host: there is nothing to agree to
        if code == 0 and not destroys:
            locking.keep(planned.desired)
    if code == 0 and planned.stack.outputs and not destroys and not (context.json or context.globals.quiet):
        from stackpy.cli.commands.output import text

        recorded = context.engine().recorded(planned.stack.name) or {}
        for name, value in recorded.get("outputs", planned.stack.outputs).items():
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
        "the next apply finishes the work in either case. FILE is a plan that `plan --out` has kept: it is applied as\n"
        "it was read, once and without a question, or refused with what has moved since."
    ),
    stack=True,
    options=[
        YES,
        *SELECTING,
        Option("--no-wait", help="do not wait until what was started is healthy"),
        Option(
            "--timeout",
            metavar="SECONDS",
            convert=seconds,
            help="how long a resource may take to become healthy or completed (default: 5m)",
        ),
        ALLOW_DATA_LOSS,
        LOCK_TIMEOUT,
    ],
    arguments=[Argument("FILE", help="a saved plan", optional=True, words="file")],
    examples=[
        ("stackpy apply", "shows the plan, asks, does it"),
        ("stackpy apply shop.plan", "just what `stackpy plan --out shop.plan` has shown"),
        ("stackpy apply --yes --set replicas=3", "from a script"),
    ],
)
