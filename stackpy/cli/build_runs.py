"""What `stackpy build` gives RUN steps besides mounts: network, names, limits. docker's words; the engine checks."""

from __future__ import annotations

from stackpy.cli import resource_options
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.grammar import Option

NETWORKS = ("default", "none", "host")
# Those of `run` that docker build has too, for each RUN step.
_SHARED = (
    "memory memory_swap cpu_shares cpu_period cpu_quota cpuset_cpus cpuset_mems cgroup_parent shm_size ulimit add_host"
).split()
# The fields of them that are a part of what a step is.
_PARTS = ("extra_hosts", "shm_size", "ulimits")

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
    given = resource_options.asked(arguments)
    return result | {key: given[key] for key in _PARTS if given.get(key) is not None}


def limits(arguments: Any) -> dict[str, Any]:
    """The limits of each step's control group, which are no part of what it is."""
    given = resource_options.asked(arguments)
    return {key: value for key, value in given.items() if value is not None and key not in _PARTS}


def options() -> list[Option]:
    """The options that say so."""
    from stackpy.cli.grammar import Option

    return [
        Option("--network", metavar="MODE", help="of RUN steps that name none: default, none or host"),
        *(option for option in (*resource_options.LIMITS, *resource_options.SURROUNDINGS) if option.key in _SHARED),
        Option("--rm", default=True, help="leave no container of a step behind, which is so anyway"),
        Option("--force-rm", help="the same for a step that fails"),
        Option("--compress", help="of the context, which is read where it is"),
    ]
