"""What `stackpy build` gives RUN steps besides mounts: network, names, limits. docker's words; the engine checks."""

from __future__ import annotations

from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from stackpy.cli.grammar import Option

NETWORKS = ("default", "none", "host")

# What docker build and buildx have besides, and why it is not here.
REFUSED = {
    "--security-opt": ("a step has the engine's own profiles", "`RUN --security=` says what one step may do more"),
    "--isolation": ("Linux containers have one kind of it", "leave it out"),
    "--squash": ("layers are kept, since others share them", "`-o type=tar` and `import` make one layer of all files"),
    "--disable-content-trust": ("images are verified by their digests, always", "leave it out"),
    "--builder": ("images are built by this engine", "`--root` names another engine root"),
    "--attest": ("no attestations are made", "leave it out"),
    "--provenance": ("no attestations are made", "leave it out"),
    "--sbom": ("no attestations are made", "leave it out"),
    "--annotation": ("manifests get no annotations", "`--label` is in the image's configuration"),
    "--no-cache-filter": ("the cache is left out for all stages or none", "`--no-cache`, with `--target`"),
    "--call": ("a build only builds, or checks", "`--check` looks for mistakes"),
}


def settings(arguments: Any) -> dict[str, Any]:
    """`--network`, `--add-host`, `--shm-size`, `--ulimit`: a part of what the steps are; raises UsageError."""
    result: dict[str, Any] = {}
    if not arguments.rm:
        raise UsageError(
            "`--rm=false`: no container of a step stays", hint="`--on-failure shell` opens a shell where one fails"
        )
    if arguments.network not in (None, "default"):
        if arguments.network not in NETWORKS:
            hint = "a step of a build is on a network of its own; one of default, none, host"
            raise UsageError(f"`--network {arguments.network}`: a build joins no network of containers", hint=hint)
        if arguments.network == "host" and "network.host" not in arguments.allow:
            hint = "allow it with `--allow network.host`"
            raise UsageError("`--network host` shows every step the host's network", hint=hint)
        result["network"] = arguments.network
    if arguments.add_host:
        result["extra_hosts"] = _hosts(arguments.add_host)
    if arguments.shm_size is not None:
        result["shm_size"] = arguments.shm_size
    if arguments.ulimit:
        result["ulimits"] = _ulimits(arguments.ulimit)
    return result


def limits(arguments: Any) -> dict[str, Any]:
    """The limits of each step's control group, which are no part of what it is."""
    given = {
        "mem_limit": arguments.memory,
        "memswap_limit": arguments.memory_swap,
        "cpu_shares": arguments.cpu_shares,
        "cpu_period": arguments.cpu_period,
        "cpu_quota": arguments.cpu_quota,
        "cpuset": arguments.cpuset_cpus,
        "cpuset_mems": arguments.cpuset_mems,
        "cgroup_parent": arguments.cgroup_parent,
    }
    return {key: value for key, value in given.items() if value is not None}


def _hosts(given: Iterable[str]) -> dict[str, list[str]]:
    """`NAME:ADDRESS` or `NAME=ADDRESS`; a name may stand several times."""
    result: dict[str, list[str]] = {}
    for text in given:
        name, sign, address = text.partition("=") if "=" in text else text.partition(":")
        if not sign or not name or not address:
            raise UsageError(
                f"`--add-host {text}`: expected NAME:ADDRESS", hint="as in `--add-host registry.example:10.0.0.7`"
            )
        result.setdefault(name, []).append(address.removeprefix("[").removesuffix("]"))
    return result


def _ulimits(given: Iterable[str]) -> dict[str, dict[str, int]]:
    """`TYPE=SOFT[:HARD]`; -1 and `unlimited` are none."""
    result = {}
    for text in given:
        name, equals, values = text.partition("=")
        soft, _, hard = values.partition(":")
        numbers = [_bound(each) for each in (soft, hard or soft)]
        if not name or not equals or None in numbers:
            raise UsageError(f"`--ulimit {text}`: expected TYPE=SOFT[:HARD]", hint="as in `--ulimit nofile=1024:4096`")
        result[name] = {"soft": numbers[0] or 0, "hard": numbers[1] or 0}
    return result


def _bound(text: str) -> int | None:
    if text in ("-1", "unlimited"):
        return -1
    return int(text) if text.isascii() and text.isdigit() else None


def _size(text: str) -> int:
    from stackpy.dsl.quantities import size

    return size(text)


def _size_or_all(text: str) -> int:
    return -1 if text == "-1" else _size(text)


def options() -> list[Option]:
    """The options that say so."""
    from stackpy.cli.grammar import Option

    return [
        Option("--network", metavar="MODE", help="of RUN steps that name none: default, none or host"),
        Option("--add-host", metavar="NAME:ADDRESS", many=True, help="one more name in /etc/hosts of RUN steps"),
        Option("--shm-size", metavar="BYTES", convert=_size, help="the size of /dev/shm of RUN steps"),
        Option("--ulimit", metavar="TYPE=SOFT[:HARD]", many=True, help="a resource limit of RUN steps"),
        Option("-m", "--memory", metavar="BYTES", convert=_size, help="memory of each RUN step"),
        Option("--memory-swap", metavar="BYTES", convert=_size_or_all, help="memory and swap together; -1: any swap"),
        Option("-c", "--cpu-shares", metavar="WEIGHT", convert=int, help="a RUN step's share of the CPUs"),
        Option("--cpu-period", metavar="MICROSECONDS", convert=int, help="length of the scheduler's period"),
        Option("--cpu-quota", metavar="MICROSECONDS", convert=int, help="CPU time of a RUN step in a period"),
        Option("--cpuset-cpus", metavar="CPUS", help="where RUN steps may run: 0-2,4"),
        Option("--cpuset-mems", metavar="NODES", help="whose memory RUN steps may use"),
        Option("--rm", default=True, help="leave no container of a step behind, which is so anyway"),
        Option("--force-rm", help="the same for a step that fails"),
        Option("--compress", help="of the context, which is read where it is"),
        Option("--cgroup-parent", metavar="PATH", help="the control group in which those of RUN steps are made"),
    ]
