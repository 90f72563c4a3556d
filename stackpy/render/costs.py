"""What a change takes, in a line: what stops, for how long it did last time, which ports do not answer meanwhile."""

from __future__ import annotations

from stackpy.planning.plan import Action
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.planning.plan import Cost

_PASSIVE = {Action.REPLACE: "replaced", Action.RESTART: "restarted", Action.UPDATE: "updated"}


def cost_text(cost: Cost) -> str:
    """`container.web: 127.0.0.1:8080 does not answer while it is replaced (4.2 s last time)`."""
    last = "" if cost.seconds is None else f" ({seconds_text(cost.seconds)} last time)"
    if not cost.of:
        return f"{cost.address}: {cost.action.word} took {seconds_text(cost.seconds or 0.0)} last time"
    done = _PASSIVE.get(cost.action, "changed")
    if cost.gaps:
        verb = "does" if len(cost.gaps) == 1 else "do"
        return f"{cost.address}: {', '.join(cost.gaps)} {verb} not answer while it is {done}{last}"
    if cost.stops == cost.of and not cost.kept:
        return f"{cost.address}: does not run while it is {done}{last}"
    which = "the new one starts before the old one stops" if not cost.stops else (
        f"{plural(cost.stops, 'replica')} of {cost.of} {'is' if cost.stops == 1 else 'are'} {done}"
        + (" one after the other" if cost.stops > 1 else "")
    )  # fmt: skip
    kept = f"; {', '.join(cost.kept)} {'goes' if len(cost.kept) == 1 else 'go'} on answering" if cost.kept else ""
    return f"{cost.address}: {which}{kept}{last}"


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{round(seconds)} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
