"""Outputs that an apply would put out otherwise than the last one did. Pure."""

from __future__ import annotations

from stackpy.dsl.deferred import filled, markers
from stackpy.planning.hiding import may_be_secret, of_reason
from stackpy.planning.plan import Reason
from stackpy.planning.quantities import SENSITIVE, human
from stackpy.planning.reasons import VALUE_CHANGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from stackpy.dsl.deferred import Wanted


def changed(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    touched: Collection[str],
    found: Callable[[Wanted], Any],
    hidden: tuple[str, ...] = (),
    secret: Collection[str] = (),
) -> tuple[Reason, ...]:
    """A reason for each output that differs; its path is the output's name.

    before: as the last apply put them out; touched: addresses that the plan changes, of which nothing can be said
    before the apply; found: what is known now of the others; hidden: values that are not to be seen
    secret: names of outputs whose values are not to be seen
    """
    differing = []
    for name in dict.fromkeys([*now, *before]):
        if any(wanted.address in touched for wanted in markers(now.get(name))):
            continue
        old, new = before.get(name), filled(now.get(name), found)
        if old == new and (name in before) == (name in now):
            continue
        if name in secret or may_be_secret(name, old, new):
            differing.append(Reason(name, None, None, f"{name} {SENSITIVE}: {VALUE_CHANGES}", sensitive=True))
            continue
        reason = _reason(name, old, new, added=name not in before, removed=name not in now)
        differing.append(of_reason(reason, hidden))
    return tuple(differing)


def _reason(name: str, old: Any, new: Any, *, added: bool, removed: bool) -> Reason:
    if removed:
        return Reason(name, old, None, f"{name}: removed")
    if added:
        return Reason(name, None, new, f"{name}: added, {human(name, new)}")
    return Reason(name, old, new, f"{name} {human(name, old)} → {human(name, new)}")
