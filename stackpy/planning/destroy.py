"""The plan that removes a stack. It needs no stack file: what exists on the engine says what is to go."""

from __future__ import annotations

from stackpy.planning import ordering, refusals
from stackpy.planning.comparison import finish
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.planning.plan import Observation, Plan


def destroy_plan(observation: Observation, *, volumes: bool = False, images: bool = False) -> Plan:
    """Deletes everything of the stack in reverse order of its dependencies.

    volumes: their data too; images: say nothing of images, because the caller removes them
    """
    drafts = []
    notes = []
    for observed in observation.resources.values():
        if observed.kind == "volume" and not volumes:
            notes.append(f"{observed.address} is kept: `stackpy destroy --volumes` deletes it and its data")
            continue
        text = "with its data" if observed.kind == "volume" else "the stack is destroyed"
        reason = Reason("state", "present", "absent", text)
        drafts.append(Draft(observed.kind, observed.name, Action.DELETE, [reason]))
    if observation.images and not images:
        notes.append(f"{plural(len(observation.images), 'image')} and the history are kept: --images removes them")
    ordering.link(drafts, {}, observation.resources)
    refused = refusals.protected(drafts, {}, observation.resources)
    return finish(drafts, observation, set(range(len(drafts))), notes, refused)
