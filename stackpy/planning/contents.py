"""Files and secrets of a container whose content changes: written anew where it runs, and whom that is told."""

from __future__ import annotations

from stackpy.planning.fields import IN_PLACE, RESTART

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.dsl.specs import Fields
    from stackpy.planning.plan import Reason

_RESTARTS = "restart"  # the word of `on_change` that is no signal


def on_change(fields: Fields, path: str) -> str:
    """What the stack file says of a change of `files.TARGET` or `secrets.NAME`: "restart", a signal, or nothing."""
    kind, _, name = path.partition(".")
    if kind == "files":
        files = fields.get("files", {})
        file = files.get(name) or files.get(name.removesuffix(".mode")) or {}
        return str(file.get("on_change", ""))
    if kind == "secrets":
        told = [str(mount.get("on_change", "")) for mount in fields.get("secrets", ()) if mount["secret"] == name]
        return next((word for word in told if word == _RESTARTS), next((word for word in told if word), ""))
    return ""


def policy(fields: Fields, path: str) -> str:
    """What a change of the content at `path` does.

    The root of a container that is `read_only` takes no file while it runs: one is placed there when it starts.
    """
    if on_change(fields, path) == _RESTARTS or (path.startswith("files.") and fields.get("read_only")):
        return RESTART
    return IN_PLACE


def signals(fields: Fields, reasons: Iterable[Reason]) -> list[str]:
    """The signals that a container gets after these changes, each once."""
    words = (on_change(fields, reason.path) for reason in reasons)
    return list(dict.fromkeys(word for word in words if word and word != _RESTARTS))


def untold(fields: Fields, reasons: Iterable[Reason]) -> list[str]:
    """The paths of contents that change in place, and of which the container's process hears nothing."""
    return [
        reason.path
        for reason in reasons
        if reason.policy == IN_PLACE
        and reason.path.startswith(("files.", "secrets."))
        and not on_change(fields, reason.path)
    ]
