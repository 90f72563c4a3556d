"""pause, resume and update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import EngineError
from stackpy_runtime.oci import devices, groups, resources, state
from stackpy_runtime.oci.fields import Fields

if TYPE_CHECKING:
    from stackpy_runtime.oci.groups import Group


def freeze(root: str, identity: str, *, frozen: bool) -> None:
    """Holds a container's processes where they are, or has them go on."""
    folder = state.Folder(root, identity)
    with folder.locked():
        record = folder.record()
        group = groups.Group(record["cgroups_path"])
        now = state.status(folder, record, frozen=group.frozen())
        state.need(now, ("running", "created") if frozen else ("paused",), identity)
        group.freeze(frozen)


def update(root: str, identity: str, given: dict[str, Any]) -> None:
    """Changes limits of a container, whose document keeps them; all or none are changed.

    given: `linux.resources`, of which only what is there is changed
    """
    folder = state.Folder(root, identity)
    with folder.locked():
        record = folder.record()
        state.need(state.status(folder, record), ("running", "created"), identity)
        group = groups.Group(record["cgroups_path"])
        document = folder.document()
        linux = document.setdefault("linux", {})
        before = linux.get("resources") or {}
        fields = Fields(given, "resources")
        wanted = resources.writes(fields, group.version)
        _check_use(group, fields.object("memory"))
        try:
            group.apply(wanted)
            if fields.has("devices"):
                group.permit(devices.rules(fields))
        except EngineError:
            # Back to what held: a part of the limits would be what nobody has asked for.
            group.apply(resources.writes(Fields(before, "resources"), group.version))
            raise
        linux["resources"] = {
            key: {**before[key], **value} if isinstance(value, dict) and isinstance(before.get(key), dict) else value
            for key, value in {**before, **given}.items()
        }
        folder.write_document(document)


def _check_use(group: Group, memory: Fields) -> None:
    """checkBeforeUpdate: refuses a limit below what is in use, by which the kernel would kill."""
    limit = memory.number("limit")
    if not memory.flag("checkBeforeUpdate") or not limit or limit < 0:
        return
    controller, name = ("", "memory.current") if group.version == 2 else ("memory", "memory.usage_in_bytes")
    try:
        with open(f"{group.folder(controller)}/{name}", encoding="ascii") as file:
            used = int(file.read())
    except OSError:
        return
    if used > limit:
        raise EngineError(f"{memory.where('limit')}: {limit} bytes are less than the {used} in use")
