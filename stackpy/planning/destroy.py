"""The plan that removes a stack. It needs no stack file: what exists on the engine says what is to go."""

from __future__ import annotations

from stackpy.planning import graph, ordering, refusals, targeting
from stackpy.planning.draft import Draft
from stackpy.planning.finishing import finish
from stackpy.planning.plan import Action, Reason
from stackpy.planning.quantities import plural
from stackpy.planning.targeting import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.planning.plan import Observation, Plan


def destroy_plan(
    observation: Observation, *, volumes: bool = False, images: bool = False, selection: Selection | None = None
) -> Plan:
    """Deletes everything of the stack in reverse order of its dependencies.

    volumes: their data too; images: say nothing of images, because the caller removes them
    selection: only the targets and what depends on them; all but the excluded and what they use
    Raises UsageError when the selection names what does not exist.
    """
    chosen_ones = Selection() if selection is None else selection.split(observation.resources)
    targets, excludes = chosen_ones.targets, chosen_ones.excludes
    targeting.check((*targets, *excludes), observation.resources)
    drafts = []
    notes = []
    for observed in observation.resources.values():
        if observed.kind == "volume" and not volumes:
            notes.append(f"{observed.address} is kept: `stackpy destroy --volumes` deletes it and its data")
            continue
        text = "--destroy asks for it" if targets or excludes else "the stack is destroyed"
        text = "with its data" if observed.kind == "volume" else text
        reason = Reason("state", "present", "absent", text)
        drafts.append(Draft(observed.kind, observed.name, Action.DELETE, [reason]))
    if observation.images and not images and not targets:
        notes.append(f"{plural(len(observation.images), 'image')} and the history are kept: --images removes them")
    ordering.link(drafts, {}, observation.resources)
    chosen = set(range(len(drafts)))
    if targets:
        waits = {number: draft.needs | draft.prefers for number, draft in enumerate(drafts)}
        chosen = graph.reachable((number for number in chosen if drafts[number].address in targets), waits)
    if excludes:
        chosen &= targeting.without(drafts, excludes)
    if len(chosen) < len(drafts):
        notes.append(targeting.limited(chosen_ones, len(drafts) - len(chosen)))
    going = (drafts[number] for number in sorted(chosen))
    refused = refusals.protected(going, {}, observation.resources, refusals.DESTROYED)
    return finish(drafts, observation, chosen, notes, refused)
