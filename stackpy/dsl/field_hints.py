"""What to say of a field that containers do not have: the nearest one that they have, or where its work is done."""

from __future__ import annotations

from stackpy.dsl.values import meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ELSEWHERE = {
    "build": "describe the image: Image(…).copy(…).run(…)",
    "configs": "give the content by `files`",
    "container_name": "containers are named STACK-NAME-NUMBER",
    "cpu_count": "Windows has it; on Linux `cpus` says how many",
    "cpu_percent": "Windows has it; on Linux `cpus` says how many",
    "deploy": "`replicas`, `mem_limit` and `cpus` are fields of the container itself",
    "expose": "containers on one network reach all of each other's ports",
    "extends": "share fields with a dict: Container(name, **common)",
    "links": "containers on one network find each other by name",
    "name": "the name is the first argument",
    "profiles": "use `if` and a variable: var(name, default=False)",
    "scale": "did you mean `replicas`?",
    "userns_mode": "did you mean `userns`?",
}
# of Compose's services; without this list, the nearest field would be proposed for some, which means another thing
_OF_COMPOSE = frozenset(
    "attach credential_spec develop external_links gpus isolation mac_address "
    "runtime update_config volumes_from".split()
)


def hint(kind: str, key: str, known: Sequence[str], elsewhere: Sequence[str]) -> str:
    """What to do instead of giving a resource of `kind` the field `key`.

    known: the fields that it has; elsewhere: those that only a container has
    """
    if key in elsewhere and kind == "job":
        return "a job runs once: it has no replicas, ports, restarts or health"
    if key in _OF_COMPOSE:
        return "Compose has this field, stackpy does not have it yet"
    return _ELSEWHERE.get(key) or meant(key, known)
