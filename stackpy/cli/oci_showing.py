"""What the verbs of `stackpy oci` show. Each takes the runtime and the parsed words."""

from __future__ import annotations

import json
import sys

from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _print(document: Any) -> None:
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def program_version() -> str:
    """Of stackpy."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("stackpy")
    except PackageNotFoundError:
        return "unknown"


def state(runtime: Any, arguments: Any) -> int:
    """The state of one."""
    _print(runtime.state(arguments.id))
    return 0


def list_all(runtime: Any, arguments: Any) -> int:
    """All states."""
    found = runtime.list()
    if arguments.quiet:
        for each in found:
            print(each["id"])
    elif arguments.format == "json":
        _print(found)
    else:
        rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
        rows += [(each["id"], str(each["pid"]), each["status"], each["bundle"], each["created"]) for each in found]
        _table(rows)
    return 0


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        print("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def processes(runtime: Any, arguments: Any) -> int:
    """The processes of one: their PIDs, or the rows of ps(1) that are theirs."""
    found = runtime.processes(arguments.id)
    if arguments.format == "json":
        _print(found)
        return 0
    import subprocess

    listed = subprocess.run(["ps", *(arguments.options or ["-ef"])], capture_output=True, text=True, check=False)
    head, *rows = listed.stdout.splitlines() or [""]
    if listed.returncode or "PID" not in head.split():
        raise UsageError(f"ps {' '.join(arguments.options)}: {listed.stderr.strip() or 'it shows no PID'}")
    column = head.split().index("PID")
    wanted = {str(pid) for pid in found}
    print(head)
    for row in rows:
        fields = row.split()
        if len(fields) > column and fields[column] in wanted:
            print(row)
    return 0


def events(runtime: Any, arguments: Any) -> int:
    """Statistics, a JSON document a line."""
    if arguments.interval <= 0:
        raise UsageError("`--interval` is not a time")

    def tell(document: dict[str, Any]) -> None:
        print(json.dumps(document, separators=(",", ":")), flush=True)

    runtime.events(arguments.id, arguments.interval, tell, once=arguments.stats)
    return 0


def spec(runtime: Any, arguments: Any) -> int:
    """A document to begin with."""
    if arguments.rootless:
        raise UsageError("`--rootless`: containers are run by root")
    runtime.write_template(arguments.bundle)
    return 0


def features(runtime: Any, arguments: Any) -> int:
    """What is known."""
    _print(runtime.features(program_version()))
    return 0
