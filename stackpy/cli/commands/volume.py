"""stackpy volume ls, inspect, create, rm."""

from __future__ import annotations

from stackpy.cli import formats
from stackpy.cli.failures import for_each
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.rows import column, print_rows
from stackpy.errors import UsageError

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


def create(context: Context, arguments: Any) -> int:
    """Makes a volume, and prints its name; one that is there stays as it is."""
    from stackpy.cli.run_config import parsed
    from stackpy.dsl import values

    if arguments.driver not in (None, "local"):
        raise UsageError(f"`--driver {arguments.driver}`: volumes are folders of this host", hint="leave it out")
    name = arguments.volume and parsed("volume create", values.resource_name, arguments.volume)
    print(context.engine().volume_create(name or "", parsed("--label", values.labels, arguments.label)))
    return 0


def remove(context: Context, arguments: Any) -> int:
    """Removes volumes with what is in them; goes on behind one that fails."""
    engine = context.engine()

    def gone(name: str) -> None:
        engine.volume_remove(name, arguments.force)
        print(name)

    return for_each(arguments.volume, gone)


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
_REFUSED = (
    "--availability --group --limit-bytes -o --opt --required-bytes --scope --secret --sharing --topology-preferred "
    "--topology-required --type"
).split()
CREATE = Command(
    "volume create",
    "Make a volume",
    create,
    options=[
        Option("--label", metavar="KEY=VALUE", many=True, help="a label"),
        Option("-d", "--driver", metavar="DRIVER", help="local, which is the only one"),
    ],
    arguments=[Argument("VOLUME", help="its name (default: one made up)", optional=True)],
    examples=[("stackpy volume create --label team=shop data", "`run -v data:/data` makes it too, without labels")],
    refused=dict.fromkeys(_REFUSED, ("volumes are folders of this host", "leave it out")),
)
RM = Command(
    "volume rm",
    "Remove volumes and the data in them",
    remove,
    options=[Option("-f", "--force", help="no error when there is no such volume")],
    arguments=[_VOLUME],
    examples=[("stackpy volume rm shop_data", "refused while a container uses it")],
)
