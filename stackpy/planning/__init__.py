"""desired + observed → Plan. Pure: no I/O, no clock, no engine."""

from stackpy.planning.destroy import destroy_plan
from stackpy.planning.diff import diff
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
    "Replica",
    "destroy_plan",
    "diff",
]
