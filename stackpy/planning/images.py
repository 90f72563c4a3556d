"""Which images are to be built: a recipe whose steps, result or names the store does not hold."""

from __future__ import annotations

from stackpy.planning import reasons
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Observation, Recipe

# bases that exist already or are empty: nothing is made for the first step of a recipe that stands on them; what a
# Dockerfile begins with is one of the same
_GIVEN_BASES = frozenset({"image", "scratch", "dockerfile"})


def build(spec: Spec, recipe: Recipe, observation: Observation) -> Draft | None:
    """The build that the image needs, or None."""
    given = spec.fields["source"]["base"]["kind"] in _GIVEN_BASES
    steps = recipe.steps
    missing = [index for index in range(1 if given else 0, len(steps)) if steps[index].id not in observation.built]
    last = observation.images.get(spec.address)
    as_it_comes = given and len(steps) <= 1 and spec.fields["source"]["base"]["kind"] == "image"
    why: list[Reason] = []
    if missing or (not as_it_comes and (last is None or last.id != recipe.id)):
        why.append(reasons.of_recipes(last, recipe, missing))
    why += [
        _tag(tag, observation.tags.get(tag), recipe.id)
        for tag in spec.fields.get("tags", ())
        if observation.tags.get(tag) != recipe.id
    ]
    if not why:
        return None
    return Draft("image", spec.name, Action.BUILD, why, note=f"{len(missing)} of {plural(len(steps), 'step')}")


def _tag(tag: str, old: str | None, new: str) -> Reason:
    text = f"{tag} is not in the store" if old is None else f"{tag} names another image"
    return Reason("tags", old, new, text)
