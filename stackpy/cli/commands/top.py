"""stackpy top."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from stackpy.cli.context import Context

DEFAULT = ("-ef",)


def run(context: Context, arguments: Any) -> int:
    """Prints this host's ps of a container's processes."""
    name = naming.one(context, arguments.container)
    pids = context.engine().processes(name)
    heads, rows = processes(_listing(arguments.options or DEFAULT, pids), pids)
    if context.json:
        from stackpy.cli.terminal import print_json

        print_json({"Titles": heads, "Processes": rows})
        return 0
    from stackpy.cli.formats import aligned

    print("\n".join(aligned([heads, *rows], least=20)))
    return 0


def _listing(options: Sequence[str], pids: Iterable[int]) -> str:
    """What ps says of these processes with a user's options."""
    import errno
    import subprocess  # 10 ms, for this command alone

    # Those that select processes by themselves do not go with -q: then ps lists all, and ours are picked out.
    for more in ([f"-q{','.join(map(str, pids))}"], []):
        try:
            done = subprocess.run(
                ["ps", *options, *more], capture_output=True, text=True, errors="replace", check=False
            )
        except FileNotFoundError:
            raise StackpyError("there is no `ps` on this host", hint="it is in the package procps") from None
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            continue  # more processes than an argument can name: all of the host's are listed
        if not done.returncode:
            return done.stdout
    why = done.stderr.strip().partition("\n")[0] or f"it exited with {done.returncode}"
    raise StackpyError(f"`ps {' '.join(options)}`: {why}", hint="the options are those of ps(1)")


def processes(listing: str, pids: Iterable[int]) -> tuple[list[str], list[list[str]]]:
    """The heads of what ps printed, and the rows of these processes, the last column whole.

    Raises StackpyError where ps was told not to print PIDs: then nobody knows whose the rows are.
    """
    lines = listing.splitlines()
    heads = lines[0].split() if lines else []
    if "PID" not in heads:
        raise StackpyError("`ps` printed no column PID", hint="have it printed too, as in `-o pid,comm`")
    at, wanted = heads.index("PID"), {str(pid) for pid in pids}
    rows: list[list[str]] = []
    belongs = False
    for line in lines[1:]:
        cells = line.split(None, len(heads) - 1)
        if len(cells) > at and cells[at].isdigit():
            belongs = cells[at] in wanted
        # Lines of threads (-m, -T) follow their process's and have a dash where the PID stands.
        elif len(cells) <= at or cells[at] != "-":
            belongs = False
        if belongs:
            rows.append(cells + [""] * (len(heads) - len(cells)))
    return heads, rows


COMMAND = Command(
    "top",
    "Show the processes of a container",
    run,
    details="Behind the name stand options of ps(1), which this host's ps is called with (default: -ef).",
    arguments=[
        Argument("CONTAINER", help="a resource, name or ID; of several replicas the first", words="container"),
        Argument("OPTIONS", help="of ps", rest=True, optional=True),
    ],
    examples=[("stackpy top web", "as docker shows them"), ("stackpy top web -o pid,rss,args", "columns of ps")],
)
