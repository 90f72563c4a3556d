"""The last step of planning: linked drafts → the plan, its changes in an order in which they can be made."""

from __future__ import annotations

from stackpy.planning import ordering
from stackpy.planning.plan import Action, Change, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.planning.draft import Draft
    from stackpy.planning.plan import Observation, Refusal


def finish(
    drafts: list[Draft],
    observation: Observation,
    chosen: set[int],
    notes: Iterable[str],
    refused: Iterable[Refusal] = (),
) -> Plan:
    """The plan of the chosen ones of linked drafts."""
    changes: list[Change] = []
    places: dict[int, int] = {}
    for number in ordering.order(drafts):
        if number not in chosen:
            continue
        draft = drafts[number]
        before = sorted(places[n] for n in draft.needs | draft.prefers if n in places)
        places[number] = len(changes)
        depends_on = dict.fromkeys(changes[place].address for place in before)
        depends_on.pop(draft.address, None)  # changes of one address are made as they stand anyway
        changes.append(
            Change(
                draft.address,
                draft.action,
                draft.reasons,
                depends_on=tuple(depends_on),
                order=draft.order if draft.action is Action.REPLACE else "",
                replicas=draft.replicas,
                note=draft.note,
                steps=draft.steps,
            )
        )
    generation = observation.generation + 1 if changes else observation.generation
    return Plan(
        observation.stack,
        observation.engine,
        generation,
        tuple(changes),
        tuple(dict.fromkeys(notes)),
        tuple(refused),
    )
