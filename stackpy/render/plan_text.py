"""A plan as people read it: a contract too.

Three columns: what, what happens to it, why. Beneath a change stand the fields that differ; beneath the first container
that is replaced because of its image, the step of the image that does.
"""

from __future__ import annotations

from stackpy.planning.plan import Action
from stackpy.planning.quantities import SENSITIVE, human, plural, printable
from stackpy.records import NamedTuple
from stackpy.render.plan_json import summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy.planning.plan import Change, Plan, Reason, Verdict

# from what deserves the most attention to what the rest merely waits for
_ORDER = (
    Action.MOVE,
    Action.RESTORE,
    Action.SNAPSHOT,
    Action.UPDATE,
    Action.REPLACE,
    Action.CREATE,
    Action.DELETE,
    Action.START,
    Action.RESTART,
    Action.RUN,
    Action.BUILD,
    Action.PULL,
    Action.PUSH,
)
_COLOURS = {
    "+": "32",
    ">>": "36",
    "~": "33",
    "-/+": "35",
    "!": "36",
    "!!": "36",
    "-": "31",
    "*": "34",
    "<": "34",
    ">": "34",
    "@": "36",
    "=": "34",
    "<<": "35",
    ":": "36",
}  # SGR, ECMA-48 8.3.117

_FIRST, _SECOND, _GAP = 28, 59, 4
_LONGEST = 72  # of a value; the JSON has all of it
_LONGEST_STEP = 160  # of what is said of a step


class _Row(NamedTuple):
    symbol: str  # "" for a detail
    first: str
    second: str
    third: str = ""


def plan_text(plan: Plan, width: int | None = None, *, colour: bool = False) -> str:
    """The plan as text, without a final newline.

    width: columns of the terminal, where a reason that does not fit stands beneath its change; None: always beside
    colour: with SGR sequences
    """
    heading = f"{plan.stack} on {plan.engine} · generation "
    if not plan.changes and not plan.outputs:
        lines = [f"{heading}{plan.generation} · nothing to change"]
        return "\n".join(lines + _notes(plan) + _verdicts(plan, colour))
    lines = [
        f"{heading}{plan.generation - 1} → {plan.generation}" if plan.changes else f"{heading}{plan.generation}",
        "",
    ]
    rows = [*_rows(plan), *map(_output, plan.outputs)]
    second = max(_FIRST, *(len(row.first) + (4 if row.symbol else 6) + 2 for row in rows))
    third = second + max(_SECOND - _FIRST, *(len(row.second) + _GAP for row in rows if row.symbol))
    lines += [_line(row, second, third, width, colour) for row in rows]
    counted = counted_text(plan)
    tail = [*_notes(plan), *_verdicts(plan, colour), *_refusals(plan)]
    return "\n".join([*lines, *tail, "", f"Plan: {counted}."])


def counted_text(plan: Plan) -> str:
    """`1 to build, 2 to replace, 1 output to change`."""
    parts = [f"{count} to {word}" for word, count in summary(plan).items()]
    return ", ".join([*parts, *([f"{plural(len(plan.outputs), 'output')} to change"] if plan.outputs else [])])


def _notes(plan: Plan) -> list[str]:
    notes = [printable(note) for note in plan.notes]
    if plan.costs:
        from stackpy.render.costs import cost_text  # only where something changes

        notes += [cost_text(cost) for cost in plan.costs]
    return ["", *(f"  {note}" for note in notes)] if notes else []


def _verdicts(plan: Plan, colour: bool) -> list[str]:
    """What policies say, those that deny last, next to the end of the plan."""
    if not plan.verdicts:
        return []
    width = max(len(verdict.policy) for verdict in plan.verdicts)
    lines = []
    for verdict in sorted(plan.verdicts, key=lambda verdict: verdict.level == "deny"):
        word = f"\x1b[{'31' if verdict.level == 'deny' else '33'}m{verdict.level}\x1b[0m" if colour else verdict.level
        lines.append(f"  {word}  {verdict.policy:<{width}}  {verdict_text(verdict)}")
    return ["", *lines]


def verdict_text(verdict: Verdict) -> str:
    """`container.web: is privileged (stack.py:12)`."""
    subject = f"{verdict.address}: " if verdict.address else ""
    place = f" ({verdict.place})" if verdict.place else ""
    return printable(f"{subject}{verdict.text}{place}")


def _refusals(plan: Plan) -> list[str]:
    """What stands against it, which an apply would only repeat."""
    lines = [""] if plan.refusals else []
    for refusal in plan.refusals:
        lines.append(f"  refused: {refusal.address}: {printable(refusal.text)}")
        lines += [f"           {printable(refusal.hint)}"] if refusal.hint else []
    return lines


def _rows(plan: Plan) -> Iterator[_Row]:
    builds = {change.address: change for change in plan.changes if change.action is Action.BUILD}
    explained: set[str] = set()
    for action in _ORDER:
        for change in plan.changes:
            if change.action is action:
                yield from _change(change, builds, explained)


