"""A plan's JSON document → the plan, so that one that was saved can be shown in every form."""

from __future__ import annotations

from stackpy.dsl.specs import ComponentSpec
from stackpy.planning.plan import Action, Change, Cost, Data, Plan, Reason, Refusal, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def plan_from(document: Mapping[str, Any]) -> Plan:
    """The plan that plan_document made the document of; raises KeyError, TypeError or ValueError for another one."""
    return Plan(
        stack=str(document["stack"]),
        engine=str(document["engine"]),
        generation=int(document["generation"]),
        changes=tuple(_change(change) for change in document["changes"]),
        notes=tuple(map(str, document.get("notes", ()))),
        costs=tuple(_cost(cost) for cost in document.get("costs", ())),
        verdicts=tuple(Verdict(**verdict) for verdict in document.get("policies", ())),
        outputs=tuple(_output(output) for output in document.get("outputs", ())),
        refusals=tuple(Refusal(**refusal) for refusal in document.get("refusals", ())),
        components={name: _component(one) for name, one in document.get("components", {}).items()},
    )


def _change(document: Mapping[str, Any]) -> Change:
    data = document.get("deletes_data")
    return Change(
        address=str(document["address"]),
        action=_action(document["action"]),
        reasons=tuple(Reason(**reason) for reason in document["reasons"]),
        depends_on=tuple(map(str, document["depends_on"])),
        order=document.get("order", ""),
        replicas=tuple(map(int, document.get("replicas", ()))),
        note=str(document.get("note", "")),
        steps=tuple(map(str, document.get("steps", ()))),
        data=_data(data) if data else None,
        snapshots=tuple(map(str, document.get("snapshots", ()))),
    )


def _data(document: Mapping[str, Any]) -> Data:
    return Data(
        int(document["bytes"]),
        float(document["seconds_since_written"]),
        int(document.get("snapshots", 0)),
        int(document.get("snapshot_bytes", 0)),
    )


def _output(document: Mapping[str, Any]) -> Reason:
    values = dict(document)
    return Reason(path=str(values.pop("name")), **values)


def _component(document: Mapping[str, Any]) -> ComponentSpec:
    return ComponentSpec(str(document["kind"]), str(document["doc"]), tuple(map(str, document["children"])))


def _cost(document: Mapping[str, Any]) -> Cost:
    return Cost(
        address=str(document["address"]),
        action=_action(document["action"]),
        stops=int(document["stops"]),
        of=int(document["of"]),
        seconds=document["seconds"],
        gaps=tuple(document["gaps"]),
        kept=tuple(document["kept"]),
    )


def _action(word: Any) -> Action:
    found = getattr(Action, str(word).upper(), None)
    if not isinstance(found, Action):
        raise ValueError(f"no action `{word}`")
    return found
