"""stackpy network ls, inspect."""

from __future__ import annotations

from stackpy.cli import formats
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.rows import column, print_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


_COLUMNS = (
    column("NAME", "name"),
    column("DRIVER", "driver"),
    column("SUBNET", "subnet"),
    ("SCOPE", lambda row: "internal" if row.get("internal") else ""),
    column("STACK", "stack"),
    column("RESOURCE", "resource"),
)


def list_networks(context: Context, arguments: Any) -> int:
    """Lists the engine's networks."""

    def templated() -> Any:
        from stackpy.cli import listing_rows

        return listing_rows.network, listing_rows.NETWORK_HEADS

    rows = context.engine().networks()
    return print_rows(context, rows, _COLUMNS, quiet=arguments.quiet, form=arguments.format, templated=templated)


def inspect(context: Context, arguments: Any) -> int:
    """Prints an array of Docker's network documents, or what a template says of each."""
    engine = context.engine()
    return formats.print_documents(
        context, arguments.format, [engine.network_inspect(name) for name in arguments.network]
    )


LS = Command(
    "network ls",
    "List the networks of the engine",
    list_networks,
    options=[formats.option(), Option("-q", "--quiet", help="only their names")],
    examples=[("stackpy network ls --format json", "as one JSON document")],
)
INSPECT = Command(
    "network inspect",
    "Show everything about networks, as JSON in Docker's shape",
    inspect,
    options=[formats.option("-f", "--format")],
    arguments=[Argument("NETWORK", help="a name or ID", many=True, words="network")],
    examples=[
        ("stackpy network inspect shop_default", "its subnet and who is on it"),
        ("stackpy network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' shop_default", "its subnet"),
    ],
)
