"""Which change may begin: the bookkeeping of a walk over a plan's graph. Pure; the executor acts."""

from __future__ import annotations

from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.applying.outcome import Result
    from stackpy.dsl.specs import Condition, Spec
    from stackpy.planning.plan import Plan

    Wait = tuple[str, Condition]  # an address and what must hold of it


_NEEDS_CONDITIONS = (Action.CREATE, Action.REPLACE, Action.START, Action.RESTART, Action.RUN)


class Schedule:
    """Where each change of a plan stands.

    Changes are numbered as they stand in the plan. A change becomes free when those before it are done; then the
    conditions that it waits for are asked for; when they are met it may begin.
    """

    def __init__(self, plan: Plan, specs: Mapping[str, Spec]) -> None:
        self.results: list[Result] = ["pending"] * len(plan.changes)
        self.blocked: dict[str, str] = {}
        self._addresses = [change.address for change in plan.changes]
        self._left: list[set[int]] = []
        self._followers: dict[int, list[int]] = {}
        self._waits: dict[int, set[Wait]] = {}
        self._optional: dict[int, set[Wait]] = {}  # what of that is only warned of when it does not come
        before: dict[str, list[int]] = {}
        taking = {address: n for n, change in enumerate(plan.changes) for address in change.snapshots}
        self._within: dict[int, list[int]] = {}  # number of a change → those that are made within it
        for number, change in enumerate(plan.changes):
            if change.action is Action.SNAPSHOT and change.address in taking:
                self._within.setdefault(taking[change.address], []).append(number)
                self._left.append({taking[change.address]})
                continue
            needs = {n for address in (*change.depends_on, change.address) for n in before.get(address, ())}
            self._left.append(needs)
            for other in needs:
                self._followers.setdefault(other, []).append(number)
            before.setdefault(change.address, []).append(number)
            spec = specs.get(change.address)
            if spec is not None and change.action in _NEEDS_CONDITIONS:
                waits = [
                    d for d in spec.dependencies if d.address in specs and specs[d.address].kind in ("container", "job")
                ]
                self._waits[number] = {(d.address, d.condition) for d in waits}
                self._optional[number] = {(d.address, d.condition) for d in waits if not d.required}

    def free(self) -> list[int]:
        """The changes that need no other one."""
        return [number for number, needs in enumerate(self._left) if not needs]

    def waits(self, number: int) -> set[Wait]:
        """The conditions that the change still waits for."""
        return self._waits.get(number, set())

    def within(self, number: int) -> list[int]:
        """The changes that are made within another one, and never begin by themselves."""
        return self._within.get(number, [])

    def done_within(self, number: int) -> None:
        """Marks a change that is made within another one done, whatever becomes of the other."""
        self.results[number] = "done"

    def done(self, number: int) -> list[int]:
        """Marks a change done; returns those that became free."""
        self.results[number] = "done"
        freed = []
        for other in self._followers.get(number, ()):
            self._left[other].discard(number)
            if not self._left[other] and self.results[other] == "pending":
                freed.append(other)
        return freed

    def met(self, wait: Wait) -> list[int]:
        """Marks a condition met; returns the free changes that wait for nothing more."""
        ready = []
        for number, waits in self._waits.items():
            if wait in waits:
                waits.discard(wait)
                if not waits and not self._left[number] and self.results[number] == "pending":
                    ready.append(number)
        return ready

    def failed(self, number: int) -> list[int]:
        """Marks a change failed; returns those that are skipped for it."""
        self.results[number] = "failed"
        return self._skip([*self.within(number), *self._followers.get(number, ())], self._addresses[number])

    def unmet(self, wait: Wait) -> list[int]:
        """Marks a condition as one that cannot be met; returns the changes that are skipped for it."""
        return self._skip([number for number, waits in self._waits.items() if wait in waits], wait[0])

    def spare(self, address: str) -> list[int]:
        """Lets what depends on a resource that has failed, without requiring it, go on; returns those that are free.

        Called before `failed` and `unmet` skip what does require it.
        """
        spared = []
        for number, waits in self._optional.items():
            own = {wait for wait in waits if wait[0] == address}
            if not own or self.results[number] != "pending":
                continue
            self._waits[number] -= own
            for other, of in enumerate(self._addresses):
                if of == address:
                    self._left[number].discard(other)
                    if number in self._followers.get(other, ()):
                        self._followers[other].remove(number)
            if not self._left[number]:
                spared.append(number)
        return spared

    def _skip(self, numbers: Iterable[int], cause: str) -> list[int]:
        skipped = []
        left = list(numbers)
        while left:
            number = left.pop(0)
            if self.results[number] == "pending":
                self.results[number] = "skipped"
                self.blocked[self._addresses[number]] = cause
                skipped.append(number)
                left += [*self.within(number), *self._followers.get(number, ())]
        return skipped
