"""stackpy image history, tag."""

from __future__ import annotations

from stackpy.cli import formats, listing_rows, terminal
from stackpy.cli.commands.image import short
from stackpy.cli.grammar import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

_WIDTH = 45  # docker's


def history(context: Context, arguments: Any) -> int:
    """Lists an image's steps, the last first, in docker's columns."""
    template = formats.chosen(context, arguments.format)
    rows = context.engine().image_history(arguments.image)
    if context.json:
        terminal.print_json(rows)
        return 0

    if arguments.quiet:
        for row in rows:
            print((row["id"] if arguments.no_trunc else short(row["id"])) or "<missing>")
        return 0
    human, fields = arguments.human != "false", []
    for row in rows:
        line = " ".join(row["created_by"].split())
        if not arguments.no_trunc and len(line) > _WIDTH:
            line = line[: _WIDTH - 1] + "…"
        fields.append(listing_rows.step(row, line, whole=arguments.no_trunc, human=human))
    if template:
        return formats.print_templated(template, fields, listing_rows.HISTORY_HEADS)
    shown_keys = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    heads = [listing_rows.HISTORY_HEADS[key] for key in shown_keys]
    terminal.print_table(heads, [[each[key] for key in shown_keys] for each in fields])
    return 0


def tag(context: Context, arguments: Any) -> int:
    """Gives an image another name."""
    context.engine().image_tag(arguments.source, arguments.target)
    return 0


HISTORY = Command(
    "image history",
    "Show how an image came about, the last step first",
    history,
    options=[
        formats.option(),
        Option("--no-trunc", help="whole IDs and whole steps"),
        Option("-q", "--quiet", help="only the IDs"),
        Option(
            "-H", "--human", metavar="BOOL", choices=("true", "false"), default="true", help="sizes and ages in words"
        ),
    ],
    arguments=[Argument("IMAGE", help="a reference or ID", words="image")],
    examples=[("stackpy image history --no-trunc shop/web", "every step with what it added")],
)


def _tag(name: str) -> Command:
    return Command(
        name,
        "Give an image another name",
        tag,
        arguments=[
            Argument("SOURCE", help="a reference or ID", words="image"),
            Argument("TARGET", help="the new reference; it is taken from the image that has it"),
        ],
        examples=[(f"stackpy {name} shop/web registry.example/shop/web:1.4", "before a push, for example")],
    )


TAG, IMAGE_TAG = _tag("tag"), _tag("image tag")
