"""`moved(old=…, new=…)`: a resource has another name in the stack file now, and what exists is to be renamed."""

from __future__ import annotations

from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.resources import Resource
from stackpy.dsl.session import Place, current
from stackpy.dsl.values import Invalid, meant, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stackpy.dsl.calls import Call

    Move = tuple[str, str, Call]

KINDS = ("container", "job", "network", "volume")
_WHY_NOT = {
    "image": "an image is found by what it is made of: its name needs no move",
    "secret": "containers find it by its name, at /run/secrets/NAME: what uses it changes in any case",
}


@checked("moved")
def moved(*, old: str, new: str | Resource) -> None:
    """Says that `new` is what was called `old`: it is renamed, and not made anew.

    old, new: addresses such as "container.api"; `new` may be the resource itself
    """
    place = Place(caller(), "this move")
    before = place.item("old").parse(_address, old)
    after = place.item("new").parse(_address, new)
    session = current()
    if before is None or after is None or session is None:
        return
    if before.partition(".")[0] != after.partition(".")[0]:
        place.item("new").report(f"`{before}` cannot become `{after}`, which is of another kind")
    elif before == after:
        place.item("new").report(f"`{before}` moves to itself")
    elif any(before == known for known, _, _ in session.moves):
        place.item("old").report(f"`{before}` moves twice")
    elif any(after == known for _, known, _ in session.moves):
        place.item("new").report(f"two resources move to `{after}`")
    else:
        session.moves.append((before, after, place.call))


def _address(value: object) -> str:
    if isinstance(value, Resource):
        value = value.address
    if not isinstance(value, str) or not value.partition(".")[2]:
        raise wrong('an address such as "container.api"', value)
    kind = value.partition(".")[0]
    if kind in _WHY_NOT:
        raise Invalid(f"cannot be `{value}`", _WHY_NOT[kind])
    if kind not in KINDS:
        raise wrong('an address such as "container.api"', value, meant(kind, KINDS))
    return value


def resolved(moves: Iterable[Move], declared: Collection[str], *, whole: bool) -> dict[str, str]:
    """Former address → address of now, through all moves in between; reports those that lead nowhere.

    whole: the stack file ran to its end, so that what is not declared is a mistake
    """
    known = {old: (new, call) for old, new, call in moves}
    result: dict[str, str] = {}
    for old, (new, call) in known.items():
        place = Place(call, "this move")
        if old in declared:
            if whole:
                place.item("old").report(f"`{old}` has moved away, and is declared too", "remove one of the two")
            continue
        seen = {old}
        while new in known and new not in declared and new not in seen:
            seen.add(new)
            new = known[new][0]
        if new in seen:
            place.report(f"`{old}` moves in a circle")
        elif new not in declared:
            if whole:
                kind = new.partition(".")[0]
                near = meant(new, [address for address in declared if address.startswith(f"{kind}.")])
                place.item("new").report(f"`{old}` moves to `{new}`, which is not declared", near)
        else:
            result[old] = new
    return result
