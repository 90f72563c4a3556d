"""The options that several commands which change a stack have in common."""

from __future__ import annotations

from stackpy.cli.grammar import Option
from stackpy.cli.quantities import seconds

YES = Option("-y", "--yes", help="do not ask")
ALLOW_DATA_LOSS = Option(
    "--allow-data-loss",
    metavar="ADDRESS",
    many=True,
    help="delete the data of this volume without asking for its name (volume.*: of all)",
    words="resource",
)
LOCK_TIMEOUT = Option(
    "--lock-timeout",
    metavar="SECONDS",
    convert=seconds,
    help="how long to wait for another command on this stack (default: until it is done)",
)
