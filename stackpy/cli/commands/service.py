"""stackpy system install, start, stop: containers come and go with the host."""

from __future__ import annotations

import os
import sys

from stackpy.cli import systemd_units as units
from stackpy.cli import terminal
from stackpy.cli.grammar import Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def install(context: Context, arguments: Any) -> int:
    """Writes the unit and enables it, prints it, or removes it."""
    root, destination = context.engine().root, arguments.destdir or ""
    if arguments.print and arguments.remove:
        raise UsageError("--print and --remove exclude each other")
    if destination and not os.path.isabs(destination):
        raise UsageError(f"--destdir `{destination}` is not an absolute path")
    if arguments.print:
        sys.stdout.write(units.text(root, units.program()))
        return 0
    file, name = units.places(root, destination)[0], units.name(root)
    live = not destination and units.runs_here()
    if arguments.remove:
        if live and os.path.lexists(file):
            # Not `stop`: containers run on, and nothing but their return after a reboot changes.
            units.systemctl("disable", name)
        if not units.remove(root, destination):
            terminal.note(f"`{file}` is not there")
            return 0
        if live:
            units.systemctl("daemon-reload")
        for each in units.drop_ins(root, destination):
            terminal.note(f"kept: `{each}`, which is yours")
        print(f"removed {file}")
        return 0
    changed = units.install(root, destination, units.text(root, units.program()))
    print(f"{'wrote' if changed else 'unchanged:'} {file}")
    if live:
        for words in (("daemon-reload",), ("start", name)):
            code, said = units.systemctl(*words)
            if code:
                raise StackpyError(f"`systemctl {' '.join(words)}` failed: {said}", hint=f"journalctl -u {name}")
    elif not destination:
        terminal.note("systemd does not run here: it is started with the next boot of a host where it does")
    return 0


def start(context: Context, arguments: Any) -> int:
    """Starts the engine; what its restart policy says starts with it."""
    context.engine().system_start()
    return 0


def stop(context: Context, arguments: Any) -> int:
    """Stops every container as for a shutdown of the host."""
    host = units.runs_here() and units.systemctl("is-system-running")[1] == "stopping"
    for name in context.engine().system_stop(host=host):
        print(name)
    return 0


INSTALL = Command(
    "system install",
    "Have containers with a restart policy come back after a reboot",
    install,
    details=(
        "Writes a unit of systemd and enables it. At the host's start it starts the engine, which starts containers\n"
        "with `restart` always or unless-stopped (this one not where a user had stopped it); at shutdown it gives\n"
        "each container its stop signal and its grace period.\n\n"
        "Your own settings are drop-ins (`systemctl edit stackpy.service`); neither a later install nor --remove\n"
        "touches them. An engine root of its own (--root) gets a unit of its own."
    ),
    options=[
        Option("--print", help="write the unit to standard output, and nothing else"),
        Option("--remove", help="remove the unit; containers that run go on"),
        Option(
            "--destdir", help="write below DIR instead of /: for packages and images", metavar="DIR", words="folder"
        ),
    ],
    examples=[
        ("sudo stackpy system install", "once on a host"),
        ("stackpy system install --print", "what it would write"),
        ("stackpy system install --destdir /mnt/image", "into an image of a host"),
    ],
)
START = Command(
    "system start",
    "Start the engine and the containers that a restart policy has come back",
    start,
    details="What the unit of `system install` runs when the host starts. What runs already goes on.",
    examples=[("sudo stackpy system start", "from the boot scripts of a host without systemd")],
)
STOP = Command(
    "system stop",
    "Stop every container as for a shutdown of the host",
    stop,
    details=(
        "Each gets its stop signal and its grace period, all at the same time. Unlike with `stop`, those with a\n"
        "restart policy come back with the engine: at the next `system start`, or with any command that changes\n"
        "something."
    ),
    examples=[
        ("sudo stackpy system stop", "before the host goes down; the unit of `system install` does it by itself")
    ],
)
