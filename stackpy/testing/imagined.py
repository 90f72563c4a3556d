"""An engine's answers, imagined: recipes for which nothing was read, and a stack that runs as it was applied."""

from __future__ import annotations

import hashlib
import json

from stackpy.planning.plan import Desired, Observation, Observed, Recipe, RecipeStep, Replica

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.specs import Fields, Spec, StackSpec


def desired(stack: StackSpec) -> Desired:
    """The stack with a recipe of what each image says, not of the files that it copies, and with every secret."""
    recipes = {
        address: _recipe(spec.fields["source"]) for address, spec in stack.resources.items() if spec.kind == "image"
    }
    secrets = {address: "imagined" for address, spec in stack.resources.items() if spec.kind == "secret"}
    return Desired(stack, recipes, secrets)


def nothing(stack: str, engine: str) -> Observation:
    """An engine on which the stack was never applied."""
    return Observation(stack, engine, 0, {}, {}, frozenset(), {})


def applied(wanted: Desired, engine: str) -> Observation:
    """An engine on which it was applied, and everything runs."""
    specs = wanted.stack.resources.values()
    return Observation(
        stack=wanted.stack.name,
        engine=engine,
        generation=1,
        resources={spec.address: _observed(spec, wanted) for spec in specs if spec.kind != "image"},
        images=dict(wanted.recipes),
        built=frozenset().union(*(recipe.step_ids for recipe in wanted.recipes.values())),
        tags={tag: wanted.recipes[spec.address].id for spec in specs for tag in spec.fields.get("tags", ())},
        published={tag: wanted.recipes[spec.address].id for spec in specs for tag in spec.fields.get("publish", ())},
    )


def _observed(spec: Spec, wanted: Desired) -> Observed:
    if spec.kind == "secret":
        return Observed("secret", spec.name, {"fingerprint": "imagined", "available": True}, spec.fields)
    if spec.kind not in ("container", "job"):
        return Observed(spec.kind, spec.name, spec.fields, spec.fields, (), spec.dependencies)
    live = _live(spec.fields)
    image = wanted.recipes[spec.fields["image"]].id
    job = spec.kind == "job"
    replicas = tuple(
        Replica(
            index=index,
            id=f"{spec.name}-{index}",
            name=f"{wanted.stack.name}-{spec.name}-{index}",
            status="exited" if job else "running",
            health="",
            exit_code=0 if job else None,
            ended=0.0,
            image=image,
            live=live,
            applied=spec.fields,
        )
        for index in range(1, int(spec.fields.get("replicas", 1)) + 1)
    )
    return Observed(spec.kind, spec.name, live, spec.fields, replicas, spec.dependencies)


def _live(fields: Fields) -> dict[str, Any]:
    """What an engine shows of a container's fields: neither image nor replicas, and the secrets' fingerprints."""
    live = {key: value for key, value in fields.items() if key not in ("image", "replicas")}
    if "secrets" in live:
        live["secrets"] = [{**mount, "fingerprint": "imagined"} for mount in live["secrets"]]
    return live


def _recipe(source: dict[str, Any]) -> Recipe:
    steps: list[RecipeStep] = []
    chain = ""
    base = source["base"]
    texts = [(f"FROM {base.get('reference') or base['kind']}", base)]
    for text, what in [*texts, *((step["text"], step) for step in source["steps"])]:
        content = {key: value for key, value in what.items() if key not in ("line", "text")}
        own = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
        chain = hashlib.sha256(f"{chain}/{own}".encode()).hexdigest()
        steps.append(RecipeStep(chain, text, str(what.get("line", "")), {"content": own}))
    return Recipe(chain, tuple(steps))