def _change(change: Change, builds: dict[str, Change], explained: set[str]) -> Iterator[_Row]:
    action = change.action
    verb = f"{action.word} {change.note}" if change.note else action.word
    if change.order:
        verb += f", {change.order}"
    elif action is Action.UPDATE:
        verb += " in place"
    details = [reason for reason in change.reasons if not _is_obvious(change, reason)]
    cause = next((reason for reason in details if _is_cause(reason)), None)
    third = ""
    if action is Action.BUILD:
        yield _Row(action.symbol, change.address, verb)
        # Of an image that is new all steps are.
        told = len(details) == len(change.reasons) and any(line.startswith("ran ") for line in change.steps)
        if change.address not in explained:
            yield from (_step(change.address, reason) for reason in details if not (told and _is_step(reason)))
        if told:
            yield from (_Row("", "", _shortened(line, _LONGEST_STEP)) for line in change.steps)
        return
    elif cause is not None:
        details.remove(cause)
        third = f"because {cause.text}" if cause.path != "state" else cause.text
    yield _Row(action.symbol, change.address, verb, third)
    if cause is not None and cause.path == "image":
        image = next((builds[address] for address in change.depends_on if address in builds), None)
        if image is not None and image.address not in explained:
            explained.add(image.address)
            yield _step(image.address, image.reasons[0])
    # Where all that differs needs the same, the action says it.
    mixed = len({reason.policy for reason in details if reason.policy}) > 1
    yield from (_detail(reason, reason.policy if mixed else "") for reason in details)


def _output(output: Reason) -> _Row:
    """What is put out is no resource, and nothing is done to the host for it: it has a sign of its own."""
    return _Row(":", f"output.{printable(output.path)}", _shortened(output_text(output), _LONGEST_STEP))


def output_text(output: Reason) -> str:
    """How an output differs, without its name."""
    return output.text.removeprefix(output.path).removeprefix(":").strip()


def _is_obvious(change: Change, reason: Reason) -> bool:
    """What is new is created, built or run for the first time: the action says it already."""
    if change.action is Action.MOVE:
        return True
    if reason.path == "state" and reason.old == "absent":
        return change.note.find(" of ") < 0
    return change.action is Action.BUILD and reason.old is None and reason.path == "steps[0]"


def _is_step(reason: Reason) -> bool:
    return reason.path.startswith("steps[")


def _is_cause(reason: Reason) -> bool:
    """A reason in words, unlike one that is a value before and after."""
    return reason.path in ("image", "state") or (reason.old is None and reason.new is None and not reason.sensitive)


def _detail(reason: Reason, policy: str) -> _Row:
    """A field that differs. policy: what its change does by itself, where that is to be said"""
    path = printable(reason.path)
    if reason.sensitive:
        text = reason.text.removeprefix(f"{reason.path} {SENSITIVE}: ")
        return _Row("", path, SENSITIVE, f"{text} ({policy})" if policy else text)
    if _is_cause(reason):
        return _Row("", path, reason.text)
    if reason.text.startswith(f"{reason.path}: "):
        return _Row("", path, reason.text.removeprefix(f"{reason.path}: "), policy)
    return _Row("", path, f"{_value(reason.path, reason.old)} → {_value(reason.path, reason.new)}", policy)


def _step(address: str, reason: Reason) -> _Row:
    """`step 4/6 COPY src/ /app/src: src/app.py differs` in two columns, and the copy with its arrow."""
    title, separator, what = reason.text.rpartition(": ")
    if not separator or not reason.path.startswith("steps["):
        return _Row("", address, reason.text)
    words = title.split(" ")
    if len(words) > 4 and words[2] in ("COPY", "ADD"):
        title = f"{' '.join(words[:-1])} → {words[-1]}"
    return _Row("", address, _shortened(title, _LONGEST), what)


def _value(path: str, value: object) -> str:
    return _shortened(human(path, value), _LONGEST)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"


def _line(row: _Row, second: int, third: int, width: int | None, colour: bool) -> str:
    if row.symbol:
        line = f"{row.symbol:>3} {row.first:<{second - 4}}"
        middle = third - second
    else:
        line = f"      {row.first:<{second - 6}}"
        middle = max(third - second, len(row.second) + _GAP)
    beside = (line + (f"{row.second:<{middle}}{row.third}" if row.third else row.second)).rstrip()
    if row.third and width is not None and len(beside) > width:
        # nothing of a reason is cut off: it stands beneath
        line = f"{line}{row.second}\n{' ' * second}{row.third}"
    else:
        line = beside
    if colour and row.symbol:
        at = line.index(row.symbol)
        code = _COLOURS[row.symbol]
        line = f"{line[:at]}\x1b[{code}m{row.symbol}\x1b[0m{line[at + len(row.symbol) :]}"
    return line
