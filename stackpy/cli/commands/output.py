"""stackpy output."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what the last apply put out."""
    context.read_only = True
    name = arguments.stack or context.stack_name()
    if not name:
        raise UsageError("there is no stack file here", hint="change to the stack's folder, or give it with -f")
    if not arguments.stack and (guess := context.guess_text()):
        terminal.note(guess)
    recorded = context.engine().recorded(name)
    if recorded is None:
        raise StackpyError(f"the stack `{name}` has not been applied yet", hint="`stackpy apply` does it")
    outputs = recorded.get("outputs", {})
    form = arguments.format or context.globals.format
    if arguments.name is not None:
        if arguments.name not in outputs:
            from stackpy.dsl.values import meant

            known = ", ".join(f"`{key}`" for key in outputs)
            raise StackpyError(
                f"the stack `{name}` has no output `{arguments.name}`",
                hint=meant(arguments.name, outputs, f"it has {known}" if known else "it declares no outputs"),
            )
        if form == "json":
            terminal.print_json(outputs[arguments.name])
            return 0
        if form == "text":
            print(text(outputs[arguments.name]))
            return 0
        outputs = {arguments.name: outputs[arguments.name]}
    if form == "json":
        terminal.print_json(outputs)
    elif form == "text":
        for key, value in outputs.items():
            print(f"{key} = {text(value)}")
    else:
        for line in variables(outputs, shell=form == "shell"):
            print(line)
    return 0


def text(value: Any) -> str:
    """An output as a shell wants it: text as it is, everything else as JSON; of what is not known, nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    import json

    return json.dumps(value, ensure_ascii=False)


def variables(outputs: Mapping[str, Any], *, shell: bool) -> list[str]:
    """Outputs as variables, named in capitals.

    shell: `export URL='http://…'`, for `eval "$(stackpy output --format shell)"` in any POSIX shell; otherwise
        `URL=http://…`, as files for env_file and `run --env-file` have it, where a value is literal and one line long

    Raises StackpyError where two outputs have one name, or a value cannot be written.
    """
    names: dict[str, str] = {}
    lines = []
    for output, value in outputs.items():
        name = "".join(char if char.isascii() and char.isalnum() else "_" for char in output).upper()
        name = f"_{name}" if name[0].isdigit() else name
        if name in names:
            raise StackpyError(f"outputs `{names[name]}` and `{output}` would both be the variable {name}")
        names[name] = output
        content = text(value)
        if "\0" in content:
            raise StackpyError(f"output `{output}` holds a NUL, which no variable can")
        if shell:
            quoted = content.replace("'", "'\\''")
            lines.append(f"export {name}='{quoted}'")
        elif "\n" in content or "\r" in content:
            raise StackpyError(
                f"output `{output}` has more than one line, which no environment file can hold",
                hint="use --format shell or json",
            )
        else:
            lines.append(f"{name}={content}")
    return lines


COMMAND = Command(
    "output",
    "Print the outputs of the last apply",
    run,
    stack=True,
    options=[
        Option("--stack", metavar="NAME", help="of a stack by name; no stack file is needed", words="stack"),
        Option(
            "--format",
            metavar="FORMAT",
            choices=("text", "json", "env", "shell"),
            help="text, json, env (an environment file), or shell (to be evaluated)",
        ),
    ],
    arguments=[Argument("NAME", help="one of them (default: all)", optional=True)],
    examples=[
        ("curl $(stackpy output url)", "one value, as it is"),
        ('eval "$(stackpy output --format shell)"', "all, as variables of the shell"),
        ("stackpy output --format env > .env", "for env_file and `run --env-file`"),
    ],
)
