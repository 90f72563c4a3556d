"""stackpy volume ls, inspect, rm."""

from __future__ import annotations

from stackpy.cli import formats
from stackpy.cli.failures import print_error
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.rows import column, print_rows
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


_COLUMNS = (
    column("NAME", "name"),
    column("DRIVER", "driver"),
    column("STACK", "stack"),
    column("RESOURCE", "resource"),
    ("SNAPSHOTS", lambda row: str(row["snapshots"] or "")),
)


def list_volumes(context: Context, arguments: Any) -> int:
    """Lists the engine's volumes."""

    def templated() -> Any:
        from stackpy.cli import listing_rows

        return listing_rows.volume, listing_rows.VOLUME_HEADS

    rows = context.engine().volumes()
    return print_rows(context, rows, _COLUMNS, quiet=arguments.quiet, form=arguments.format, templated=templated)


def inspect(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's volume documents, or what a template says of each."""
    engine = context.engine()
    return formats.print_documents(
        context, arguments.format, [engine.volume_inspect(name) for name in arguments.volume]
    )


def remove(context: Context, arguments: Any) -> int:
    """Removes volumes with what is in them; goes on behind one that fails."""
    engine, failed = context.engine(), False
    for name in arguments.volume:
        try:
            engine.volume_remove(name, arguments.force)
            print(name)
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = True
    return int(failed)


_VOLUME = Argument("VOLUME", help="a name", many=True, words="volume")
LS = Command(
    "volume ls",
    "List the volumes of the engine",
    list_volumes,
    options=[formats.option(), Option("-q", "--quiet", help="only their names")],
    examples=[("stackpy volume ls", "also those that `destroy` has kept")],
)
INSPECT = Command(
    "volume inspect",
    "Show everything about volumes, as JSON in Docker's shape",
    inspect,
    options=[formats.option("-f", "--format")],
    arguments=[_VOLUME],
    examples=[
        ("stackpy volume inspect shop_data", "where its files lie, and its labels"),
        ("stackpy volume inspect -f '{{.Mountpoint}}' shop_data", "where its files lie"),
    ],
)
RM = Command(
    "volume rm",
    "Remove volumes and the data in them",
    remove,
    options=[Option("-f", "--force", help="no error when there is no such volume")],
    arguments=[_VOLUME],
    examples=[("stackpy volume rm shop_data", "refused while a container uses it")],
)
