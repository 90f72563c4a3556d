"""How every listing is printed: as one JSON document, as names alone, or as a table."""

from __future__ import annotations

from stackpy.cli import formats, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.cli.context import Context

    Row = Mapping[str, Any]
    Columns = Sequence[tuple[str, Callable[[Row], str]]]


def print_rows(
    context: Context,
    rows: Sequence[Row],
    columns: Columns,
    *,
    quiet: bool,
    name: Callable[[Row], str] = lambda row: str(row["name"]),
    form: str | None = None,
    templated: Callable[[], tuple[Callable[[Row], Mapping[str, Any]], Mapping[str, str]]] | None = None,
) -> int:
    """Prints the rows of a listing; returns the exit code.

    columns: each head with what stands below it
    quiet: only what `name` says of each row, once
    form: what the command's own `--format` said
    templated: imports what a template can say: the fields of a row, and what stands above each
    """
    if templated and (template := formats.chosen(context, form)):
        fields, above = templated()
        return formats.print_templated(template, [fields(row) for row in rows], above)
    if context.json:
        terminal.print_json(rows)
    elif quiet:
        for text in dict.fromkeys(map(name, rows)):
            print(text)
    else:
        heads = [head for head, _ in columns]
        terminal.print_table(heads, [[cell(row) for _, cell in columns] for row in rows])
    return 0


def column(head: str, key: str) -> tuple[str, Callable[[Row], str]]:
    """A column that shows a row's value as it is; nothing for None."""
    return head, lambda row: "" if row.get(key) is None else str(row[key])
