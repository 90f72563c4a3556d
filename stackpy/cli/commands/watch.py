"""stackpy watch."""

from __future__ import annotations

import os

from stackpy.cli.grammar import Command, Option
from stackpy.cli.quantities import seconds
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context
    from stackpy.project.loader import Loaded


def run(context: Context, arguments: Any) -> int:
    """Applies now and after each change of what the stack file reads, until it is interrupted."""
    from stackpy.applying import DEFAULT_TIMEOUT
    from stackpy.applying.turn import Stopper
    from stackpy.cli.loop_view import LoopView
    from stackpy.watching import watch

    stopper = Stopper()
    with stopper:
        watch(
            lambda: _keeping(context.reload()),
            context.engine(),
            LoopView(context),
            stopper,
            files=_files(context),
            timeout=DEFAULT_TIMEOUT if arguments.timeout is None else arguments.timeout,
        )
    return 0


def _keeping(project: Loaded) -> Loaded:
    """The project without its `[cache] to`: what is built on every save is nobody else's yet."""
    return project._replace(stack=project.stack._replace(cache_to=()))


def _files(context: Context) -> list[str]:
    """The stack file and its settings: watched even while they cannot be loaded."""
    from stackpy.project.settings import FILE, settings

    given = context.globals.file
    folder = os.path.dirname(os.path.abspath(given or "stack.py"))
    try:
        named = given or settings(folder).file
    except StackpyError:
        named = "stack.py"  # stackpy.toml is wrong, which the first load says
    path = os.path.normpath(os.path.join(folder, os.path.abspath(named) if given else named))
    if not os.path.exists(path):
        raise StackpyError(f"no stack file {path}", hint="`stackpy init` writes one, `-f FILE` names another")
    return [path, os.path.join(folder, FILE)]


COMMAND = Command(
    "watch",
    "Apply now and after every save, until interrupted",
    run,
    details=(
        "Watches the stack file, its modules and templates and whatever images copy. Never asks. A mistake in the\n"
        "stack file leaves everything running, and the next save recovers. Ctrl-C leaves the containers running too."
    ),
    stack=True,
    options=[
        Option(
            "--timeout",
            metavar="SECONDS",
            convert=seconds,
            help="how long a resource may take to become healthy or completed (default: 5m)",
        )
    ],
    examples=[("stackpy watch", "keeps this machine in step with the files being edited")],
)
