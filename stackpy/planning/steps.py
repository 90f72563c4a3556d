"""Why each step of an image is made again, or is not: compared with the nearest earlier build."""

from __future__ import annotations

from stackpy.planning import hiding
from stackpy.planning.quantities import number, printable
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from stackpy.planning.plan import Recipe, RecipeStep

# names of inputs (stackpy_runtime.build.step_inputs) that need other words; the rest are names of files
_WORDS = {
    "argv": "its command",
    "cache": "its cache folders",
    "content": "its content",
    "archive": "the archive",
    "from": "what it takes files from",
    "image": "the base image",
    "mode": "its mode",
    "sources": "which files it takes",
    "stage": "the stage that it stands on",
    "target": "where it puts them",
    "user": "the user it runs as",
}
_BEGINNINGS = {"env ": "the variable ", "url ": "what is at ", "git ": "the commit of ", "<<": "its heredoc "}
_DIGESTS = ("image", "archive")
_ARGUMENT = "build argument "


class _Known(NamedTuple):
    """What was built before: the image itself, and others."""

    last: Recipe | None
    others: list[Recipe]


class Explained(NamedTuple):
    """One step: its title, whether its result is there already, and if not, why: one line, "" when it is."""

    title: str
    cached: bool
    why: str

    def __str__(self) -> str:
        if self.cached:
            return f"cached {self.title}"
        return f"ran    {self.title}: {self.why}"


def explained(
    recipe: Recipe, earlier: Iterable[Recipe], built: Set[str], last: Recipe | None = None
) -> tuple[Explained, ...]:
    """All steps of an image, those of the stages that a build needs first.

    earlier: what images were built from; the one that agrees longest from the beginning is compared with
    last: what this one was built from before; of others one that shares no more than a base tells nothing
    built: IDs of the steps whose result is in the store; what a build stands on is always there
    """
    known = _Known(last, list(earlier))
    result: list[Explained] = []
    needed = _needed(recipe, built)
    stages = stages_of(recipe)
    for name, stage in recipe.stages.items():
        if name in needed:
            result += _chain(stage, known, built, name, stages)
    return (*result, *_chain(recipe, known, built, "", stages))


def turned_out(steps: Iterable[Explained], happened: Mapping[str, bool]) -> tuple[Explained, ...]:
    """The same once it was built: a step whose files came out as they were was cached, and some did not come to run.

    happened: whether it was cached, by title, of the steps that the build has looked at
    """
    return tuple(
        step._replace(cached=happened[step.title]) if step.title in happened and not step.cached else step
        for step in steps
        if step.cached or step.title in happened
    )


def title(text: str, number: int, count: int, stage: str = "") -> str:
    """What a step is called: `[stage] 2/5 RUN make`."""
    return f"{f'[{stage}] ' if stage else ''}{number}/{count} {hiding.step(text)}"


def _needed(recipe: Recipe, built: Set[str]) -> set[str]:
    """The stages that an image stands on, and those that a step takes from which has no result yet."""
    found: set[str] = set()
    left = [recipe]
    while left:
        steps = left.pop().steps
        wanted = [steps[0], *(step for step in steps[1:] if step.id not in built)]
        values = "\n".join(value for step in wanted for value in step.inputs.values())
        for name, stage in recipe.stages.items():
            if name not in found and any(step.id in values for step in stage.steps):
                found.add(name)
                left.append(stage)
    return found


def _chain(recipe: Recipe, earlier: _Known, built: Set[str], name: str, stages: Mapping[str, str]) -> list[Explained]:
    old = _nearest(recipe, earlier)
    texts = {} if old is None else _by_text(old)
    result: list[Explained] = []
    ran = 0  # the number of the step that ran last
    for index, step in enumerate(recipe.steps):
        shown = title(step.text, index + 1, len(recipe.steps), name)
        if step.id in built or (index == 0 and _is_given(step)):
            result.append(Explained(shown, True, ""))
            continue
        before = None
        if old is not None:
            before = _same(texts.get(step.text, []), step) or (old.steps[index] if index < len(old.steps) else None)
        replaced = before is not None and before.text != step.text and before.text in {s.text for s in recipe.steps}
        stands = _stands_on(old, recipe) if not ran else f"step {ran} ran"
        why = _why(step, None if replaced else before, stands, stages, first=old is None)
        result.append(Explained(shown, False, why))
        ran = index + 1
    return result


