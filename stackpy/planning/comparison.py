"""desired + observed → Plan. Pure: no I/O, no clock, no engine; the same input gives the same plan.

Three states meet in each field: what the user sets now, what they had set at the last apply, and what is. Only fields
that the user sets or had set are compared, desired value with live value; so a removed field is seen, a change made by
hand is seen, and a default of an image or an engine never is.
"""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.planning import containers, dependencies, exposure, images, objects, ordering, reasons, refusals, targeting
from stackpy.planning.draft import Draft
from stackpy.planning.finishing import finish
from stackpy.planning.plan import Action, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.dsl.specs import StackSpec
    from stackpy.planning.plan import Desired, Observation
    from stackpy.planning.targeting import Selection


def diff(desired: Desired, observation: Observation, selection: Selection | None = None) -> Plan:
    """The plan that makes the stack on the engine as it is desired.

    selection: to what it is limited, and what it makes anew besides; None: everything that differs
    Raises UsageError when the selection names what is no resource of the stack.
    """
    moves: list[Draft] = []
    notes: list[str] = []
    if desired.stack.moved:
        from stackpy.planning.moving import moved  # few stacks have any

        observation, moves, notes = moved(observation, desired.stack.moved)
    specs, existing = desired.stack.resources, observation.resources
    chosen_ones = targeting.Selection() if selection is None else selection.split([*specs, *existing])
    chosen_ones.check(specs, existing)
    targets, excludes = chosen_ones.targets, chosen_ones.excludes
    anew = frozenset(chosen_ones.replaces)
    drafts = [*moves, *_wanted(desired, observation, anew), *_unwanted(desired.stack, observation)]
    if drafts:
        ordering.link(drafts, specs, existing)
    chosen = targeting.select(drafts, specs, targets) if targets else set(range(len(drafts)))
    if excludes:
        chosen &= targeting.without(drafts, excludes)
    notes += [
        note
        for number, draft in enumerate(drafts)
        if number in chosen and draft.address in specs
        for note in exposure.notes(draft, specs[draft.address])
    ]
    notes += [
        note
        for number, draft in enumerate(drafts)
        if number in chosen and draft.action is Action.BUILD and draft.address in desired.recipes
        for note in exposure.of_steps(draft.address, desired.recipes[draft.address], observation.built)
    ]
    if any(number in chosen and draft.action is Action.BUILD for number, draft in enumerate(drafts)):
        notes += [f"build cache taken from {_shown(place)}" for place in desired.stack.cache_from]
        notes += [f"build cache brought to {_shown(place)}" for place in desired.stack.cache_to]
    notes += [
        kept_volume(desired.stack.name, observed.name, "no longer in stack.py")
        for observed in existing.values()
        if observed.kind == "volume" and observed.address not in specs
    ]
    notes += [
        text
        for address, text in observation.crashes.items()
        if any(
            draft.address == address and _replaces(draft, text)
            for number, draft in enumerate(drafts)
            if number in chosen
        )
    ]
    if chosen:
        notes += [reads(stack, output, number) for (stack, output), number in desired.stack.references.items()]
    if len(chosen) < len(drafts):
        notes.append(targeting.limited(chosen_ones, len(drafts) - len(chosen)))
    refused = refusals.protected((drafts[number] for number in sorted(chosen)), specs, existing) if drafts else ()
    plan = finish(drafts, observation, chosen, notes, refused)
    if plan.changes and any(spec.kind == "volume" and spec.fields.get("snapshot") for spec in specs.values()):
        from stackpy.planning.snapshots import with_snapshots  # few stacks ask for any

        plan = with_snapshots(plan, specs, existing)
    if desired.stack.hidden:
        from stackpy.planning.hiding import without  # likewise

        plan = without(plan, desired.stack.hidden)
    return plan


def _shown(place: str) -> str:
    return place.removeprefix("docker://")


def _replaces(draft: Draft, text: str) -> bool:
    """Whether a change makes anew what has crashed, without saying so itself."""
    return draft.action in (Action.CREATE, Action.REPLACE, Action.RUN) and not any(
        reason.text and text.endswith(reason.text.partition(": ")[2] or "\0") for reason in draft.reasons
    )


def reads(stack: str, output: str, generation: int) -> str:
    """The note on an output of another stack that was read."""
    since = f"as of its generation {generation}" if generation else "which is not there: the default is used"
    return f"reads output `{output}` of stack {stack}, {since}"


def kept_volume(stack: str, name: str, why: str) -> str:
    """The note on a volume that stays, and how it would go."""
    removal = f"`stackpy volume rm {engine_name(stack, 'volume', name)}`"
    return f"volume.{name} is kept{f': {why}' if why else ''}; {removal} deletes its data"


def _wanted(desired: Desired, observation: Observation, anew: frozenset[str]) -> Iterable[Draft]:
    """What is to be done with what the stack declares; `anew`: what is to be replaced in any case."""
    existing = observation.resources
    processes = []
    found: list[Draft | None] = []
    pushes: list[Draft] = []
    for address, spec in desired.stack.resources.items():
        if spec.kind == "image":
            recipe = desired.recipes[address]
            found += images.pulls(spec, desired.pulls.get(address, ()))
            found.append(images.build(desired.stack.name, spec, recipe, observation))
            pushes += images.pushes(spec, recipe, observation)
        elif spec.kind == "network":
            found.append(objects.network(spec, existing.get(address), anew=address in anew))
        elif spec.kind == "volume":
            found.append(objects.volume(spec, existing.get(address)))
        elif spec.kind == "secret":
            found.append(objects.secret(spec, existing.get(address), desired.fingerprints.get(address)))
        else:
            processes.append(spec)
    drafts = [draft for draft in found if draft is not None]
    around = _surroundings(desired, drafts)._replace(anew=anew)
    for spec in processes:
        compare = containers.container if spec.kind == "container" else containers.job
        drafts += compare(spec, existing.get(spec.address), around)
    drafts += dependencies.restarts(drafts, desired.stack.resources, existing)
    return [*drafts, *pushes]


def _surroundings(desired: Desired, drafts: list[Draft]) -> containers.Surroundings:
    hows = {Action.CREATE: "is created anew", Action.REPLACE: "is replaced"}
    return containers.Surroundings(
        images={address: recipe.id for address, recipe in desired.recipes.items()},
        resources=desired.stack.resources,
        renewed={
            draft.address: hows[draft.action]
            for draft in drafts
            if draft.kind in ("network", "volume") and draft.action in hows
        },
        fingerprints={address.partition(".")[2]: value for address, value in desired.fingerprints.items()},
        changing=frozenset(draft.name for draft in drafts if draft.kind == "secret" and _new_value(draft)),
        stack=desired.stack.name,
    )


def _new_value(draft: Draft) -> bool:
    """A secret that only comes back after a restart of the host has the value that it had."""
    return draft.action is Action.CREATE or any(reason.text == reasons.VALUE_CHANGES for reason in draft.reasons)


def _unwanted(stack: StackSpec, observation: Observation) -> Iterable[Draft]:
    """What is to be done with what it does not declare any more: all goes but the data in volumes."""
    for address, observed in observation.resources.items():
        if address not in stack.resources and observed.kind != "volume":
            yield Draft(observed.kind, observed.name, Action.DELETE, [reasons.gone()])
