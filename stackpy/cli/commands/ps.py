"""stackpy ps."""

from __future__ import annotations

from stackpy.cli import formats, terminal
from stackpy.cli.grammar import Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

SHORT_ID = 12  # docker's


def run(context: Context, arguments: Any) -> int:
    """Lists containers."""
    rows = _rows(context, arguments)
    template = formats.chosen(context, arguments.format)
    if arguments.quiet or template:
        # As docker's: scripts take the last container, or all but the last few, from what they read.
        rows = _newest_first(rows)
    if template:
        from stackpy.cli import container_rows

        fields = [container_rows.fields(row, whole=arguments.no_trunc) for row in rows]
        return formats.print_templated(template, fields, container_rows.heads())
    if context.json:
        terminal.print_json(rows)
    elif arguments.quiet:
        for row in rows:
            print(row["id"] if arguments.no_trunc else row["id"][:SHORT_ID])
    else:
        heads = ["NAME", "IMAGE", "STATUS", "PORTS", "STACK", "RESOURCE", "ID", *(["SIZE"] if arguments.size else [])]
        terminal.print_table(heads, [_cells(row, arguments) for row in rows])
    return 0


def _rows(context: Context, arguments: Any) -> list[dict[str, Any]]:
    filters = formats.pairs(arguments.filter)
    last = 1 if arguments.latest else arguments.last
    # Docker's -n and -l mean the last of all that there are.
    every = last is not None or not arguments.running
    # What docker shows in its table is what it measures: asked for with a template, it is measured too.
    measured = arguments.size or ".Size" in (arguments.format or "")
    try:
        rows = context.engine().ps(arguments.stack, every, filters, size=measured)
    except ValueError as error:
        raise UsageError(f"`--filter {' '.join(arguments.filter)}`: {error}") from None
    return rows if last is None else _newest_first(rows)[:last]


def _newest_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["created"]), reverse=True)


def _cells(row: dict[str, Any], arguments: Any) -> tuple[str, ...]:
    from stackpy.planning.quantities import printable

    ports = row["ports"]
    shown = (
        ports if isinstance(ports, str) else ", ".join(port if isinstance(port, str) else _port(port) for port in ports)
    )
    return (
        row["name"],
        image_name(row["image"], whole=arguments.no_trunc),
        # It may quote what a health check wrote, and that is nobody's terminal's business.
        printable(row["status"]),
        shown,
        row["stack"] or "",
        row["resource"] or "",
        row["id"] if arguments.no_trunc else row["id"][:SHORT_ID],
        *([_size(row)] if arguments.size else []),
    )


def image_name(reference: str, *, whole: bool) -> str:
    """What a container's image is called; the ID of one without a name is cut short unless `whole`."""
    digits = reference.removeprefix("sha256:")
    return reference if whole or digits == reference else digits[:SHORT_ID]


def _port(port: dict[str, Any]) -> str:
    return f"{port['host_ip']}:{port['published']}->{port['target']}/{port['protocol']}"


def _size(row: dict[str, Any]) -> str:
    from stackpy.cli.container_rows import sizes

    return sizes(row)


def _last(text: str) -> int | None:
    """How many; docker's -1 is all of them."""
    from stackpy.cli.quantities import whole

    return None if text == "-1" else whole(text)


COMMAND = Command(
    "ps",
    "List the containers of the engine, those that have ended too",
    run,
    details=(
        "Filters: ancestor, before, exited, expose, health, id, label, name, network, publish, resource, since,\n"
        "stack, status, volume.\n"
        "A template of --format sees docker's fields (.ID .Names .Image .Command .CreatedAt .RunningFor .Ports .State\n"
        '.Status .Size .Labels .Label "KEY" .Mounts .LocalVolumes .Networks) and .Stack .Resource .Replica .Health\n'
        ".ExitCode .Reason."
    ),
    options=[
        Option("-a", "--all", help="all of them (the default)"),
        Option("--running", help="only those that run"),
        Option("--stack", metavar="NAME", help="only those of a stack", words="stack"),
        Option(
            "-f",
            "--filter",
            metavar="FILTER",
            many=True,
            help="KEY=VALUE; several of one key are alternatives",
        ),
        formats.option(),
        Option("-n", "--last", metavar="COUNT", convert=_last, help="the last that were made, the newest first"),
        Option("-l", "--latest", help="the last that was made"),
        Option("-s", "--size", help="what each has written, and that with its image"),
        Option("--no-trunc", help="whole IDs, commands and mounts"),
        Option("-q", "--quiet", help="only their IDs"),
    ],
    examples=[
        ("stackpy ps", "every container"),
        ("stackpy ps --stack shop --format json", "those of one stack, as JSON"),
        ("stackpy ps -q --filter status=exited --filter label=tier=front", "IDs for a script"),
        (r"stackpy ps --format 'table {{.Names}}\t{{.Status}}'", "columns of one's own"),
    ],
)
