"""What came of an apply, and how it is kept."""

from __future__ import annotations

from stackpy.records import NamedTuple
from stackpy.render.plan_json import change_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from stackpy.planning.plan import Change, Desired, Plan

    Result = Literal["done", "failed", "skipped", "pending", "unknown"]


class Failure(NamedTuple):
    """Why a change, or waiting for a resource, failed: the message may have several lines, the process's last ones."""

    message: str
    hint: str = ""


class Outcome(NamedTuple):
    """What came of a plan.

    results: by change, in the order of the plan; pending: not begun when the apply was interrupted;
        unknown: of an apply that was killed
    failures: by address; also of a resource that had no change, but did not come to the state others waited for
    blocked: address of a skipped change → the address that failed before it
    seconds: how long it took
    took: number of a change that was done → seconds, until what it started ran and was healthy
    """

    plan: Plan
    results: tuple[Result, ...]
    failures: Mapping[str, Failure]
    blocked: Mapping[str, str]
    interrupted: bool
    seconds: float
    took: Mapping[int, float] = {}

    @property
    def ok(self) -> bool:
        """Whether everything was done."""
        return not self.failures and not self.interrupted

    def changes(self, result: Result) -> list[Change]:
        """The changes that came out so."""
        return [change for change, found in zip(self.plan.changes, self.results, strict=True) if found == result]


def unknown(plan: Plan) -> Outcome:
    """What is known of an apply that has begun: it may have done anything when it is killed."""
    each: Result = "unknown"
    return Outcome(plan, (each,) * len(plan.changes), {}, {}, False, 0.0)


def circumstances_of(desired: Desired, started: float, rolled_back_to: int | None = None) -> dict[str, Any]:
    """The part of a generation's document that is known when an apply begins: who makes what true, and from where.

    started: seconds since the epoch; rolled_back_to: the number of the generation that is brought back
    """
    import time

    from stackpy.applying import circumstances, reviving

    return {
        "format": 1,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "by": circumstances.user(),
        "revision": circumstances.revision(desired.stack.folder) if desired.stack.folder else "",
        **({} if rolled_back_to is None else {"rolled_back_to": rolled_back_to}),
        "desired": reviving.kept(desired),
    }


def document(
    outcome: Outcome, outputs: Mapping[str, Any], circumstances: Mapping[str, Any], word: str
) -> dict[str, Any]:
    """The generation's document.

    circumstances: as `circumstances_of` gave them
    word: what a success is called ("applied", "destroyed", "killed" before its end)
    """
    saved = outcome.plan.saved
    return {
        **circumstances,
        "stack": outcome.plan.stack,
        "generation": outcome.plan.generation,
        "outcome": "interrupted" if outcome.interrupted else "failed" if outcome.failures else word,
        "seconds": round(outcome.seconds, 3),
        "changes": [
            {
                **change_document(change),
                "result": result,
                **({"seconds": round(outcome.took[number], 3)} if number in outcome.took else {}),
            }
            for number, (change, result) in enumerate(zip(outcome.plan.changes, outcome.results, strict=True))
        ],
        # the first line alone: what a process wrote last may hold anything
        "failures": {address: failure.message.partition("\n")[0] for address, failure in outcome.failures.items()},
        "outputs": dict(outputs),
        # of the file that the plan was applied from, which is then used up
        **({"saved": saved} if saved else {}),
    }
