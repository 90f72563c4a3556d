"""Reads a planner case: what is desired, what was applied before, how things stand now, and the plan that follows.

stack, generation         "shop", 4
targets, excludes, replaces   [] or addresses for --target, --exclude and --replace
[desired.ADDRESS]         fields of what the stack file declares; depends_on = {ADDRESS = condition},
                          or {ADDRESS = [condition, restart, required]}
[before.ADDRESS]          fields that were applied; what exists is like that unless the next two say otherwise
[live.ADDRESS]            fields that are different now; "absent" removes one
[[replicas.ADDRESS]]      index, status, exit_code, ended, image, live of single replicas
[recipes] [recipes_before]  image address → steps: "COPY src/ /app | src/app.py=1"
missing                   step texts whose result is not in the store
[moves]                   former address → address of now
[secrets] [secrets_before]  secret name → fingerprint
[[pulls.ADDRESS]]         reference, text of what is to be pulled for an image
[crashes]                 address → when and why it crashed
[published]               reference → recipe of what address was pushed there, or any other text
[tags]                    reference → recipe of what address it names, or any other text
plan                      the plan's text
order                     optional: the addresses of the changes as they stand in the plan
[depends_on]              optional: address of a change → addresses
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.planning import Desired, Observation, Observed, Recipe, RecipeStep, Replica
from stackpy.planning.plan import Pull
from stackpy.problems import Location

FOLDER = Path(__file__).parent / "cases"
NOWHERE = Location("stack.py", 1)


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def recipe(steps: list[str]) -> Recipe:
    found: list[RecipeStep] = []
    chain = ""
    for step in steps:
        text, _, inputs = step.partition(" | ")
        chain += f"/{step}"
        hashes = dict(entry.split("=") for entry in inputs.split())
        found.append(RecipeStep(f"step{chain}", text, "stack.py:1", hashes))
    return Recipe(f"recipe{chain}", tuple(found))


def desired(case: dict[str, Any]) -> Desired:
    recipes = {address: recipe(steps) for address, steps in case.get("recipes", {}).items()}
    specs = {}
    for address, fields in case.get("desired", {}).items():
        fields = dict(fields)
        dependencies = _dependencies(fields)
        kind, _, name = address.partition(".")
        if kind == "image":
            fields.setdefault("source", {"base": {"kind": "host"}, "steps": []})
        specs[address] = Spec(kind, name, fields, dependencies, NOWHERE)
    fingerprints = {f"secret.{name}": value for name, value in case.get("secrets", {}).items()}
    pulls = {
        address: tuple(Pull(pull["reference"], text=pull.get("text", "")) for pull in wanted)
        for address, wanted in case.get("pulls", {}).items()
    }
    carried: Any = {name: tuple(case.get(name, ())) for name in ("cache_from", "cache_to")}
    carried["moved"] = case.get("moves", {})
    stack = StackSpec(case.get("stack", "shop"), specs, {}, "/shop", **carried)
    return Desired(stack, recipes, fingerprints, pulls)


def _dependencies(fields: dict[str, Any]) -> tuple[Dependency, ...]:
    given = fields.pop("depends_on", {})
    return tuple(
        Dependency(address, *(value if isinstance(value, list) else [value])) for address, value in given.items()
    )


def observation(case: dict[str, Any]) -> Observation:
    images = {address: recipe(steps) for address, steps in case.get("recipes_before", {}).items()}
    resources = {}
    for address, applied in case.get("before", {}).items():
        resources[address] = _observed(case, address, dict(applied), images)
    wanted = {address: recipe(steps) for address, steps in case.get("recipes", {}).items()}
    missing = case.get("missing", [])
    return Observation(
        stack=case.get("stack", "shop"),
        engine="embedded",
        generation=case.get("generation", 4 if resources or images else 0),
        resources=resources,
        images=images,
        built=frozenset(step.id for image in images.values() for step in image.steps if step.text not in missing),
        tags={tag: wanted[of].id if of in wanted else of for tag, of in case.get("tags", {}).items()},
        crashes=case.get("crashes", {}),
        published={tag: wanted[of].id if of in wanted else of for tag, of in case.get("published", {}).items()},
    )


def _observed(case: dict[str, Any], address: str, applied: dict[str, Any], images: dict[str, Recipe]) -> Observed:
    kind, _, name = address.partition(".")
    dependencies = _dependencies(applied)
    live = _changed(applied, case.get("live", {}).get(address, {}))
    if kind == "secret":
        live = {"fingerprint": case["secrets_before"][name], "available": live.get("available", True)}
    if kind not in ("container", "job"):
        return Observed(kind, name, live, applied, (), dependencies)
    image = images[applied["image"]].id if applied["image"] in images else ""
    for mount in live.get("secrets", []):
        mount.setdefault("fingerprint", case["secrets_before"][mount["secret"]])
    by_index = {index: {"index": index} for index in range(1, applied.get("replicas", 1) + 1)}
    for entry in case.get("replicas", {}).get(address, []):
        by_index[entry["index"]] = entry
    replicas = tuple(
        Replica(
            index=entry["index"],
            id=f"id{entry['index']}",
            name=f"shop-{name}-{entry['index']}",
            status=entry.get("status", "exited" if kind == "job" else "running"),
            health=entry.get("health", ""),
            exit_code=entry.get("exit_code", 0 if kind == "job" and "status" not in entry else None),
            ended=entry.get("ended", 0.0),
            image=entry.get("image", image),
            why=entry.get("why", ""),
            live=_changed(live, entry.get("live", {})),
            applied=applied,
        )
        for entry in by_index.values()
        if entry.get("status") != "absent"
    )
    return Observed(kind, name, live, applied, replicas, dependencies)


def _changed(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in fields.items() if key not in ("image", "replicas")}
    for key, value in changes.items():
        if value == "absent":
            result.pop(key, None)
        else:
            result[key] = value
    if "secrets" in result:
        result["secrets"] = [dict(mount) for mount in result["secrets"]]
    return result
