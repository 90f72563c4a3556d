"""Policies that come with stackpy: for `Stack(policies=[…])`, for [policies] in stackpy.toml, and as examples.

no_privileged_containers  no container is root of the host
no_unpinned_images        what a registry's tag means is fixed by a digest or by stackpy.lock
no_public_ports           nothing is published on all of the host's addresses
no_plain_passwords        what looks like a password is a Secret, not a variable of the environment
no_deleted_data           no volume is deleted
"""

from __future__ import annotations

from stackpy.dsl.policies import PlanView, ResourceView, policy
from stackpy.dsl.references import with_tag
from stackpy.dsl.specs import implied_users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Found = Iterable[tuple[ResourceView, str]]

__all__ = [
    "no_deleted_data",
    "no_plain_passwords",
    "no_privileged_containers",
    "no_public_ports",
    "no_unpinned_images",
]

_EVERYWHERE = ("0.0.0.0", "::", "*")


@policy
def no_privileged_containers(plan: PlanView) -> Found:
    """No container is privileged or in the host's user namespace."""
    for container in plan.containers:
        if container.get("privileged"):
            yield container, "is privileged"
        elif container.get("userns") == "host":
            yield container, 'has userns="host": root inside is root of the host'
        elif implied := implied_users(container.fields):
            yield container, f"has {implied}: root inside is root of the host"


@policy
def no_unpinned_images(plan: PlanView) -> Found:
    """Each image of a registry is fixed, by a digest in its name or by stackpy.lock."""
    for image in plan.images:
        base = image["source"]["base"]
        reference = base.get("reference", "") if base["kind"] == "image" else ""
        if reference and "@" not in reference and with_tag(reference) not in plan.pins:
            yield image, f"stands on {reference}, which is not pinned: `stackpy lock` does it"


@policy
def no_public_ports(plan: PlanView) -> Found:
    """No port is published on all of the host's addresses."""
    for container in plan.containers:
        for port in container.get("ports", ()):
            if port["host_ip"] in _EVERYWHERE:
                yield container, f"publishes port {port['published'] or '(any)'} on {port['host_ip']}"


@policy
def no_plain_passwords(plan: PlanView) -> Found:
    """What looks like a password is no variable of the environment."""
    from stackpy.planning.hiding import is_sensitive

    for container in plan.containers:
        for name, value in container.get("environment", {}).items():
            if is_sensitive(f"environment.{name}", value):
                yield container, f"has {name} in its environment: make it a Secret, which is a file on tmpfs"


@policy
def no_deleted_data(plan: PlanView) -> Found:
    """No volume is deleted."""
    for resource in plan.doing("delete", "replace"):
        if resource.kind == "volume":
            yield resource, "would be deleted, with its data"
