"""stackpy update."""

from __future__ import annotations

from stackpy.cli import naming
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

# key of the option → field of the container
_FIELDS = {
    "memory": "mem_limit",
    "memory_reservation": "mem_reservation",
    "memory_swap": "memswap_limit",
    "cpus": "cpus",
    "cpu_shares": "cpu_shares",
    "cpu_period": "cpu_period",
    "cpu_quota": "cpu_quota",
    "cpu_rt_period": "cpu_rt_period",
    "cpu_rt_runtime": "cpu_rt_runtime",
    "cpuset_cpus": "cpuset",
    "cpuset_mems": "cpuset_mems",
    "pids_limit": "pids_limit",
    "restart": "restart",
}


def run(context: Context, arguments: Any) -> int:
    """Changes each container while it runs."""
    asked = changes(arguments)
    engine = context.engine()
    return naming.for_each(context, arguments.container, lambda name: engine.update(name, asked))


def changes(arguments: Any) -> dict[str, Any]:
    """What is to change: field → value, None to take it away. Raises UsageError where nothing is."""
    found: dict[str, Any] = {}
    for key, field in _FIELDS.items():
        value = getattr(arguments, key)
        if value is not None:
            # Docker's -1 takes the limit of processes away, 0 each of the others.
            found[field] = None if value == 0 or (value == -1 and field == "pids_limit") else value
    if arguments.blkio_weight is not None:
        found["blkio_config"] = {"weight": arguments.blkio_weight} if arguments.blkio_weight else None
    if not found:
        raise UsageError("`stackpy update` was told nothing to change", hint="as in `stackpy update --memory 1g web`")
    return found


def _size(text: str) -> int:
    from stackpy.dsl.quantities import size

    return size(text)


def _with_swap(text: str) -> int:
    return -1 if text == "-1" else _size(text)


def _cpus(text: str) -> float:
    from stackpy.dsl.quantities import processors

    return processors(text)


def _processes(text: str) -> int:
    from stackpy.dsl.quantities import processes

    return processes(text)


def _whole(text: str) -> int:
    from stackpy.dsl.quantities import whole

    return whole(text)


def _signed(text: str) -> int:
    from stackpy.dsl.quantities import whole

    return whole(text, -1)


def _weight(text: str) -> int:
    number = _whole(text)
    if number and not 10 <= number <= 1000:
        raise ValueError("must be a weight from 10 to 1000, or 0 for none")
    return number


def _policy(text: str) -> str:
    from stackpy.cli.run_config import restart_policy

    return restart_policy(text)


COMMAND = Command(
    "update",
    "Change the limits and the restart policy of containers while they run",
    run,
    details=(
        "0 takes a limit away (of --pids-limit also -1; of --memory-swap -1 is as much swap as there is). What a\n"
        "stack file says of its containers is what the next apply makes of them again."
    ),
    options=[
        Option("-m", "--memory", metavar="SIZE", convert=_size, help="limit of memory"),
        Option("--memory-reservation", metavar="SIZE", convert=_size, help="what it keeps when the host runs short"),
        Option("--memory-swap", metavar="SIZE", convert=_with_swap, help="limit of memory and swap together"),
        Option("--cpus", metavar="NUMBER", convert=_cpus, help="processors that it may use: 0.5"),
        Option("-c", "--cpu-shares", metavar="NUMBER", convert=_whole, help="its weight among others (default: 1024)"),
        Option("--cpu-period", metavar="MICROSECONDS", convert=_whole, help="of the CPU scheduler's limit"),
        Option("--cpu-quota", metavar="MICROSECONDS", convert=_signed, help="what it may use of each period"),
        Option("--cpu-rt-period", metavar="MICROSECONDS", convert=_whole, help="of the real-time scheduler"),
        Option("--cpu-rt-runtime", metavar="MICROSECONDS", convert=_whole, help="what it may use of each of these"),
        Option("--cpuset-cpus", metavar="CPUS", help="the CPUs that it may run on: 0-2,4"),
        Option("--cpuset-mems", metavar="NODES", help="the memory nodes that it may use"),
        Option("--blkio-weight", metavar="WEIGHT", convert=_weight, help="its share of block I/O, 10 to 1000"),
        Option("--pids-limit", metavar="NUMBER", convert=_processes, help="limit of processes"),
        Option("--restart", metavar="POLICY", convert=_policy, help="no, on-failure[:N], always, unless-stopped"),
    ],
    arguments=[Argument("CONTAINER", help="a resource, name or ID", many=True, words="container")],
    examples=[
        ("stackpy update --memory 1g --cpus 2 web", "every replica of `web`, at once and without a restart"),
        ("stackpy update --restart unless-stopped trial", "from its next end on"),
    ],
)
