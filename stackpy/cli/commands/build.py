"""stackpy build."""

from __future__ import annotations

from stackpy.cli import stacks
from stackpy.cli.commands.apply import LOCK_TIMEOUT
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Builds the stack's images that are not built, or those named."""
    stack = context.load().stack
    known = [address for address in stack.resources if address.startswith("image.")]
    wanted = [_address(name, known) for name in arguments.image] or known
    if not wanted:
        raise StackpyError(f"the stack `{stack.name}` has no images", hint="declare one: Image.host(...), for example")
    with stacks.locked(context, stack.name, "build", arguments.lock_timeout):
        planned = context.plan(wanted)
        return stacks.execute(context, planned)


def _address(name: str, known: list[str]) -> str:
    address = name if name.startswith("image.") else f"image.{name}"
    if address in known:
        return address
    from stackpy.dsl.values import meant

    names = [each.removeprefix("image.") for each in known]
    raise StackpyError(
        f"the stack has no image `{name}`",
        hint=meant(name, names, f"it has {', '.join(f'`{each}`' for each in names)}"),
    )


COMMAND = Command(
    "build",
    "Build images of the stack without applying it",
    run,
    stack=True,
    options=[LOCK_TIMEOUT],
    arguments=[Argument("IMAGE", help="a name or address (default: all)", many=True, optional=True, words="resource")],
    examples=[
        ("stackpy build", "every image; what is built already costs nothing"),
        ("stackpy build web", "one of them"),
    ],
)
