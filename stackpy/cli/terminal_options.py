"""The flags of `run`, `start`, `attach` and `exec` that say how our terminal meets a container's."""

from __future__ import annotations

from stackpy.cli.grammar import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEFT = "read escape sequence"  # docker's words when the keys were typed; the exit code of exec and attach is 1 then
STREAMS = ("stdin", "stdout", "stderr")

ATTACH = Option(
    "-a",
    "--attach",
    metavar="STREAM",
    many=True,
    choices=STREAMS,
    help="only this of stdin, stdout, stderr (default: both outputs; stdin with -i)",
)
SIG_PROXY = Option(
    "--sig-proxy",
    metavar="BOOL",
    choices=("true", "false"),
    default="true",
    help="whether it gets the signals that we get, unless it has a terminal (default: true)",
)
DETACH_KEYS = Option(
    "--detach-keys",
    metavar="KEYS",
    help="keys that leave it running, as in ctrl-a,x (default: ctrl-p,ctrl-q)",
)


def attaching(arguments: Any, *, stdin: bool) -> dict[str, Any]:
    """What the engine is told of an attachment (ContainerEngine.attach)."""
    wanted = getattr(arguments, "attach", None)
    if not isinstance(wanted, list) or not wanted:
        wanted = STREAMS
    return {
        "stdin": stdin and "stdin" in wanted,
        "streams": tuple(name for name in ("stdout", "stderr") if name in wanted),
        "sig_proxy": getattr(arguments, "sig_proxy", "true") == "true",
        "detach_keys": arguments.detach_keys,
    }
