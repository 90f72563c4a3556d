"""stackpy lock."""

from __future__ import annotations

from stackpy import pins
from stackpy.cli import locking, stacks, terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Writes stackpy.lock for the stack's images, or moves it to what their tags name now."""
    from stackpy.dsl.references import with_tag
    from stackpy.dsl.values import meant

    if arguments.name and not arguments.update:
        raise UsageError("names are for `--update`", hint=f"stackpy lock --update {' '.join(arguments.name)}")
    project = context.load()
    desired = context.engine().resolve(project.stack, project.secrets)
    names = frozenset(with_tag(name) for name in arguments.name)
    for name in sorted(names - desired.locked.keys()):
        raise StackpyError(
            f"the stack takes no image `{name}` from a registry",
            hint=meant(name, desired.locked, "`stackpy plan` shows which images it has"),
        )
    news = list(locking.moved(context, desired, names)) if arguments.update else []
    old = project.stack.pins
    new = locking.updated(old, desired.locked, news)
    if new != old:
        pins.write(project.stack.folder, new)
    if context.json:
        terminal.print_json(new)
        return 0
    for one in news:
        print(locking.moved_text(*one))
    added = [name for name in new if name not in old]
    for name in added:
        if not any(name == one[0] for one in news):
            print(f"{name}: {', '.join(f'{platform} {digest[:19]}' for platform, digest in new[name].items())}")
    for name in old:
        if name not in new:
            print(f"{name}: no longer used")
    if new == old:
        stacks.say(context, "nothing has moved" if arguments.update else f"{pins.FILE} is as it should be")
    return 0


COMMAND = Command(
    "lock",
    "Pin the images that the stack stands on, or move the pins",
    run,
    details=(
        "stackpy.lock says which digest each tag of a registry stands for, so that every apply of the stack, on any\n"
        "machine, takes the same images. The first apply writes it; only `lock --update` moves it. It belongs into\n"
        "version control."
    ),
    stack=True,
    options=[Option("-u", "--update", help="take what the tags name now; of the named images alone")],
    arguments=[Argument("NAME", help="an image as the stack names it", many=True, optional=True, words="image")],
    examples=[
        ("stackpy lock", "pin what is not pinned, without applying"),
        ("stackpy lock --update", "take the newest of everything; `stackpy plan` shows what comes of it"),
        ("stackpy lock --update debian:bookworm", "of one image"),
    ],
)
