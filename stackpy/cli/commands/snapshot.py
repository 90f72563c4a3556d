"""stackpy commit, diff, export, import; image import."""

from __future__ import annotations

import sys

from stackpy.cli import archives, naming, terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def commit(context: Context, arguments: Any) -> int:
    """Makes an image of a container and prints its ID."""
    image = context.engine().commit(
        naming.one(context, arguments.container),
        reference=arguments.image or "",
        instructions=arguments.change,
        message=arguments.message or "",
        author=arguments.author or "",
        pause=arguments.pause == "true",
    )
    print(image["id"])
    return 0


def diff(context: Context, arguments: Any) -> int:
    """Lists what a container has changed, as docker does: `C /etc`, `A /etc/new`, `D /etc/old`."""
    rows = context.engine().differences(naming.one(context, arguments.container))
    if context.json:
        terminal.print_json(rows)
    else:
        from stackpy.planning.quantities import printable

        for row in rows:
            path = row["path"].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            # A name that a program has chosen: neither a line of its own nor words for a terminal.
            print(row["kind"], printable(path))
    return 0


def export(context: Context, arguments: Any) -> int:
    """Writes a container's tree as a tar."""
    name = naming.one(context, arguments.container)
    with archives.output(arguments.output) as out:
        context.engine().container_export(name, out)
    return 0


def import_(context: Context, arguments: Any) -> int:
    """Makes an image of a tar and prints its ID."""
    if arguments.file == "-" and sys.stdin.isatty():
        raise UsageError("a tar is not read from a terminal", hint="name a file, or redirect the input")
    image = context.engine().image_import(
        arguments.file,
        reference=arguments.image or "",
        instructions=arguments.change,
        message=arguments.message or f"Imported from {arguments.file}",
        platform=arguments.platform or "",
    )
    print(image["id"])
    return 0


_CHANGE = Option(
    "-c",
    "--change",
    metavar="INSTRUCTION",
    many=True,
    help="a Dockerfile instruction for its configuration: 'CMD [\"sh\"]'",
)
_MESSAGE = Option("-m", "--message", metavar="TEXT", help="a comment for its history")
_CONTAINER = Argument("CONTAINER", help="a resource, name or ID", words="container")

COMMIT = Command(
    "commit",
    "Make an image of a container and what it has written",
    commit,
    details="Volumes, binds and secrets that are mounted in it do not get into the image.",
    options=[
        Option("-a", "--author", metavar="NAME", help="who made it"),
        _CHANGE,
        _MESSAGE,
        Option(
            "-p",
            "--pause",
            metavar="BOOL",
            choices=("true", "false"),
            default="true",
            help="whether it stands still meanwhile (default: true)",
        ),
    ],
    arguments=[_CONTAINER, Argument("IMAGE", help="the image's name", optional=True)],
    examples=[("stackpy commit -c 'CMD [\"server\"]' trial shop/trial:1", "what was tried by hand, as an image")],
)
DIFF = Command(
    "diff",
    "List what a container has added (A), changed (C) and deleted (D) in its image's files",
    diff,
    arguments=[_CONTAINER],
    examples=[("stackpy diff web", "what it writes that no volume keeps")],
)
EXPORT = Command(
    "export",
    "Write a container's files as a tar",
    export,
    details="What is mounted in it is left out.",
    options=[Option("-o", "--output", metavar="FILE", help="the file (default: standard output)", words="file")],
    arguments=[_CONTAINER],
    examples=[("stackpy export -o web.tar web", "all of its files, without history or configuration")],
)


def _import(name: str) -> Command:
    return Command(
        name,
        "Make an image of the files in a tar",
        import_,
        options=[
            _CHANGE,
            _MESSAGE,
            Option("--platform", metavar="PLATFORM", help="what it runs on, as in linux/arm64 (default: this machine)"),
        ],
        arguments=[
            Argument("FILE", help="a tar, plain or compressed; a URL; `-` is standard input", words="file"),
            Argument("IMAGE", help="the image's name", optional=True),
        ],
        examples=[(f"stackpy {name} -c 'CMD [\"sh\"]' rootfs.tar.gz mine:1", "a root file system made elsewhere")],
    )


IMPORT, IMAGE_IMPORT = _import("import"), _import("image import")
