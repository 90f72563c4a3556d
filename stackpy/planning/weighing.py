"""What is said of a plan before somebody agrees to it: what it costs, and what policies hold against it. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy.dsl.specs import StackSpec
    from stackpy.planning.plan import Observation, Plan

    Last = Callable[[str, str], float | None]


def weighed(plan: Plan, stack: StackSpec, observation: Observation, took: Callable[[str], Last]) -> Plan:
    """The plan with its costs and verdicts.

    took: of a stack: seconds that an action (its word) on an address took last time; asked where something changes
    """
    if plan.changes and observation.generation:
        from stackpy.planning.costs import costs

        plan = plan._replace(costs=costs(plan, stack.resources, observation, took(stack.name)))
    if stack.policies:
        from stackpy.planning.judging import judged

        plan = judged(plan, stack, observation)
    return plan
