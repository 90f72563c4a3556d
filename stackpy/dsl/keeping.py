"""What a resource says of changes to itself: `protect`, `ignore_changes`, and `on_change` of files and secrets."""

from __future__ import annotations

from stackpy.dsl.values import Complaints, Invalid, meant, show, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Nothing of the engine's objects follows from these: to ignore a change of them would mean nothing.
_NEVER = ("protect", "ignore_changes", "depends_on", "pull_policy")
# what is written → the field by which it is compared
_SAME_AS = {"env_file": "environment", "label_file": "labels", "tmpfs": "volumes", "platform": "image"}


def on_change(value: object) -> str:
    """What a container is told of a content that changes while it runs: "restart" or a signal."""
    if value == "restart":
        return value
    from stackpy.dsl import kernel_names  # few files say it

    try:
        return kernel_names.signal(value)
    except Invalid as invalid:
        raise wrong('"restart" or a signal such as "SIGHUP"', value, invalid.hint) from None


def ignored(fields: Iterable[str]) -> Callable[[object], list[str]]:
    """A parser for paths of fields whose differences are not the stack file's business: `mem_limit`, `labels.team`.

    fields: those that the resource can have
    """
    known = [field for field in fields if field not in (*_NEVER, *_SAME_AS)]

    def parse(value: object) -> list[str]:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise wrong('a list of fields such as "mem_limit" or "labels.team"', value)
        complaints = Complaints()
        found: dict[str, None] = {}
        for index, item in enumerate(value):
            head = item.partition(".")[0] if isinstance(item, str) else ""
            if head in known and isinstance(item, str) and not item.endswith("."):
                found[item] = None
            elif head in _SAME_AS:
                complaints.add(Invalid(f"has `{head}`, which is compared as `{_SAME_AS[head]}`"), index)
            elif head in _NEVER:
                complaints.add(Invalid(f"has `{head}`, whose changes touch nothing that runs"), index)
            else:
                complaints.add(Invalid(f"has no field {show(item)}", meant(head, known)), index)
        complaints.settle()
        return list(found)

    return parse
