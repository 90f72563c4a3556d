"""stackpy wait."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.failures import print_error
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context, Engine

# Docker's API has the first three, podman's command the others.
CONDITIONS = ("not-running", "next-exit", "removed", "running", "healthy")


def run(context: Context, arguments: Any) -> int:
    """Prints the exit code of each container once it has one, in the order asked for; 1 if one could not be waited for.

    All are waited for at once, so that one that is removed meanwhile is not missed.
    """
    from concurrent.futures import ThreadPoolExecutor  # only here: many may be waited for

    engine, failed = context.engine(), False
    targets: list[str] = []
    for name in arguments.container:
        try:
            targets += naming.containers(context, name)
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = True
    pool = ThreadPoolExecutor(max(len(targets), 1))
    for wait in [pool.submit(_wait, engine, name, arguments.condition) for name in targets]:
        try:
            said = wait.result()
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = True
        else:
            if said is not None:
                print(said, flush=True)
    return int(failed)


def _wait(engine: Engine, name: str, condition: str) -> int | None:
    """The exit code; None for what has not ended."""
    if condition in ("not-running", "next-exit", "removed"):
        return engine.wait_exit(name, condition)
    engine.wait_until(name, "started" if condition == "running" else "healthy")
    return None


COMMAND = Command(
    "wait",
    "Wait until containers have exited, and print their exit codes",
    run,
    options=[
        Option(
            "--condition",
            metavar="CONDITION",
            choices=CONDITIONS,
            default=CONDITIONS[0],
            help=f"{', '.join(CONDITIONS)} (default: {CONDITIONS[0]})",
        )
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy wait migrate", "0 when the job has gone well"),
        ("stackpy wait --condition healthy db && ./load", "once its health check passes"),
    ],
)
