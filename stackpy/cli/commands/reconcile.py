"""stackpy reconcile."""

from __future__ import annotations

import os

from stackpy.cli.grammar import Command, Option
from stackpy.cli.quantities import seconds
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

DEFAULT_INTERVAL = 30.0  # seconds


def run(context: Context, arguments: Any) -> int:
    """Keeps the engine in step with the repository; exit code 1 when the last cycle was not good."""
    from stackpy.applying import DEFAULT_TIMEOUT
    from stackpy.applying.turn import Stopper
    from stackpy.cli.loop_view import LoopView
    from stackpy.reconciling import reconcile
    from stackpy.reconciling.source import source

    if not arguments.repo:
        raise UsageError("`stackpy reconcile` needs a repository", hint="give it with `--repo URL`")
    if arguments.once and arguments.interval is not None:
        raise UsageError("`--once` and `--interval` exclude each other", hint="leave one of them away")
    if context.globals.file:
        raise UsageError("`reconcile` reads the repository's stack file", hint="name its folder with `--path DIR`")
    interval = DEFAULT_INTERVAL if arguments.interval is None else arguments.interval
    stopper = Stopper()
    with stopper:
        good = reconcile(
            source(arguments.repo, arguments.ref, arguments.path),
            context.load_from,
            context.engine(),
            LoopView(context),
            stopper,
            cache=arguments.cache or os.path.join(context.engine().root, "reconcile"),
            interval=None if arguments.once else interval,
            timeout=DEFAULT_TIMEOUT if arguments.timeout is None else arguments.timeout,
        )
    return 0 if good else 1


COMMAND = Command(
    "reconcile",
    "Keep this host in step with a stack in a git repository",
    run,
    details=(
        "Fetches, plans, applies and mends what has drifted, again and again; a line for each cycle. Never asks. What\n"
        "it cannot fetch or load leaves everything running. SIGTERM finishes the running action, and leaves the\n"
        "containers running too."
    ),
    stack=True,
    options=[
        Option("--repo", metavar="URL", help="the repository, as git takes it", words="folder"),
        Option("--ref", metavar="REF", default="HEAD", help="a branch, a tag or a whole commit ID (default: HEAD)"),
        Option("--path", metavar="DIR", default="", help="the stack's folder in it (default: its top)"),
        Option("--once", help="one cycle; exit with 1 when it fails"),
        Option("--interval", metavar="SECONDS", convert=seconds, help="between two cycles (default: 30s)"),
        Option(
            "--timeout",
            metavar="SECONDS",
            convert=seconds,
            help="how long a resource may take to become healthy or completed (default: 5m)",
        ),
        Option("--cache", metavar="DIR", help="for mirrors and checkouts (default: the root)", words="folder"),
    ],
    examples=[
        ("stackpy reconcile --repo https://example.org/shop.git --ref main --path deploy", "every 30 seconds"),
        ("stackpy reconcile --repo /srv/git/shop.git --once", "once, as from cron or a pipeline"),
    ],
)
