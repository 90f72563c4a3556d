"""A plan as JSON: a contract with other programs; `format` is raised when a reader would have to change."""

from __future__ import annotations

from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.planning.plan import Change, Cost, Plan, Reason

FORMAT = 1
SUMMARY_ORDER = (
    Action.PULL,
    Action.BUILD,
    Action.SNAPSHOT,
    Action.RESTORE,
    Action.CREATE,
    Action.MOVE,
    Action.UPDATE,
    Action.REPLACE,
    Action.START,
    Action.RESTART,
    Action.RUN,
    Action.PUSH,
    Action.DELETE,
)


def plan_json(plan: Plan) -> str:
    """The JSON document of a plan, indented."""
    import json  # 8 ms, which the text form does not need

    return json.dumps(plan_document(plan), indent=2, ensure_ascii=False)


def plan_document(plan: Plan) -> dict[str, Any]:
    """The document as plain values; `notes`, `costs` and the like stand in it where there are any."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "stack": plan.stack,
        "engine": plan.engine,
        "generation": plan.generation,
        "changes": [change_document(change) for change in plan.changes],
        "summary": summary(plan),
        **({"refusals": [refusal._asdict() for refusal in plan.refusals]} if plan.refusals else {}),
    }
    if plan.components:
        document["components"] = {name: one._asdict() for name, one in plan.components.items()}
    if plan.notes:
        document["notes"] = list(plan.notes)
    if plan.costs:
        document["costs"] = [_cost(cost) for cost in plan.costs]
    if plan.verdicts:
        document["policies"] = [verdict._asdict() for verdict in plan.verdicts]
    if plan.outputs:
        outputs = [_reason(output) for output in plan.outputs]
        document["outputs"] = [{"name": output.pop("path"), **output} for output in outputs]
    return document


def change_document(change: Change) -> dict[str, Any]:
    """One change; `order` stands only where it matters, `replicas` only where not all are meant."""
    document: dict[str, Any] = {"address": change.address, "action": change.action.word}
    if change.order:
        document["order"] = change.order
    if change.replicas:
        document["replicas"] = list(change.replicas)
    document["reasons"] = [_reason(reason) for reason in change.reasons]
    document["depends_on"] = list(change.depends_on)
    if change.snapshots:
        document["snapshots"] = list(change.snapshots)
    if change.data is not None:
        data = change.data
        document["deletes_data"] = {
            "bytes": data.bytes,
            "seconds_since_written": round(data.written, 1),
            **({"snapshots": data.snapshots, "snapshot_bytes": data.snapshot_bytes} if data.snapshots else {}),
        }
    if change.steps:
        document["steps"] = list(change.steps)
    return document


def summary(plan: Plan) -> dict[str, int]:
    """How many changes there are of each action that occurs."""
    counts = {action.word: sum(change.action is action for change in plan.changes) for action in SUMMARY_ORDER}
    return {word: count for word, count in counts.items() if count}


def _reason(reason: Reason) -> dict[str, Any]:
    hidden = reason.sensitive
    document = {
        "path": reason.path,
        "old": None if hidden else reason.old,
        "new": None if hidden else reason.new,
        "sensitive": hidden,
        "text": reason.text,
    }
    if reason.policy:
        document["policy"] = reason.policy
    if reason.place:
        document["place"] = reason.place
    return document


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "address": cost.address,
        "action": cost.action.word,
        "stops": cost.stops,
        "of": cost.of,
        "seconds": cost.seconds,
        "gaps": list(cost.gaps),
        "kept": list(cost.kept),
    }
