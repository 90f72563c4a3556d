"""stackpy image ls, inspect, rm."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.failures import print_error
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.rows import print_rows
from stackpy.errors import StackpyError

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


_COLUMNS = (
    ("REFERENCE", lambda row: row["reference"] or "<none>"),
    ("ID", lambda row: short(row["id"])),
    ("SIZE", lambda row: terminal.size(row["size"])),
    ("CREATED", lambda row: age(row["created"])),
)


def list_images(context: Context, arguments: Any) -> int:
    """Lists the store's images."""
    rows = context.engine().images()
    return print_rows(context, rows, _COLUMNS, quiet=arguments.quiet, name=lambda row: short(row["id"]))


def inspect(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's image documents."""
    terminal.print_json([context.engine().image_inspect(name) for name in arguments.image])
    return 0


def remove(context: Context, arguments: Any) -> int:
    """Untags and removes images; goes on behind one that fails."""
    engine, failed = context.engine(), False
    for name in arguments.image:
        try:
            for line in engine.image_remove(name, arguments.force):
                print(line)
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = True
    return int(failed)


_IMAGE = Argument("IMAGE", help="a reference or ID", many=True, words="image")
LS = Command(
    "image ls",
    "List the images in the store",
    list_images,
    options=[Option("-q", "--quiet", help="only their IDs")],
    examples=[("stackpy image ls", "what `run` and `Image(...)` can use")],
)
INSPECT = Command(
    "image inspect",
    "Show everything about images, as JSON in Docker's shape",
    inspect,
    arguments=[_IMAGE],
    examples=[("stackpy image inspect shop/web", "its configuration, layers and labels")],
)
RM = Command(
    "image rm",
    "Untag images, and remove those that nothing names or uses",
    remove,
    options=[Option("-f", "--force", help="remove it although several names or ended containers hold it")],
    arguments=[_IMAGE],
    examples=[("stackpy image rm shop/web", "the layers that nothing else uses go too")],
)
