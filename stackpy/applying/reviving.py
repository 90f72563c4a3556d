"""What a generation keeps so that it can be brought back: what was wanted, and which images that meant.

Values of secrets are in none of it: specs never hold them, and what may be one by its name is left out (unkept.py). It
is history: what runs is always read from the engine.
"""

from __future__ import annotations

from stackpy.applying import unkept
from stackpy.dsl.secrecy import holds
from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.errors import StackpyError
from stackpy.planning.plan import Action, Change, Desired, Reason, Recipe
from stackpy.problems import Location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.planning.plan import Observation, Plan

FORMAT = 2
_READ = (1, FORMAT)  # in the first, values that may be secrets were kept


def kept(desired: Desired) -> dict[str, Any]:
    """The part of a generation's document that brings it back."""
    stack = desired.stack
    return {
        "format": FORMAT,
        "folder": stack.folder,
        "resources": [
            [
                spec.kind,
                spec.name,
                unkept.kept(spec, stack.hidden, stack.unkept.get(spec.address, ())),
                [list(each) for each in spec.dependencies],
            ]
            for spec in stack.resources.values()
        ],
        "recipes": {address: recipe.id for address, recipe in desired.recipes.items()},
        # as they were declared: a port that the engine chose is another one when it is brought back
        "outputs": dict(stack.outputs),
        "hidden_outputs": [
            name for name, value in stack.outputs.items() if name in stack.hidden_outputs or holds(value, stack.hidden)
        ],
    }


def revived(document: Mapping[str, Any]) -> Desired:
    """What a generation wanted; raises StackpyError for one that does not say it."""
    wanted, number = document.get("desired"), document["generation"]
    if document.get("outcome") == "adopted":
        what = ", ".join(document.get("adopted", {}))
        raise StackpyError(
            f"generation {number} has only taken {what} into the stack: there is nothing to go back to",
            hint="name one that was applied, as `stackpy history` lists them",
        )
    if not isinstance(wanted, dict) or wanted.get("format") not in _READ:
        raise StackpyError(
            f"generation {number} cannot be brought back: it was kept by another version of stackpy",
            hint="`stackpy history` lists what there is",
        )
    where = Location(f"generation {number}", 0)
    specs = [
        Spec(kind, name, fields, tuple(Dependency(*each) for each in dependencies), where)
        for kind, name, fields, dependencies in wanted["resources"]
    ]
    outputs = wanted.get("outputs", document.get("outputs", {}))
    stack = StackSpec(
        document["stack"],
        {spec.address: spec for spec in specs},
        outputs,
        wanted["folder"],
        hidden_outputs=tuple(wanted.get("hidden_outputs", ())),
    )
    recipes = {address: Recipe(identity, ()) for address, identity in wanted["recipes"].items()}
    return Desired(stack, recipes, {})


def completed(
    desired: Desired, observation: Observation, declared: Callable[[], StackSpec | None], number: int
) -> tuple[Desired, list[str]]:
    """A generation's stack with values of now for those that it does not keep, and a note on each resource with some.

    observation: what runs goes before what is declared now, which is asked for only where that does not tell
    Raises StackpyError for a value that neither has.
    """

    def now(address: str, path: str) -> Mapping[str, Any] | None:
        name, _, key = path.partition(".")
        observed = observation.resources.get(address)
        if observed is not None and _has(observed.applied, name, key):
            return observed.applied
        file = declared()
        spec = None if file is None else file.resources.get(address)
        return spec.fields if spec is not None and _has(spec.fields, name, key) else None

    specs, notes, left = {}, [], {}
    for address, spec in desired.stack.resources.items():
        specs[address], paths = unkept.completed(spec, now, number)
        if paths:
            left[address] = paths
            keeps = "keep their values of now" if len(paths) > 1 else "keeps its value of now"
            notes.append(f"{address}: {', '.join(paths)} {keeps}: what may be a secret is in no generation")
    return desired._replace(stack=desired.stack._replace(resources=specs, unkept=left)), notes


