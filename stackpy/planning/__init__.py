"""desired + observed → Plan. Pure: no I/O, no clock, no engine. Each name is loaded when it is first asked for.

An engine, and so every `stackpy run`, needs the vocabulary of plan.py and none of the rest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.planning.comparison import diff
    from stackpy.planning.destroy import destroy_plan
    from stackpy.planning.plan import (
        Action,
        Change,
        Desired,
        Observation,
        Observed,
        Plan,
        Reason,
        Recipe,
        RecipeStep,
        Refusal,
        Replica,
    )

__all__ = [
    "Action",
    "Change",
    "Desired",
    "Observation",
    "Observed",
    "Plan",
    "Reason",
    "Recipe",
    "RecipeStep",
    "Refusal",
    "Replica",
    "destroy_plan",
    "diff",
]

_MODULES = {"destroy_plan": "destroy", "diff": "comparison"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # as importlib.import_module would, whose own import costs 0.4 ms
    value = getattr(__import__(f"{__name__}.{_MODULES.get(name, 'plan')}", fromlist=[name]), name)
    globals()[name] = value
    return value
