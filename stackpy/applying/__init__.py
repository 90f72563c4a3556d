"""Runs plans: what is independent at once, what depends on something after it."""

from stackpy.applying.executor import DEFAULT_TIMEOUT, destroy, execute
from stackpy.applying.interrupts import Interrupts
from stackpy.applying.outcome import Failure, Outcome
from stackpy.applying.wording import outcome_text

__all__ = ["DEFAULT_TIMEOUT", "Failure", "Interrupts", "Outcome", "destroy", "execute", "outcome_text"]
