"""What is otherwise than the last apply left it, for people and for programs."""

from __future__ import annotations

from stackpy.planning.plan import Action
from stackpy.planning.quantities import SENSITIVE, human, plural, printable
from stackpy.render.plan_json import FORMAT, change_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from stackpy.planning.plan import Change, Plan, Reason

_MENDING = {Action.UPDATE: "update in place", Action.CREATE: "create", Action.BUILD: "build"}


def drift_text(plan: Plan) -> str:
    """A block for each resource: what the engine shows, what was applied, and what `apply` would do about it."""
    heading = f"{plan.stack} on {plan.engine} · "
    if not plan.changes:
        return f"{heading}generation {plan.generation} · no drift"
    lines = [f"{heading}generation {plan.generation - 1}", ""]
    for change in plan.changes:
        mending = _MENDING.get(change.action, change.action.word)
        what = f" ({change.note})" if change.note and change.action is not Action.BUILD else ""
        lines.append(f"  {change.address}{what}: apply would {mending}")
        lines += [f"      {line}" for line in _reasons(change)]
    count = len({change.address for change in plan.changes})
    lines += ["", f"Drift: {plural(count, 'resource')} {'is' if count == 1 else 'are'} otherwise than applied."]
    return "\n".join(lines)


def _reasons(change: Change) -> Iterator[str]:
    for reason in change.reasons:
        yield _reason(reason)


def _reason(reason: Reason) -> str:
    path = printable(reason.path)
    if reason.sensitive:
        return f"{path}: {SENSITIVE}"
    if reason.path == "state" or (reason.old is None and reason.new is None) or reason.text.startswith("it "):
        return printable(reason.text)
    if "." in path and reason.old is True and reason.new is None:
        return f"{path}: on the engine, and was not applied"
    if "." in path and reason.old is None and reason.new is True:
        return f"{path}: not on the engine"
    if not reason.policy:
        return printable(reason.text)
    return f"{path}: {human(reason.path, reason.old)} on the engine, {human(reason.path, reason.new)} was applied"


def drift_document(plan: Plan) -> dict[str, Any]:
    """The document as plain values: in each reason `old` is the engine's, `new` what was applied."""
    return {
        "format": FORMAT,
        "stack": plan.stack,
        "engine": plan.engine,
        "generation": plan.generation - 1 if plan.changes else plan.generation,
        "drift": [change_document(change) for change in plan.changes],
    }
