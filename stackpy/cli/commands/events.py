"""stackpy events."""

from __future__ import annotations

from stackpy.cli import formats
from stackpy.cli.grammar import Command, Option
from stackpy.cli.quantities import instant
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.cli.context import Context

NANO = 1_000_000_000


def run(context: Context, arguments: Any) -> int:
    """Prints what happens, a line each, until it is interrupted or the time of --until has come."""
    show = formats.line_writer(context, arguments.format, line, _fields)
    filters = formats.pairs(arguments.filter)
    since, until = (None if moment is None else round(moment * NANO) for moment in (arguments.since, arguments.until))
    try:
        happening = context.engine().events(filters, since=since, until=until)
    except ValueError as error:
        raise UsageError(f"`--filter {' '.join(arguments.filter)}`: {error}") from None
    for event in happening:
        print(show(event), flush=True)
    return 0


def line(event: Mapping[str, Any]) -> str:
    """An event for people, as docker writes it: local time, what, and the attributes by name."""
    from datetime import datetime  # 2 ms, for text only

    from stackpy.planning.quantities import printable

    seconds, nano = divmod(event["timeNano"], NANO)
    moment = datetime.fromtimestamp(seconds).astimezone()
    zone = moment.strftime("%z")
    told = ", ".join(f"{key}={value}" for key, value in sorted(event["Actor"]["Attributes"].items()))
    when = f"{moment:%Y-%m-%dT%H:%M:%S}.{nano:09d}{zone[:3]}:{zone[3:5]}"
    # Labels are whatever an image says they are.
    return f"{when} {event['Type']} {printable(event['Action'])} {event['Actor']['ID']} ({printable(told)})"


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """What a template sees, under the names of Docker's structs."""
    from stackpy.render.go_templates import Struct

    actor = event["Actor"]
    return {
        "Status": event.get("status", ""),
        "ID": event.get("id", ""),
        "From": event.get("from", ""),
        "Type": event["Type"],
        "Action": event["Action"],
        "Actor": Struct({"ID": actor["ID"], "Attributes": dict(actor["Attributes"])}),
        "Scope": event["scope"],
        "Time": event["time"],
        "TimeNano": event["timeNano"],
    }


COMMAND = Command(
    "events",
    "Show what happens to containers, images, networks and volumes, as it happens",
    run,
    details=(
        "Goes on until it is interrupted, or until the time of --until. The engine keeps some ten thousand events, so\n"
        "that --since shows what happened before, also what nobody was there to see."
    ),
    options=[
        Option(
            "-f",
            "--filter",
            metavar="FILTER",
            many=True,
            help="container=, event=, image=, label=, network=, resource=, stack=, type= or volume=",
        ),
        Option("--since", metavar="TIME", convert=instant, help='from then on: "10m", "2026-01-31T12:00:00Z"'),
        Option("--until", metavar="TIME", convert=instant, help="until then, and then end"),
        formats.option(),
    ],
    examples=[
        ("stackpy events --filter type=container --filter event=die", "what ends, with its exit code"),
        ("stackpy events --since 24h --until 0s --format json", "the last day, a JSON document a line"),
    ],
)
