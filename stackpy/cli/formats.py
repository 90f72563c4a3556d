"""`--format` of inspect and of listings: JSON, or a template of Go's as docker takes it."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Option
from stackpy.cli.options import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.cli.context import Context

# What is a map in Docker's documents: any key may be in it, and one that is not has no value. All else are structs,
# in which a name that does not exist is a mistake. (github.com/moby/moby, api/types)
_MAPS = frozenset(
    "Annotations AuxiliaryAddresses Containers Data DriverOpts ExposedPorts Labels Networks Options PortBindings Ports "
    "StorageOpt Sysctls Tmpfs Volumes".split()
)
_LISTS = frozenset(
    "Aliases Args Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps "
    "BlkioWeightDevice CapAdd CapDrop Cmd ConsoleSize DeviceCgroupRules DeviceRequests Devices Dns DnsOptions "
    "DnsSearch Entrypoint Env ExecIDs ExtraHosts GroupAdd History Layers Links Log MaskedPaths Mounts OnBuild Output "
    "ReadonlyPaths RepoDigests RepoTags SecondaryIPAddresses SecondaryIPv6Addresses SecurityOpt Shell Test Ulimits "
    "VolumesFrom".split()
)
_DURATIONS = ("Interval", "Timeout", "StartPeriod", "StartInterval")
# Fields that a document leaves out where there is nothing to say, by the key under which their struct stands.
_ABSENT: Mapping[str, Mapping[str, Any]] = {
    "State": {"Health": None},
    "Config": dict.fromkeys(("ExposedPorts", "Healthcheck", "OnBuild", "Shell", "StopTimeout")) | {"StopSignal": ""},
    "Mounts": {"Name": "", "Driver": ""},
    "Healthcheck": dict.fromkeys((*_DURATIONS, "Retries"), 0) | {"Test": None},
}

_TABLE = "table "


def option(*names: str) -> Option:
    """The option `--format` of a command that takes templates."""
    return Option(
        *(names or ("--format",)),
        metavar="FORMAT",
        help="json, or a Go template as docker's: '{{.Name}}'",
        key="format",
    )


def print_documents(context: Context, form: str | None, documents: Sequence[Mapping[str, Any]]) -> int:
    """Prints inspect's documents: an array, or a line of a template for each; returns the exit code.

    form: what `--format` said, if anything
    Raises UsageError for what is no template, StackpyError where it asks for what is not there.
    """
    template = chosen(context, form)
    if not template:
        terminal.print_json(list(documents))
        return 0
    from stackpy.render.go_templates import Template

    parsed = Template(template)
    for line in [parsed.render(typed(document)) for document in documents]:
        print(terminal.made_by(template, line))
    return 0


def chosen(context: Context, form: str | None) -> str:
    """The template that was asked for; "" for none.

    `json`, `text` and `table` are none: the first two become the context's format, as if they stood before the verb.
    """
    if form in FORMATS:
        context.globals.format = str(form)
    return "" if form in (None, "table", *FORMATS) else str(form)


def print_templated(template: str, rows: Sequence[Mapping[str, Any]], heads: Mapping[str, Any]) -> int:
    """Prints a listing by a template as docker's `ps --format` does, as `templated` says; returns the exit code."""
    for line in templated(template, rows, heads):
        print(line)
    return 0


def templated(template: str, rows: Sequence[Mapping[str, Any]], heads: Mapping[str, Any]) -> list[str]:
    r"""The lines of a listing by a template, one for each row.

    template: `\t` and `\n` in it stand for a tab and a new line; behind `table ` it makes aligned columns with heads
    rows: what each row's fields say, under docker's names; a `Method` takes arguments (`{{.Label "name"}}`)
    heads: what stands above each field's column
    """
    from stackpy.render.go_templates import Struct, Template

    table = template.startswith(_TABLE)
    text = template.removeprefix(_TABLE).lstrip() if table else template
    parsed = Template(text.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [terminal.made_by(template, parsed.render(Struct(row))) for row in rows]
    if not table:
        return lines
    head = parsed.render(Struct(heads), as_heads=True)
    return aligned([line.split("\t") for line in (head, *lines)])


def line_writer(
    context: Context,
    form: str | None,
    text: Callable[[Mapping[str, Any]], str],
    fields: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> Callable[[Mapping[str, Any]], str]:
    """What writes a document of a stream as a line: as `text` does, as JSON, or as a template says of its `fields`."""
    template = chosen(context, form)
    whole = template.replace(" ", "") == "{{json.}}"  # docker's way to say what `json` says
    if template and not whole:
        from stackpy.render.go_templates import Struct, Template

        parsed = Template(template.replace("\\t", "\t").replace("\\n", "\n"))
        return lambda document: terminal.made_by(template, parsed.render(Struct(fields(document))))
    if not context.json and not whole:
        return text
    import json

    return lambda document: terminal.controls_escaped(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The values of `--filter`, KEY=VALUE each."""
    return [(key, value) for key, _, value in (text.partition("=") for text in texts)]


def aligned(rows: Sequence[Sequence[str]], least: int = 10, space: int = 3) -> list[str]:
    """Columns as docker's tables have them (text/tabwriter): each as wide as its widest cell, the last one as it is."""
    count = max(map(len, rows), default=0)
    widths = [max((len(row[at]) + space for row in rows if at < len(row) - 1), default=0) for at in range(count)]
    return [
        "".join(cell if at == len(row) - 1 else cell.ljust(max(widths[at], least)) for at, cell in enumerate(row))
        for row in rows
    ]


def typed(value: Any, name: str = "", within: str = "") -> Any:
    """A document with its structs, maps and lists told apart.

    name, within: the keys under which the value and what holds it stand
    """
    from stackpy.render.go_templates import Duration, NilList, NilMap, Struct

    is_map = name in _MAPS or (within, name) == ("LogConfig", "Config")
    if value is None:
        return NilMap() if is_map else NilList() if name in _LISTS else None
    if isinstance(value, (list, tuple)):
        return [typed(each, "", name) for each in value]
    if not isinstance(value, dict):
        return Duration(value) if within == "Healthcheck" and name in _DURATIONS else value
    inner = {key: typed(each, key, name) for key, each in value.items()}
    if is_map:
        return inner
    own = name or within
    return Struct(inner, {key: typed(each, key, own) for key, each in _ABSENT.get(own, {}).items()})
