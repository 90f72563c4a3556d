"""For tests of a stack: load it, look at what it declares, and at what a plan would do. No engine is needed or asked.

    from stackpy.testing import load_stack

    def test_production_has_three_replicas():
        assert load_stack(environment="production")["container.web"]["replicas"] == 3

`stackpy test` runs such functions; pytest does too.
"""

from __future__ import annotations

from stackpy.testing.stacks import DeclaredStack, PlanOutcome, Resource, load_stack, problems_of

__all__ = ["DeclaredStack", "PlanOutcome", "Resource", "load_stack", "problems_of"]
