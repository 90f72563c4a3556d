"""The result as JSON, and as the table of docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from benchmarks.measure import Row

REPOSITORY = Path(__file__).parent.parent


def document(rows: list[Row]) -> dict[str, object]:
    """The JSON form."""
    return {
        "format": 1,
        "machine": {"kernel": platform.release(), "cores": os.cpu_count(), "python": platform.python_version()},
        "rows": [{**row._asdict(), "kept": row.kept} for row in rows],
    }


def table(rows: list[Row]) -> str:
    """The Markdown page."""
    lines = [
        "# Benchmarks",
        "",
        "What `make bench` has measured: medians of alternating rounds of both sides, in one run on one machine",
        f"({os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}).",
        "The ratio is ours ÷ theirs; at most is the budget of the design.",
        "",
        "| work | ours | rival | rival's | ratio | at most |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        mark = "" if row.kept else " (missed)"
        lines.append(
            f"| {row.work} | {row.ours_ms:.0f} ms | {row.theirs} | {row.theirs_ms:.0f} ms "
            f"| {row.ratio:.2f} × | {row.limit} ×{mark} |"
        )
    return "\n".join(lines) + "\n"


def write(rows: list[Row]) -> None:
    """Writes both."""
    results = REPOSITORY / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(document(rows), indent=2) + "\n")
    (REPOSITORY / "docs" / "benchmarks.md").write_text(table(rows))
