"""A plan as Markdown, for a review comment: one line that says it all, the table of changes, the rest folded.

Forges fold <details> (GitHub, GitLab, Gitea); an empty line must follow <summary> for Markdown to be read inside.
Whatever comes from a stack stands in code spans or is escaped, so that it can neither mention people nor close a fold.
"""

from __future__ import annotations

from stackpy.planning.quantities import SENSITIVE, human
from stackpy.render.escaping import escaped, literal, words
from stackpy.render.plan_text import counted_text, output_text, verdict_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.planning.plan import Change, Plan, Reason

_TABLE_ROWS = 25  # more of them are folded too
_MAX = 60_000  # characters: GitHub takes 65,536 in a comment


def plan_markdown(plan: Plan) -> str:
    """The comment, without a final newline."""
    head = f"**{words(plan.stack)}** on {words(plan.engine)}: "
    if not plan.changes:
        said = counted_text(plan) or "nothing to change"
        first = f"{head}{said} (generation {plan.generation})"
        return "\n\n".join([first, *_verdicts(plan), *_outputs(plan), *_notes(plan)])
    parts = [f"{head}{counted_text(plan)} (generation {plan.generation - 1} → {plan.generation})", *_verdicts(plan)]
    table = "\n".join(["| | resource | action | why |", "|---|---|---|---|", *map(_row, plan.changes)])
    if len(plan.changes) > _TABLE_ROWS:
        table = _folded(f"{len(plan.changes)} changes", table)
    parts += [table, *_outputs(plan), *_notes(plan)]
    details = [_details(change) for change in plan.changes if _has_details(change)]
    length = sum(map(len, parts))
    for place, detail in enumerate(details):
        length += len(detail)
        if length > _MAX:
            details[place:] = [f"{len(details) - place} more are in the plan itself."]
            break
    return "\n\n".join(parts + details)


def _outputs(plan: Plan) -> list[str]:
    lines = [f"- output {literal(output.path)}: {literal(output_text(output))}" for output in plan.outputs]
    return ["\n".join(lines)] if lines else []


def _row(change: Change) -> str:
    first = change.reasons[0] if change.reasons else None
    why = f"{literal(first.text)}{_place(first)}" if first else literal("")
    more = f" *and {len(change.reasons) - 1} more*" if len(change.reasons) > 1 else ""
    verb = " ".join(filter(None, (change.action.word, change.note, change.order)))
    return f"| `{change.action.symbol}` | {literal(change.address)} | {words(verb)} | {why}{more} |"


def _place(reason: Reason) -> str:
    return f" ({words(reason.place)})" if reason.place else ""


def _has_details(change: Change) -> bool:
    return len(change.reasons) > 1 or bool(change.steps) or any(_is_value(reason) for reason in change.reasons)


def _is_value(reason: Reason) -> bool:
    return reason.sensitive or (reason.path not in ("state", "image") and (reason.old, reason.new) != (None, None))


def _details(change: Change) -> str:
    lines: list[str] = []
    place = ""
    for reason in change.reasons:
        if reason.place not in ("", place):
            place = reason.place
            lines.append(f"@@ {human('', place)} @@")  # as a diff says where it is
        if reason.sensitive:
            lines.append(f"! {reason.path} {SENSITIVE}")
        elif _is_value(reason) and not reason.path.startswith(("steps[", "files.")):
            lines += [
                f"- {reason.path}: {human(reason.path, reason.old)}",
                f"+ {reason.path}: {human(reason.path, reason.new)}",
            ]
        else:
            lines.append(f"# {human('', reason.text)}")
    lines += [f"  {human('', step)}" for step in change.steps]
    fence = "`" * max(3, *(_ticks(line) + 1 for line in lines))
    body = "\n".join([f"{fence}diff", *lines, fence])
    return _folded(f"<code>{escaped(change.address)}</code> {escaped(change.action.word)}", body)


def _ticks(line: str) -> int:
    longest = run = 0
    for char in line:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _verdicts(plan: Plan) -> Iterable[str]:
    """What stands against the plan, or is to be thought of."""
    if plan.refusals:
        yield "\n".join(
            f"- **refused**: {literal(refusal.address)}: {words(refusal.text)}"
            + (f" ({words(refusal.hint)})" if refusal.hint else "")
            for refusal in plan.refusals
        )
    if plan.verdicts:
        marks = {"deny": "**denied**", "warn": "warning"}
        yield "\n".join(
            f"- {marks[verdict.level]} by {literal(verdict.policy)}: {words(verdict_text(verdict))}"
            for verdict in sorted(plan.verdicts, key=lambda verdict: verdict.level)
        )


def _notes(plan: Plan) -> Iterable[str]:
    from stackpy.render.costs import cost_text

    notes = [*plan.notes, *map(cost_text, plan.costs)]
    if notes:
        yield "\n".join(f"- {words(note)}" for note in notes)
