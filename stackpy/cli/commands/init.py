"""stackpy init."""

from __future__ import annotations

import os

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

DEFAULT = "service"


def run(context: Context, arguments: Any) -> int:
    """Writes the files and says what to do next."""
    from stackpy.cli import scaffolds
    from stackpy.cli.parsing import nearest
    from stackpy.dsl.values import normal_stack_name

    if arguments.template not in scaffolds.names():
        close = nearest(arguments.template, scaffolds.names())
        meant = f"did you mean `{close}`? " if close else ""
        raise UsageError(
            f"there is no template `{arguments.template}`", hint=f"{meant}one of {', '.join(scaffolds.names())}"
        )
    target = arguments.folder or "."
    name = normal_stack_name(os.path.basename(os.path.abspath(target)))
    if not name:
        raise StackpyError(
            f"the name of the folder `{target}` cannot be a stack's name", hint="its name needs a letter or a digit"
        )
    if arguments.only and not arguments.from_running:
        raise UsageError("`--only` says which objects of --from-running", hint="add `--from-running`")
    if arguments.from_running:
        return _from_running(context, arguments, target, name)
    values = {"name": name, "title": name.replace("-", " ").replace("_", " ").capitalize()}
    wanted: dict[str, tuple[str, int]] = {}
    if not (arguments.ci and os.path.exists(os.path.join(target, "stack.py"))):
        wanted |= scaffolds.files("init", arguments.template, values=values)
    if arguments.ci:
        wanted |= scaffolds.files("ci", values=values)
    for path in scaffolds.write(target, wanted):
        print(path)
    if not context.globals.quiet:
        where = f"cd {arguments.folder} && " if arguments.folder else ""
        terminal.note(f"\nnext: {where}stackpy plan    shows what it would do\n      {where}stackpy apply   does it")
    return 0


def _from_running(context: Context, arguments: Any, target: str, name: str) -> int:
    """Writes the stack file of what runs, and says how it is taken in."""
    from stackpy.cli import scaffolds

    context.read_only = True
    found = context.engine().stack_of_running(name, [one for several in arguments.only for one in several.split(",")])
    (path,) = scaffolds.write(target, {"stack.py": (found.text, 0o644)})
    print(path)
    for line in found.left_out:
        terminal.note(f"left out: {line}")
    if not context.globals.quiet and found.adoptions:
        terminal.note("\nnext, to take them into the stack as they run:")
        if arguments.folder:
            terminal.note(f"  cd {arguments.folder}")
        for address, known in found.adoptions:
            terminal.note(f"  stackpy adopt {address} {known}")
        terminal.note("  stackpy plan")
    return 0


COMMAND = Command(
    "init",
    "Write a stack to begin with, or pipelines for it",
    run,
    details=(
        "Templates: service (on this machine's own Python, offline), flask (Debian, Flask, gunicorn).\n"
        "With --ci it adds pipelines for GitHub and GitLab that plan on a change request and apply on merge; where a\n"
        "stack.py is there already it writes these alone. Nothing is ever overwritten."
    ),
    options=[
        Option("-t", "--template", metavar="NAME", default=DEFAULT, help=f"what to begin with (default: {DEFAULT})"),
        Option("--ci", help="pipelines that plan and apply"),
        Option("--from-running", help="the stack of what runs and is no stack's: `stackpy adopt` takes it in"),
        Option(
            "--only",
            metavar="NAME",
            many=True,
            help="with --from-running: these (with commas between), and what they use",
        ),
    ],
    arguments=[Argument("FOLDER", help="where to (default: here)", optional=True, words="folder")],
    examples=[
        ("stackpy init shop", "a new folder with a small web service"),
        ("stackpy init shop --from-running", "a stack.py of what was started by hand"),
        ("stackpy init --ci", "pipelines beside the stack.py of this folder"),
    ],
)
