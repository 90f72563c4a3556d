"""The result as JSON, and as the table of docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from benchmarks.measure import Row, written

REPOSITORY = Path(__file__).parent.parent

NOTE = """
Where the rival is ours, on a smaller scale, the row shows how our work grows.

The rivals are installed by `make bench-peers`: Debian's packages, Docker Compose, podman-compose and Ansible from
PyPI. Pulumi and Terraform are not among them. `pulumi` of PyPI is the library alone; `pulumi` of npm downloads its
program when it is first called, from a host of its own, as `@dev-thought/pulumi-npm` does; the plugins for Docker, of
both, come from such hosts too, and Terraform's builds on PyPI end in 2019. Ansible declares as well, and its check
mode is a plan.
"""


def document(rows: list[Row]) -> dict[str, object]:
    """The JSON form."""
    return {
        "format": 2,
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
            f"| {row.work} | {written(row.ours_amount)} {row.unit} | {row.theirs} "
            f"| {written(row.theirs_amount)} {row.unit} | {row.ratio:.2f} × | {row.limit:.3g} ×{mark} |"
        )
    return "\n".join(lines) + "\n" + NOTE


def write(rows: list[Row]) -> None:
    """Writes both."""
    results = REPOSITORY / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(document(rows), indent=2) + "\n")
    (REPOSITORY / "docs" / "benchmarks.md").write_text(table(rows))
