"""stackpy version."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints the version of stackpy, Python and the kernel."""
    import os

    document = {
        "version": version_text(),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "kernel": os.uname().release,
    }
    if context.json:
        terminal.print_json(document)
    else:
        print(f"stackpy {document['version']} (Python {document['python']}, Linux {document['kernel']})")
    return 0


def version_text() -> str:
    """The version of stackpy."""
    from importlib.metadata import PackageNotFoundError, version  # 29 ms, only where it is asked for

    try:
        return version("stackpy")
    except PackageNotFoundError:
        return "unknown (not installed)"


COMMAND = Command(
    "version",
    "Show the version of stackpy",
    run,
    examples=[("stackpy version", "its version, Python's and the kernel's")],
)
