"""Data that a plan would delete: measured, said in words, and deleted only where somebody has named what it is."""

from __future__ import annotations

from stackpy.errors import StackpyError
from stackpy.planning.plan import Action, Data
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stackpy.planning.plan import Change, Plan

_UNITS = ("B", "kB", "MB", "GB", "TB")


def losing(plan: Plan) -> list[str]:
    """The addresses of the volumes that the plan deletes."""
    return [
        change.address
        for change in plan.changes
        if change.action is Action.DELETE and change.address.startswith("volume.")
    ]


def rewriting(plan: Plan) -> list[str]:
    """The addresses of the containers of which the plan takes away what they have written outside of volumes."""
    return list(
        dict.fromkeys(
            change.address
            for change in plan.changes
            if change.action in (Action.DELETE, Action.REPLACE) and change.address.startswith("container.")
        )
    )


def noted(plan: Plan, found: Mapping[str, Data]) -> Plan:
    """The plan with a note on each container that has written much outside of volumes.

    That is no place for data, and every replacement empties it: it is said, and not asked.
    found: by address, of all its replicas
    """
    notes = [
        f"{address}: {amount(data.bytes)} that it has written outside of volumes go with it, "
        f"last written {_ago(data.written)}"
        for address, data in found.items()
    ]
    return plan._replace(notes=(*plan.notes, *notes)) if notes else plan


def measured(plan: Plan, found: Mapping[str, Data]) -> Plan:
    """The plan with what its deletions would take along.

    found: by address; an empty volume is not among them
    """
    changes = []
    for change in plan.changes:
        data = found.get(change.address) if change.action is Action.DELETE else None
        if data is not None:
            why, *rest = change.reasons
            change = change._replace(data=data, reasons=(why._replace(text=text(data)), *rest))
        changes.append(change)
    return plan._replace(changes=tuple(changes))


def text(data: Data) -> str:
    """`deletes data: 1.2 GB, last written 3 minutes ago, and 2 snapshots of it (2.3 GB)`."""
    parts = [f"{amount(data.bytes)}, last written {_ago(data.written)}"] if data.bytes else []
    if data.snapshots:
        parts.append(f"{plural(data.snapshots, 'snapshot')} of it ({amount(data.snapshot_bytes)})")
    return f"deletes data: {', and '.join(parts)}"


def amount(size: int) -> str:
    """Bytes: `1.2 GB`."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if value < 10 else f"{value:.0f} {_UNITS[unit]}"


def _ago(seconds: float) -> str:
    count, unit = int(seconds), "second"
    for limit, larger in ((60, "minute"), (60, "hour"), (24, "day")):
        if count < limit:
            break
        count, unit = count // limit, larger
    return "just now" if count < 1 else f"{count} {unit}{'' if count == 1 else 's'} ago"


def unconfirmed(changes: Iterable[Change], allowed: Collection[str]) -> list[Change]:
    """The changes that delete data which nobody has named.

    allowed: addresses; `*` at an end stands for any rest (`volume.*`)
    """
    named = [address for several in allowed for address in several.split(",")]
    return [
        change
        for change in changes
        if change.data is not None and not any(names(pattern, change.address) for pattern in named)
    ]


def names(pattern: str, address: str) -> bool:
    """Whether an option means an address: `*` at its end stands for any rest (`volume.*`)."""
    return address.startswith(pattern[:-1]) if pattern.endswith("*") else address == pattern


def refuse(changes: Iterable[Change]) -> StackpyError:
    """What is said where there is nobody to ask."""
    lines = [f"{change.address} {text(change.data)}" for change in changes if change.data is not None]
    flags = " ".join(f"--allow-data-loss {change.address}" for change in changes)
    return StackpyError(f"nothing was changed: {'; '.join(lines)}", hint=f"if that is meant: `{flags}`")
