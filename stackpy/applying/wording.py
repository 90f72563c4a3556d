"""What an apply says of itself: of each change while it runs, and of the whole when it is over."""

from __future__ import annotations

from stackpy.planning.plan import Action
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.applying.outcome import Failure, Outcome
    from stackpy.planning.plan import Change

_VERBS = {
    Action.CREATE: ("creating", "created"),
    Action.MOVE: ("moving", "moved"),
    Action.UPDATE: ("updating", "updated"),
    Action.REPLACE: ("replacing", "replaced"),
    Action.START: ("starting", "started"),
    Action.RESTART: ("restarting", "restarted"),
    Action.DELETE: ("deleting", "deleted"),
    Action.BUILD: ("building", "built"),
    Action.PULL: ("pulling", "pulled"),
    Action.PUSH: ("pushing", "pushed"),
    Action.RUN: ("running", "completed"),
    Action.SNAPSHOT: ("taking a snapshot", "snapshot taken"),
    Action.RESTORE: ("restoring", "restored"),
}


def begun(change: Change) -> str:
    """`building 3 of 6 steps`."""
    verb = _VERBS[change.action][0]
    return f"{verb} {change.note}" if change.note else verb


def ended(change: Change) -> str:
    """`built`."""
    return _VERBS[change.action][1]


def failed_text(outcome: Outcome) -> tuple[str, str]:
    """The message of an apply that failed, each failure with the last lines of its process; and what to do."""
    counts = [plural(len(outcome.failures), "failure")]
    if skipped := outcome.changes("skipped"):
        counts.append(f"{len(skipped)} skipped")
    counts.append(f"{len(outcome.changes('done'))} of {plural(len(outcome.plan.changes), 'change')} done")
    lines = [f"generation {outcome.plan.generation} of {outcome.plan.stack}: {', '.join(counts)}"]
    lines += _failures(outcome)
    for change in skipped:
        lines.append(f"  {change.address}: skipped, because {outcome.blocked[change.address]} failed")
    return "\n".join(lines), "mend what failed and apply again: that does what is left"


def outcome_text(outcome: Outcome) -> str:
    """Where things stand after an apply or destroy that did not fail; lines without a final newline."""
    total, done = len(outcome.plan.changes), outcome.changes("done")
    if not outcome.interrupted:
        return f"Done: {_counted(done)} in {_seconds(outcome.seconds)}." if total else "Nothing to change."
    left = [
        change.address
        for change, result in zip(outcome.plan.changes, outcome.results, strict=True)
        if result in ("pending", "skipped")
    ]
    lines = [f"Interrupted: {len(done)} of {plural(total, 'change')} done.", *_failures(outcome)]
    if left:
        lines.append(f"  not begun: {', '.join(dict.fromkeys(left))}")
    if left or outcome.failures:
        lines.append("Applying again does what is left.")
    return "\n".join(lines)


def _counted(changes: Iterable[Change]) -> str:
    counts: dict[str, int] = {}
    for change in changes:
        word = ended(change)
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _failures(outcome: Outcome) -> Iterable[str]:
    for address, failure in outcome.failures.items():
        yield from _failure(address, failure)


def _failure(address: str, failure: Failure) -> Iterable[str]:
    first, *rest = failure.message.rstrip("\n").split("\n")
    yield f"  {address}: {first}"
    yield from (f"      {line}" for line in rest)
    if failure.hint:
        yield f"      hint: {failure.hint}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
