"""stackpy create."""

from __future__ import annotations

from stackpy.cli.commands.run import ARGUMENTS, OPTIONS, configuration, created
from stackpy.cli.grammar import Command
from stackpy.cli.run_refusals import REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Makes the container and prints its ID."""
    document = configuration(context, arguments)
    print(created(context, arguments, document))
    return 0


COMMAND = Command(
    "create",
    "Make a container from an image without starting it",
    run,
    details="It takes what `run` takes; `stackpy start` starts it.",
    options=[option for option in OPTIONS if option.key not in ("detach", "no_deps")],
    arguments=ARGUMENTS,
    refused=REFUSED,
    examples=[("stackpy create --name web -p 8080:80 shop/web", "then `stackpy start web`")],
)