def _has(fields: Mapping[str, Any], name: str, key: str) -> bool:
    return name in fields and (not key or key in fields[name])


def as_built(observation: Observation, desired: Desired) -> Observation:
    """An observation in which the images of a generation are as it wants them: they are taken as they are kept.

    They are not built again, since what they were made of may have gone; that their names move is `renamed`'s.
    """
    from stackpy.dsl.references import image_tags

    stack = desired.stack
    tags = {
        tag: desired.recipes[spec.address].id
        for spec in stack.resources.values()
        if spec.kind == "image"
        for tag in (*image_tags(stack.name, spec), *spec.fields.get("publish", ()))
    }
    return observation._replace(
        images={**observation.images, **desired.recipes},
        tags={**observation.tags, **tags},
        published={**observation.published, **tags},
    )


def renamed(plan: Plan, desired: Desired, observation: Observation, images: Mapping[str, str]) -> Plan:
    """The plan in which the names that the stack gives its images mean those of the generation again.

    observation: as it is; images: those that the generation ran, image address → ID. What was pushed stays as it is.
    """
    from stackpy.dsl.references import image_tags

    changes = []
    for address, recipe in desired.recipes.items():
        spec = desired.stack.resources[address]
        source = spec.fields["source"]
        as_it_comes = source["base"]["kind"] == "image" and not source["steps"] and not spec.fields.get("tags")
        if address not in images or as_it_comes:
            continue
        why = [
            Reason("tags", None, None, f"{tag} names another image" if old else f"{tag} is not in the store")
            for tag in image_tags(desired.stack.name, spec)
            if (old := observation.tags.get(tag)) not in (recipe.id, images[address])
        ]
        if why:
            changes.append(Change(address, Action.UPDATE, tuple(why)))
    if not changes:
        return plan
    generation = plan.generation if plan.changes else plan.generation + 1
    return plan._replace(changes=(*plan.changes, *changes), generation=generation)


def numbered(documents: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    """The generation of a number; raises StackpyError that says why there is none."""
    for document in documents:
        if document["generation"] == number:
            return document
    if not documents:
        raise StackpyError(
            f"there is no generation {number}: the stack has no history", hint="`stackpy ls` lists stacks"
        )
    first, last = documents[0]["generation"], documents[-1]["generation"]
    known = f"kept are {first} to {last}" if last > first else f"kept is {first}"
    if 0 < number < first:
        raise StackpyError(
            f"generation {number} is not kept any more", hint=f"{known}; `[generations] keep` says how many"
        )
    raise StackpyError(f"there is no generation {number}", hint=known)


def choose(documents: Sequence[Mapping[str, Any]], number: int | None) -> Mapping[str, Any]:
    """The generation that a rollback goes to; raises StackpyError where there is none.

    documents: those that are kept, oldest first
    number: None: the last that succeeded before the one that is there, or that is there when the last failed; after a
        rollback that did not come to its end, the one that it went to
    """
    if number is not None:
        document = numbered(documents, number)
        if document["outcome"] == "destroyed":
            raise StackpyError(f"generation {number} destroyed the stack", hint="that is `stackpy destroy`")
        return document
    last: Mapping[str, Any] = documents[-1] if documents else {}
    if "rolled_back_to" in last and last["outcome"] != "applied":
        return numbered(documents, int(last["rolled_back_to"]))
    # Twice in a row goes back further, and not to what has just been left.
    before: int | None = last.get("rolled_back_to", last["generation"] if last.get("outcome") == "applied" else None)
    for earlier in reversed(documents):
        if earlier["outcome"] == "applied" and (before is None or int(earlier["generation"]) < before):
            found: Mapping[str, Any] = earlier
            return found
    raise StackpyError(
        "there is nothing to go back to: no earlier apply that succeeded is kept",
        hint="`stackpy history` lists what there is",
    )
