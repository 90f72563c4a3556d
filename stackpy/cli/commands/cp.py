"""stackpy cp."""

from __future__ import annotations

import os
import sys

from stackpy.cli import archives, naming, terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

_PIECE = 1 << 18


class _Input:
    """Our standard input in pieces."""

    def read(self) -> bytes:
        return os.read(0, _PIECE)


def _split(text: str) -> tuple[str, str]:
    """(container, path) of an argument; the container is "" for a path of this host, as docker tells them apart."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or "/" in name:
        return "", text
    return name, path


def run(context: Context, arguments: Any) -> int:
    """Copies, and says on a terminal how much."""
    (source_name, source), (target_name, target) = _split(arguments.source), _split(arguments.destination)
    if source_name and target_name:
        raise UsageError("copying between two containers is not supported", hint="copy by way of this host, or of `-`")
    if not source_name and not target_name:
        raise UsageError(
            "neither SOURCE nor DESTINATION is in a container", hint="write CONTAINER:PATH for one of them"
        )
    name = naming.one(context, source_name or target_name)
    engine = context.engine()
    if source_name and target == "-":
        with archives.output(None) as out:
            engine.archive_out(name, source, out, follow=arguments.follow_link)
        return 0
    if source_name:
        done = engine.copy_out(name, source, target, follow=arguments.follow_link, archive=arguments.archive)
    elif source == "-":
        if sys.stdin.isatty():
            raise UsageError("a tar is not read from a terminal", hint="redirect the input")
        done = engine.archive_into(name, _Input(), target)
    else:
        done = engine.copy_into(name, source, target, follow=arguments.follow_link)
    for path in done["left_out"]:
        terminal.note(f"`{path}` is a device, and was left out")
    if not arguments.quiet and sys.stderr.isatty():
        terminal.note(f"Successfully copied {terminal.size(done['size'])} to {arguments.destination}")
    return 0


COMMAND = Command(
    "cp",
    "Copy files between a container and this host",
    run,
    details=(
        "A path that ends in `/.` means what is in a folder; `-` is a tar on standard input or output. Paths in a\n"
        "container begin at its root. It need not run. Volumes and binds are what they are in the container.\n\n"
        "What comes out is ours (with -a it keeps the IDs of its owners), and never set-id; devices are left out."
    ),
    options=[
        Option("-a", "--archive", help="files keep the IDs of their owners"),
        Option("-L", "--follow-link", help="what a link at the end of SOURCE leads to, not the link"),
        Option("-q", "--quiet", help="do not say how much was copied"),
    ],
    arguments=[
        Argument("SOURCE", help="CONTAINER:PATH, a path of this host, or -", words="file"),
        Argument("DESTINATION", help="a path of this host, -, or CONTAINER:PATH", words="file"),
    ],
    examples=[
        ("stackpy cp web:/var/log/app ./logs", "a folder out of the stack's `web`"),
        ("stackpy cp conf/. web:/etc/app", "what is in a folder, into another"),
        ("stackpy cp db:/backup - | gzip > backup.tar.gz", "as an archive"),
    ],
)
