"""Where in the user's files that stands which a plan is about, and to which components it belongs. Pure.

A plan goes without: finding a line parses the file, which takes longer than the plan. It is added where it is shown.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy.dsl.specs import ComponentSpec, Spec
    from stackpy.planning.plan import Change, Desired, Plan
    from stackpy.problems import Location

    Written = Callable[[Spec, str], Location]


def attributed(plan: Plan, desired: Desired, written: Written) -> Plan:
    """The plan with the place of each reason, and with the components that its changes are part of.

    written: where a field of a resource is written, or its call where that does not say it
    """

    def placed(change: Change) -> Change:
        reasons = (one._replace(place=place_of(change.address, one.path, desired, written)) for one in change.reasons)
        return change._replace(reasons=tuple(reasons))

    touched = {change.address for change in plan.changes}
    components: dict[str, ComponentSpec] = {}
    for name, one in desired.stack.components.items():
        if children := tuple(child for child in one.children if child in touched):
            components[name] = one._replace(children=children)
    return plan._replace(changes=tuple(map(placed, plan.changes)), components=components)


def place_of(address: str, path: str, desired: Desired, written: Written) -> str:
    """FILE:LINE of the field of a resource, or of the step of an image; "" of what is not declared.

    path: as in the reasons of a plan
    """
    if step := _step(address, path, desired):
        return step
    spec = desired.stack.resources.get(address)
    if spec is None:
        return ""
    found = written(spec, path)
    return place(found.file, found.line, desired.stack.folder)


def place(file: str, line: int, folder: str) -> str:
    """FILE:LINE, relative to the stack's folder where the file is in it."""
    return f"{file.removeprefix(f'{folder}/')}:{line}"


def _step(address: str, path: str, desired: Desired) -> str:
    recipe = desired.recipes.get(address)
    number = path.removeprefix("steps[").removesuffix("]")
    if recipe is None or not path.startswith("steps[") or not number.isdigit() or int(number) >= len(recipe.steps):
        return ""
    return recipe.steps[int(number)].line
