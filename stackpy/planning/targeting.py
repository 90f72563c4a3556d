"""`--target`: a plan limited to some resources and what they depend on."""

from __future__ import annotations

from stackpy.errors import UsageError
from stackpy.planning import graph
from stackpy.planning.ordering import direct
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.draft import Draft


def check(targets: Collection[str], known: Iterable[str]) -> None:
    """Raises UsageError for a target that is no resource of the stack, with the nearest that is."""
    addresses = sorted(set(known))
    for target in sorted(targets):
        if target not in addresses:
            # only on the way to an error
            from difflib import get_close_matches

            near = [address for address in addresses if address.partition(".")[2] == target]
            near = near or get_close_matches(target, addresses, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"the stack has {', '.join(addresses) or 'no resources'}"
            raise UsageError(f"no resource `{target}` in this stack", hint=hint)


def select(drafts: list[Draft], specs: Mapping[str, Spec], targets: Collection[str]) -> set[int]:
    """The numbers of the drafts that the targets need.

    That is their own, those of what they depend on, what must let go of something before, and what is made anew with a
    network that is.
    """
    wanted = _closure(specs, targets)
    needs = {number: set(draft.needs) for number, draft in enumerate(drafts)}
    for number, draft in enumerate(drafts):
        if draft.kind == "network" and draft.action is Action.REPLACE:
            path = f"networks.{draft.name}"
            needs[number] |= {n for n, other in enumerate(drafts) if any(r.path == path for r in other.reasons)}
    # An image that is only needed is not pushed.
    return graph.reachable(
        (
            number
            for number, draft in enumerate(drafts)
            if draft.address in (targets if draft.action is Action.PUSH else wanted)
        ),
        needs,
    )


def _closure(specs: Mapping[str, Spec], targets: Collection[str]) -> set[str]:
    found: set[str] = set()
    left = list(targets)
    while left:
        address = left.pop()
        if address not in found:
            found.add(address)
            left += direct(specs[address]) if address in specs else ()
    return found
