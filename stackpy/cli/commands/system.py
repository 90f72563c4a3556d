"""stackpy system check."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def check(context: Context, arguments: Any) -> int:
    """Says what this host can and cannot do; exit code 1 when the engine cannot work on it."""
    findings = context.engine().check()
    missing = [finding for finding in findings if finding["required"] and not finding["ok"]]
    if context.json:
        terminal.print_json(findings)
        return int(bool(missing))
    width = max((len(finding["name"]) for finding in findings), default=0)
    for finding in findings:
        word, colour = ("ok", "32") if finding["ok"] else ("no", "31") if finding["required"] else ("--", "33")
        print(f"{terminal.paint(word, colour, sys.stdout)}  {finding['name']:<{width}}  {finding['detail']}".rstrip())
        if not finding["ok"] and finding["remedy"]:
            print(f"    {'':<{width}}  → {finding['remedy']}")
    if missing:
        terminal.note(f"\nthis host lacks {len(missing)} of what the engine needs; → shows what mends it")
    else:
        terminal.note("\nthe engine can work on this host")
    return int(bool(missing))


CHECK = Command(
    "system check",
    "Say what this host can and cannot do, and the command that mends it",
    check,
    examples=[("sudo stackpy system check", "before the first apply, or when something does not work")],
)