def _is_given(step: RecipeStep) -> bool:
    """Whether a base is one that no build makes."""
    return step.inputs.keys() <= {"image", "stage"}


def _nearest(recipe: Recipe, earlier: _Known) -> Recipe | None:
    """The chain among earlier images and their stages that agrees longest; of several the one with most equal texts."""
    own = _chains([] if earlier.last is None else [earlier.last])
    chains = [*own, *_chains(earlier.others)]
    texts = {step.text for step in recipe.steps}

    def nearness(chain: Recipe) -> tuple[int, int]:
        pairs = zip(chain.steps, recipe.steps, strict=False)
        agreeing = next((i for i, (one, other) in enumerate(pairs) if one.id != other.id), len(chain.steps))
        return agreeing, sum(step.text in texts for step in chain.steps)

    best = max(chains, key=nearness, default=None)
    if best is None:
        return None
    agreeing, shared = nearness(best)
    least = 0 if best in own or len(recipe.steps) == 1 else 1
    return best if max(agreeing, shared) > least else None


def _chains(recipes: list[Recipe]) -> list[Recipe]:
    return [chain for each in recipes for chain in (each, *each.stages.values())]


def _by_text(recipe: Recipe) -> dict[str, list[RecipeStep]]:
    result: dict[str, list[RecipeStep]] = {}
    for step in recipe.steps:
        result.setdefault(step.text, []).append(step)
    return result


def _same(candidates: list[RecipeStep], step: RecipeStep) -> RecipeStep | None:
    """The former step of the same text: the very same, else the one with the most equal inputs."""
    return max(
        candidates,
        key=lambda each: (each.id == step.id, sum(each.inputs.get(name) == step.inputs[name] for name in step.inputs)),
        default=None,
    )


def _stands_on(old: Recipe | None, new: Recipe) -> str:
    """In what the base differs, which no build makes and which is there."""
    before = {} if old is None or not old.steps else old.steps[0].inputs
    return difference(before, new.steps[0].inputs) or "what it stands on differs"


def _why(step: RecipeStep, before: RecipeStep | None, stands: str, stages: Mapping[str, str], *, first: bool) -> str:
    if first:
        return "it was never built"
    if before is None:
        return "it is new"
    if before.id == step.id:
        return "its result is not in the store"
    told = any(name.startswith(_ARGUMENT) for name in _differing(before.inputs, step.inputs))
    if before.text != step.text and not told:
        was = hiding.step(before.text)
        return "its value changes" if was == hiding.step(step.text) else f"it was {was}"
    return difference(before.inputs, step.inputs, stages) or stands


def stages_of(recipe: Recipe) -> dict[str, str]:
    """The ID of each step of its stages → the name of the stage."""
    return {step.id: name for name, stage in recipe.stages.items() for step in stage.steps}


def difference(old: Mapping[str, str], new: Mapping[str, str], stages: Mapping[str, str] | None = None) -> str:
    """The first input of a step that differs; "" where none does. stages: as of stages_of"""
    differing = _differing(old, new)
    if not differing:
        return ""
    # What the user changed, rather than what came of it: a build argument before the command that it stands in.
    name = next((name for name in differing if name.startswith(_ARGUMENT)), differing[0])
    count = len([each for each in differing if each != "argv" or name == "argv"])
    more = f" and {number(count - 1)} more" if count > 1 else ""
    named = (
        f"the stage {printable(stages[new[name]])}"
        if stages and name == "from" and new.get(name) in stages
        else _named(name)
    )
    return f"{named} {_verb(name, old.get(name), new.get(name))}{more}"


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [name for name in {**new, **old} if old.get(name) != new.get(name)]


def _named(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    for beginning, words in _BEGINNINGS.items():
        if name.startswith(beginning):
            return words + printable(name.removeprefix(beginning))
    return printable(name)


def _verb(name: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return "is new" if old is None else "is gone"
    if name in _DIGESTS:
        return f"differs: {_short(old)} → {_short(new)}"
    return "differs"


def _short(digest: str) -> str:
    kind, colon, number = printable(digest).rpartition(":")
    return f"{kind}{colon}{number[:12]}"
