"""stackpy output."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what the last apply put out."""
    name = context.stack_name()
    if not name:
        raise UsageError("there is no stack file here", hint="change to the stack's folder, or give it with -f")
    recorded = context.engine().recorded(name)
    if recorded is None:
        raise StackpyError(f"the stack `{name}` has not been applied yet", hint="`stackpy apply` does it")
    outputs = recorded.get("outputs", {})
    if arguments.name is None:
        if context.json:
            terminal.print_json(outputs)
        else:
            for key, value in outputs.items():
                print(f"{key} = {text(value)}")
        return 0
    if arguments.name not in outputs:
        from stackpy.dsl.values import meant

        known = ", ".join(f"`{key}`" for key in outputs)
        raise StackpyError(
            f"the stack `{name}` has no output `{arguments.name}`",
            hint=meant(arguments.name, outputs, f"it has {known}" if known else "it declares no outputs"),
        )
    if context.json:
        terminal.print_json(outputs[arguments.name])
    else:
        print(text(outputs[arguments.name]))
    return 0


def text(value: Any) -> str:
    """An output as a shell wants it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False)


COMMAND = Command(
    "output",
    "Print the outputs of the last apply",
    run,
    stack=True,
    arguments=[Argument("NAME", help="one of them (default: all)", optional=True)],
    examples=[("curl $(stackpy output url)", "one value, as it is"), ("stackpy output --format json", "all of them")],
)
