"""What to say of a field that containers do not have: the nearest one that they have, or where its work is done."""

from __future__ import annotations

from stackpy.dsl.values import meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ELSEWHERE = {
    "attach": "every container's output is kept: `stackpy logs` shows it",
    "build": "describe the image: Image(…).copy(…).run(…), or Image.dockerfile(context)",
    "configs": "give the content by `files`",
    "container_name": "containers are named STACK-NAME-NUMBER",
    "cpu_count": "Windows has it; on Linux `cpus` says how many",
    "cpu_percent": "Windows has it; on Linux `cpus` says how many",
    "credential_spec": "Windows has it",
    "deploy": "`replicas`, `update`, `mem_limit` and `cpus` are fields of the container itself",
    "develop": "`stackpy watch` applies what changes, with no field",
    "driver_opts": "networks have one driver, bridge, which takes no options of a container",
    "expose": "containers on one network reach all of each other's ports",
    "extends": "share fields with a dict: Container(name, **common)",
    "external_links": "containers on one network find each other by name",
    "gpus": "give the device files by `devices`",
    "isolation": "Windows has it",
    "links": "containers on one network find each other by name",
    "mac_address": "it follows from the IPv4 address, so that no container can take another's",
    "models": "run the model in a container of its own",
    "name": "the name is the first argument",
    "profiles": "use `if` and a variable: var(name, default=False)",
    "pull_refresh_after": "`pull_policy` says it: `every_12h`",
    "provider": "make what others provide before, and give its address by `environment`",
    "scale": "did you mean `replicas`?",
    "update_config": "did you mean `update`?",
    "use_api_socket": "mount the socket where a container shall use an engine",
    "userns_mode": "did you mean `userns`?",
    "volumes_from": "name the same volumes in both containers",
}
# Of a container's attachment to a network.
_OF_NETWORKS = {
    "driver_opts": "networks have one driver, bridge, which takes no options of a container",
    "ipv6_address": "networks have IPv4 only",
    "link_local_ips": "networks have one address for each container",
    "mac_address": "it follows from the IPv4 address, so that no container can take another's",
}


def of_network(key: str) -> str:
    """What to do instead of giving a container's attachment to a network the key `key`; "" for one that nobody has."""
    return _OF_NETWORKS.get(key, "")


def hint(kind: str, key: str, known: Sequence[str], elsewhere: Sequence[str]) -> str:
    """What to do instead of giving a resource of `kind` the field `key`.

    known: the fields that it has; elsewhere: those that only a container has
    """
    if key in elsewhere and kind == "job":
        return "a job runs once: it has no replicas, ports, restarts or health"
    return _ELSEWHERE.get(key) or meant(key, known)
