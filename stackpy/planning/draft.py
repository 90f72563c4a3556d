"""A change while the plan is being made: what becomes a Change once its place in the order is known."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from stackpy.dsl.specs import Kind
    from stackpy.planning.plan import Action, Reason

    Order = Literal["", "stop-first", "start-first"]


class Draft:
    """One action on some replicas of one resource.

    needs: numbers of the drafts that must come before; prefers: those that should, unless that closes a cycle
    """

    __slots__ = ("action", "kind", "name", "needs", "note", "order", "prefers", "reasons", "replicas", "steps")

    def __init__(
        self,
        kind: Kind,
        name: str,
        action: Action,
        reasons: Iterable[Reason],
        *,
        replicas: tuple[int, ...] = (),
        note: str = "",
        steps: tuple[str, ...] = (),
        order: Order = "",
    ) -> None:
        self.kind, self.name, self.action = kind, name, action
        self.reasons = _distinct(reasons)
        self.replicas, self.note, self.steps, self.order = replicas, note, steps, order
        self.needs: set[int] = set()
        self.prefers: set[int] = set()

    @property
    def address(self) -> str:
        """The address of what is acted on."""
        return f"{self.kind}.{self.name}"


def _distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each reason once: replicas mostly share theirs. Values need not be hashable."""
    result: list[Reason] = []
    for reason in reasons:
        if reason not in result:
            result.append(reason)
    return tuple(result)
