"""What the stack commands share: the lock, the question, progress, and how an apply ends."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from typing import Any

    from stackpy.applying import Interrupts, Outcome
    from stackpy.cli.context import Context, Planned
    from stackpy.engines.events import Report
    from stackpy.planning.plan import Plan

INTERRUPTED = 130


def locked(context: Context, stack: str, command: str, timeout: float | None) -> Any:
    """Holds the stack while the block runs; says for whom it waits."""
    return context.engine().lock(
        stack, f"stackpy {command}", timeout, lambda holder: terminal.note(f"waiting for {holder}")
    )


def say_who_changes(context: Context, stack: str) -> None:
    """Whoever only looks waits for nobody; but what is seen while somebody changes it is a moment's."""
    if holder := context.engine().held_by(stack):
        say(context, f"this stack is being changed by {holder}: this is how it stands at this moment")


def say(context: Context, text: str) -> None:
    """A line of news, unless --quiet."""
    if not context.globals.quiet:
        terminal.note(text)


def show_before(plan: Plan, context: Context, *, yes: bool) -> None:
    """The plan that is about to be executed; with --quiet only where somebody is asked to agree to it."""
    from stackpy.cli.commands.plan import show

    if not (context.globals.quiet and yes):
        with context.times("render"):
            show(plan, context.globals.format)
            sys.stdout.flush()
    if context.globals.verbose:
        terminal.note(context.times.text())


def agree(question: str, yes: bool) -> None:
    """Asks; returns when the answer is yes. Raises StackpyError when it is not, or when there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise StackpyError("there is no terminal to ask on, and nothing was changed", hint="add `--yes`")
    sys.stderr.write(f"\n{terminal.paint(question, '1', sys.stderr)} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        terminal.note("")  # Ctrl-D leaves the cursor behind the question
    if answer.strip().lower() not in ("y", "yes"):
        raise StackpyError("not confirmed, and nothing was changed")


def agree_to_loss(plan: Plan, allowed: Iterable[str]) -> None:
    """Has each address typed whose data the plan deletes, unless it is named already.

    allowed: of --allow-data-loss. Raises StackpyError where another is typed, or where there is nobody to ask.
    """
    from stackpy.planning import data_loss

    left = data_loss.unconfirmed(plan.changes, list(allowed))
    if not left:
        return
    if not sys.stdin.isatty():
        raise data_loss.refuse(left)
    for change in left:
        assert change.data is not None
        question = f"{change.address} {data_loss.text(change.data)}"
        sys.stderr.write(f"\n{terminal.paint(question, '1;31', sys.stderr)}\ntype its address to go on: ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            terminal.note("")
        if answer.strip() != change.address:
            raise StackpyError("not confirmed, and nothing was changed")


def execute(
    context: Context, planned: Planned, heard: Callable[[Report], Report] = lambda report: report, **options: Any
) -> int:
    """Makes a plan true, showing its progress on stderr; returns the exit code.

    heard: listens to what is reported
    options: as of applying.execute
    """
    from stackpy.applying import execute as apply

    return _carry_out(
        context,
        lambda report, interrupts: apply(
            planned.plan,
            planned.desired,
            planned.project.secrets,
            context.engine(),
            report=heard(report),
            interrupts=interrupts,
            **options,
        ),
    )


def destroy(context: Context, plan: Plan) -> int:
    """Makes a plan of deletions true, as `execute` does."""
    from stackpy.applying import destroy as remove

    return _carry_out(
        context,
        lambda report, interrupts: remove(plan, context.engine(), report=report, interrupts=interrupts),
    )


def _carry_out(context: Context, act: Callable[[Report, Interrupts], Outcome]) -> int:
    from stackpy.applying import Interrupts, outcome_text

    with Interrupts(_tell) as interrupts, progress(context) as report:
        outcome = act(report, interrupts)
    if outcome.plan.changes:
        say(context, outcome_text(outcome))
    return INTERRUPTED if outcome.interrupted else 0


def progress(context: Context) -> AbstractContextManager[Report]:
    """Shows the events of an apply on stderr: live on a terminal, else a line each; nothing with --quiet."""
    if context.globals.quiet:
        from contextlib import nullcontext

        return nullcontext(lambda event: None)
    from stackpy.render import progress as shown

    live = terminal.is_terminal(sys.stderr) and not context.plain
    return shown.progress(sys.stderr, live=live, colour=terminal.has_colour(sys.stderr))


def _tell(count: int) -> None:
    """What an interrupt means; runs in a signal handler, so it writes to the descriptor."""
    import os

    text = "stopping after the running actions; once more stops at once" if count == 1 else "stopping at once"
    os.write(2, f"\n{text}\n".encode())
