"""Which images are to be built: a recipe whose steps, result or names the store does not hold. What of a registry must
be there first, and what goes to one.
"""

from __future__ import annotations

from stackpy.dsl.references import image_tags
from stackpy.planning import reasons
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Observation, Pull, Recipe

# bases that exist already or are empty: nothing is made for the first step of a recipe that stands on them; what a
# Dockerfile begins with is one of the same
MISSING = "it is not in the store"
_GIVEN_BASES = frozenset({"image", "scratch", "dockerfile"})


def build(stack: str, spec: Spec, recipe: Recipe, observation: Observation) -> Draft | None:
    """The build that the image needs, or None. stack: its name, which the image's own name begins with"""
    given = spec.fields["source"]["base"]["kind"] in _GIVEN_BASES
    steps = recipe.steps
    missing = [index for index in range(1 if given else 0, len(steps)) if steps[index].id not in observation.built]
    last = observation.images.get(spec.address)
    as_it_comes = given and len(steps) <= 1 and spec.fields["source"]["base"]["kind"] == "image"
    astray = [tag for tag in image_tags(stack, spec) if observation.tags.get(tag) != recipe.id]
    why: list[Reason] = []
    # Built before the last one, and named as it should be: so a rollback leaves it.
    if missing or (not as_it_comes and (last is None or (last.id != recipe.id and astray))):
        why.append(reasons.of_recipes(last, recipe, missing))
    if not spec.fields.get("tags"):
        # The name that it has of itself counts where it alone is wrong, as a rollback leaves it, and is not just gone.
        astray = [] if why or as_it_comes else [tag for tag in astray if tag in observation.tags]
    why += [_tag(tag, observation.tags.get(tag), recipe.id) for tag in astray]
    if not why:
        return None
    note = f"{len(missing)} of {plural(len(steps), 'step')}"
    return Draft("image", spec.name, Action.BUILD, why, note=note, steps=_explained(recipe, last, observation))


def _explained(recipe: Recipe, last: Recipe | None, observation: Observation) -> tuple[str, ...]:
    """What becomes of each step."""
    from stackpy.planning.steps import explained  # only where something is built

    return tuple(str(step) for step in explained(recipe, observation.images.values(), observation.built, last))


def pulls(spec: Spec, wanted: Iterable[Pull]) -> list[Draft]:
    """The pulls that the image needs; where several images need the same, the engine fetches it once."""
    found = []
    for pull in wanted:
        why = Reason("base", None, None, pull.text) if pull.text else Reason("state", "absent", "present", MISSING)
        found.append(Draft("image", spec.name, Action.PULL, [why], note=pull.shown))
    return found


def pushes(spec: Spec, recipe: Recipe, observation: Observation) -> list[Draft]:
    """The names under which the image is to be given to a registry, and was not yet as it is now."""
    found = []
    for reference in spec.fields.get("publish", ()):
        old = observation.published.get(reference)
        if old is None:
            why = Reason("state", "absent", "present", "it was not pushed from here yet")
        else:
            why = Reason("base", None, None, "the image has changed since it was pushed")
        if old != recipe.id:
            found.append(Draft("image", spec.name, Action.PUSH, [why], note=reference))
    return found


def _tag(tag: str, old: str | None, new: str) -> Reason:
    text = f"{tag} is not in the store" if old is None else f"{tag} names another image"
    return Reason("tags", old, new, text)
