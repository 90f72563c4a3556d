"""python -m benchmarks [--install-peers] [--rounds N]"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import peers, report
from benchmarks.workloads import Bench


def main() -> int:
    """Measures, prints the table, writes the results; 1 when a budget is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--install-peers", action="store_true", help="install the rivals, and measure nothing")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds a row (default: 15)")
    arguments = parser.parse_args()
    if arguments.install_peers:
        peers.install()
        return 0
    if peers.missing() or peers.missing_programs():
        print("error: a rival is missing\nhint: make bench-peers", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="stackpy-bench-", dir="/var/tmp"))
    try:
        rows = Bench(folder, arguments.rounds).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.write(rows)
    print(report.table(rows))
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
