"""stackpy image ls, inspect, rm."""

from __future__ import annotations

from stackpy.cli import formats, terminal
from stackpy.cli.failures import for_each
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.rows import print_rows
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

SHORT_ID = 12


def short(image_id: str) -> str:
    """An image ID as listings show it."""
    return image_id.removeprefix("sha256:")[:SHORT_ID]


def age(date: str) -> str:
    """How long ago a date is, for people; `N/A`, as docker has it, for an image that has none."""
    import time

    from stackpy.engines.listings import period
    from stackpy.engines.observation import seconds

    try:
        moment = seconds(date)
    except ValueError:
        return "N/A"  # an archive may hold any text
    return f"{period(time.time() - moment)} ago" if moment > 0 else "N/A"


def list_images(context: Context, arguments: Any) -> int:
    """Lists the store's images."""
    try:
        rows = context.engine().images(arguments.name or "", [_pair(text) for text in arguments.filter])
    except ValueError as error:
        raise UsageError(f"`--filter {' '.join(arguments.filter)}`: {error}") from None

    def identity(row: Any) -> str:
        return str(row["id"]) if arguments.no_trunc else short(row["id"])

    columns = [
        ("REFERENCE", lambda row: row["reference"] or "<none>"),
        *([("DIGEST", lambda row: row["digest"] or "<none>")] if arguments.digests else []),
        ("ID", identity),
        ("SIZE", lambda row: terminal.size(row["size"])),
        ("CREATED", lambda row: age(row["created"])),
    ]

    def templated() -> Any:
        from stackpy.cli import listing_rows

        return lambda row: listing_rows.image(row, whole=arguments.no_trunc), listing_rows.IMAGE_HEADS

    return print_rows(
        context,
        rows,
        columns,
        quiet=arguments.quiet,
        name=identity,
        form=arguments.format,
        templated=templated,
    )


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if key == "until" and value:
        from stackpy.cli.quantities import moment

        return key, moment(value)
    return key, value


def inspect(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's image documents, or what a template says of each."""
    engine = context.engine()
    return formats.print_documents(context, arguments.format, [engine.image_inspect(name) for name in arguments.image])


def remove(context: Context, arguments: Any) -> int:
    """Untags and removes images; goes on behind one that fails."""
    engine = context.engine()

    def gone(name: str) -> None:
        for line in engine.image_remove(name, arguments.force):
            print(f"{line[:1].upper()}{line[1:]}")  # as docker's, whose prune has the same words in lower case

    return for_each(arguments.image, gone)


_IMAGE = Argument("IMAGE", help="a reference or ID", many=True, words="image")
LS = Command(
    "image ls",
    "List the images in the store",
    list_images,
    options=[
        Option("-a", "--all", help="as without it: no image is hidden"),
        Option("--digests", help="also the digests of their manifests in registries"),
        Option(
            "-f",
            "--filter",
            metavar="FILTER",
            many=True,
            help="dangling=true, label=KEY[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE, until=24h",
        ),
        formats.option(),
        Option("--no-trunc", help="whole IDs"),
        Option("-q", "--quiet", help="only their IDs"),
    ],
    arguments=[Argument("NAME", help="a name, with or without tag, or a pattern of names", optional=True)],
    examples=[
        ("stackpy image ls", "what `run` and `Image(...)` can use"),
        ("stackpy image ls 'shop/*'", "those of the stack `shop`"),
    ],
)
INSPECT = Command(
    "image inspect",
    "Show everything about images, as JSON in Docker's shape",
    inspect,
    options=[formats.option("-f", "--format")],
    arguments=[_IMAGE],
    examples=[
        ("stackpy image inspect shop/web", "its configuration, layers and labels"),
        ("stackpy image inspect -f '{{json .Config.Labels}}' shop/web", "its labels, as JSON"),
    ],
)
RM = Command(
    "image rm",
    "Untag images, and remove those that nothing names or uses",
    remove,
    options=[Option("-f", "--force", help="remove it although several names or ended containers hold it")],
    arguments=[_IMAGE],
    examples=[("stackpy image rm shop/web", "the layers that nothing else uses go too")],
)
