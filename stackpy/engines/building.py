"""What the build of a stack's image is given besides its source: values of secrets, agents, leave."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.specs import StackSpec
    from stackpy.engines.base import SecretValues

_LEAVES = (("network", "host", "network.host"), ("security", "insecure", "security.insecure"))
_AGENT = "SSH_AUTH_SOCK"


def options(source: dict[str, Any], stack: StackSpec, secrets: SecretValues) -> dict[str, Any]:
    """The build options of an image of a stack (stackpy_runtime.model.BuildOptions).

    A step's secret is the stack's of that name, and its `default` agent the one of whoever applies. What a Dockerfile
    asks for is not known here, so a build on one gets all of the stack's; a step takes no more than it names.
    """
    sources = [source, *source.get("stages", {}).values()]
    steps = [step for each in sources for step in each["steps"]]
    opaque = any(each["base"]["kind"] == "dockerfile" for each in sources)
    mounts = [mount for step in steps for mount in step.get("mounts", [])]
    declared = [address.removeprefix("secret.") for address in stack.resources if address.startswith("secret.")]
    wanted = declared if opaque else [mount["id"] for mount in mounts if mount["type"] == "secret"]
    result: dict[str, Any] = {}
    if given := _values(dict.fromkeys(wanted), declared, secrets):
        result["secrets"] = given
    agent = os.environ.get(_AGENT, "")
    if agent and (opaque or any(mount["type"] == "ssh" for mount in mounts)):
        result["ssh"] = {"default": agent}
    # Who writes a stack file may give a container the host's network and rights too. A Dockerfile may be another's, and
    # has what the stack file allows it.
    allowed = {name for each in sources for name in each["base"].get("allow", ())}
    if not opaque:
        allowed |= {leave for step in steps for field, value, leave in _LEAVES if step.get(field) == value}
    if allowed:
        result["allow"] = sorted(allowed)
    return result


def _values(wanted: dict[str, None], declared: list[str], secrets: SecretValues) -> dict[str, bytes]:
    found = {name: secrets.get(name) for name in wanted if name in declared}
    return {name: value for name, value in found.items() if value is not None}
