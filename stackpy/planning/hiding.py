"""Secrets that somebody wrote where they do not belong, left out of what a plan shows and of what is kept of it. Pure.

Secrets belong into Secret(). A value in `environment` under a telling name, a password in a URL or the value of a
variable like `var("password")` stays out all the same.
"""

from __future__ import annotations

from stackpy.dsl.secrecy import has_password, holds, sensitive_name, tells
from stackpy.planning.quantities import SENSITIVE, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.planning.plan import Plan, Reason

_NAMED = ("environment", "labels")
_SETTING = ("ENV", "LABEL", "ARG")


def is_sensitive(path: str, *values: Any) -> bool:
    """Whether the values of the field at `path` may be secrets, by its name or their form."""
    head, _, name = path.partition(".")
    return head in (*_NAMED, "command", "entrypoint") and may_be_secret(name, *values)


def may_be_secret(name: str, *values: Any) -> bool:
    """Whether a value may be one, by its name or its form."""
    if sensitive_name(name):
        return True
    return any(has_password(str(part)) for value in values for part in (value if isinstance(value, list) else [value]))


def step(text: str, hidden: tuple[str, ...] = ()) -> str:
    """A step of an image as it is shown: `ENV PASSWORD=(sensitive)`.

    hidden: values that are not to be seen either
    """
    for value in hidden:
        text = text.replace(value, SENSITIVE)
    word, _, rest = text.partition(" ")
    if "://" not in text and not (word in _SETTING and tells(rest)):
        return printable(text)
    import re  # few steps come so far

    text = re.sub(r"(://[^/\s:@]*:)[^@/\s]+@", rf"\1{SENSITIVE}@", text)
    if word in _SETTING:
        if re.match(r"\S+=", rest):
            pairs = r"([^\s=\"']+|\"[^\"]*\"|'[^']*')=(\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:\\.|\S)*)"
            text = re.sub(pairs, lambda m: f"{m[1]}={SENSITIVE}" if sensitive_name(m[1]) else m[0], text)
        elif " " in rest and sensitive_name(rest.partition(" ")[0]):
            text = f"{word} {rest.partition(' ')[0]} {SENSITIVE}"
    return printable(text)


def without(plan: Plan, hidden: tuple[str, ...]) -> Plan:
    """The plan without what tells one of these values, or what was in its place before."""
    changes = []
    for change in plan.changes:
        reasons = tuple(of_reason(reason, hidden) for reason in change.reasons)
        lines = tuple(_line(line, hidden) for line in change.steps)
        changes.append(change._replace(reasons=reasons, steps=lines, note=step(change.note, hidden)))
    return plan._replace(changes=tuple(changes), notes=tuple(_replaced(note, hidden) for note in plan.notes))


def of_reason(reason: Reason, hidden: tuple[str, ...]) -> Reason:
    """A reason without what tells one of these values."""
    if not holds([reason.old, reason.new, reason.text], hidden):
        return reason
    if reason.path.startswith("steps["):
        return reason._replace(old=None, new=None, text=_line(reason.text, hidden))
    text = f"{reason.path} {SENSITIVE}: its value changes"
    return reason._replace(old=None, new=None, text=text, sensitive=True)


def _line(line: str, hidden: tuple[str, ...]) -> str:
    """What is said of a step; how it was before is left out, since that held the value of then."""
    if not holds(line, hidden):
        return line
    title, was, _ = line.rpartition(": it was ")
    return _replaced(f"{title}: it differs" if was else line, hidden)


def _replaced(text: str, hidden: tuple[str, ...]) -> str:
    for value in hidden:
        text = text.replace(value, SENSITIVE)
    return text
