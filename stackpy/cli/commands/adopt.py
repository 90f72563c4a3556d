"""stackpy adopt."""

from __future__ import annotations

from stackpy.cli import stacks
from stackpy.cli.changing_options import LOCK_TIMEOUT
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context
    from stackpy.dsl.specs import Spec

KINDS = ("container", "network", "volume")


def run(context: Context, arguments: Any) -> int:
    """Takes it in, and shows what still differs from the stack file."""
    from stackpy.applying import circumstances
    from stackpy.cli.commands.plan import show

    stack = context.load().stack
    spec = _resource(stack.resources, arguments.address)
    with stacks.locked(context, stack.name, "adopt", arguments.lock_timeout):
        told = {"by": circumstances.user(), "revision": circumstances.revision(stack.folder)}
        name = context.engine().adopt(stack, spec, arguments.name, told)
        stacks.say(context, f"`{arguments.name}` is {spec.address} of {stack.name} now, as `{name}`")
        plan = context.plan().plan
        own = plan._replace(
            changes=tuple(change for change in plan.changes if change.address == spec.address), notes=(), refusals=()
        )
        if context.json:
            show(own, context.globals.format)
        elif own.changes:
            stacks.say(context, "what differs from the stack file, and `stackpy apply` would change:\n")
            show(own, context.globals.format)
        else:
            stacks.say(context, "nothing differs from the stack file")
    return 0


def _resource(resources: Any, address: str) -> Spec:
    from stackpy.dsl.values import meant

    known = [known for known in resources if known.partition(".")[0] in KINDS]
    if address in known:
        found: Spec = resources[address]
        return found
    kind, _, name = address.partition(".")
    if address in resources:
        raise UsageError(f"a {kind} cannot be adopted", hint="containers, networks and volumes can")
    if kind in KINDS and name:
        hint = meant(address, known, f'declare it in the stack file first: {kind.capitalize()}("{name}")')
        raise StackpyError(f"no resource `{address}` in this stack", hint=hint)
    near = [each for each in known if each.partition(".")[2] == address]
    hint = f"did you mean `{near[0]}`?" if near else "an address is KIND.NAME: container.web, network.back, volume.data"
    raise UsageError(f"`{address}` is not an address of this stack", hint=hint)


COMMAND = Command(
    "adopt",
    "Take a container, network or volume that exists into the stack",
    run,
    details=(
        "It gets the stack's name and labels, goes on running as it is, and is shown with what differs from the stack\n"
        "file. What is a resource of a stack already is left alone."
    ),
    stack=True,
    options=[LOCK_TIMEOUT],
    arguments=[
        Argument("ADDRESS", help="the resource that it becomes: volume.data", words="resource"),
        Argument("NAME", help="its name on the engine now"),
    ],
    examples=[
        ("stackpy adopt volume.data old_data", "the data stays where it is"),
        ("stackpy adopt container.web nginx", "`docker run` by hand, a stack from now on"),
    ],
)
