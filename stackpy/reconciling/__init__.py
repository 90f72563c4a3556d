"""Keeps a host in step with a git repository: fetch, plan, apply, mend drift, again and again."""

from stackpy.reconciling.loop import Cycle, ReconcileView, cycle_text, reconcile
from stackpy.reconciling.source import Source

__all__ = ["Cycle", "ReconcileView", "Source", "cycle_text", "reconcile"]
