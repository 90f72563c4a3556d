"""`--target`, `--exclude` and `--replace`: which changes are taken into a plan, and which are asked for."""

from __future__ import annotations

from stackpy.errors import UsageError
from stackpy.planning import graph
from stackpy.planning.ordering import direct
from stackpy.planning.plan import Action
from stackpy.planning.quantities import plural
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.draft import Draft


class Selection(NamedTuple):
    """What of a plan is wanted: addresses or names, or several with commas between.

    targets: these and what they depend on alone; (): everything
    excludes: all but these and what waits for them
    replaces: these are made anew although nothing of them differs
    """

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()

    def split(self, known: Collection[str]) -> Selection:
        """With each address by itself, and those of `known` that are meant for plain names."""
        if not any(self):
            return self
        return Selection(
            *(
                tuple(dict.fromkeys(meant(word, known) or word for one in several for word in one.split(",")))
                for several in self
            )
        )

    def check(self, declared: Iterable[str], existing: Iterable[str]) -> None:
        """Raises UsageError for what is no resource of the stack, or cannot be made anew."""
        declared = list(declared)
        check((*self.targets, *self.excludes), (*declared, *existing))
        check(self.replaces, declared)
        for address in self.replaces:
            if reason := _UNREPLACED.get(address.partition(".")[0]):
                raise UsageError(f"`--replace {address}`: {reason[0]}", hint=reason[1])


# What people mean by a name that several resources have: what runs, then what it needs.
_KINDS = ("container", "job", "volume", "network", "secret", "image")


def meant(word: str, known: Iterable[str]) -> str:
    """The address that a word means: itself, or that of a resource with this name; "" where there is none."""
    named = [address for address in known if word in (address, address.partition(".")[2])]
    return min(named, key=lambda address: (address != word, _KINDS.index(address.partition(".")[0])), default="")


_UNREPLACED = {
    "image": ("an image is what its recipe makes", "`stackpy build --no-cache NAME` makes its steps again"),
    "volume": ("a volume is never replaced, since its data would be lost", "`stackpy volume rm` deletes it"),
    "secret": ("a secret has but its value", "give it another value where its source is"),
}


def limited(selection: Selection, count: int) -> str:
    """The note on changes that a selection leaves out."""
    by = [name for name, given in (("--target", selection.targets), ("--exclude", selection.excludes)) if given]
    return f"limited by {' and '.join(by)}: {plural(count, 'more change')} not in this plan"


def check(targets: Collection[str], known: Iterable[str]) -> None:
    """Raises UsageError for a target that is no resource of the stack, with the nearest that is."""
    addresses = sorted(set(known))
    for target in sorted(targets):
        if target not in addresses:
            # only on the way to an error
            from difflib import get_close_matches

            near = get_close_matches(target, addresses, 1)
            if not near:
                names = {address.partition(".")[2]: address for address in addresses}
                near = [names[name] for name in get_close_matches(target, names, 1)]
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


def without(drafts: list[Draft], excludes: Collection[str]) -> set[int]:
    """The numbers of the drafts that are neither excluded nor wait for one that is."""
    out = {number for number, draft in enumerate(drafts) if draft.address in excludes}
    followers: dict[int, set[int]] = {}
    for number, draft in enumerate(drafts):
        for other in draft.needs:
            followers.setdefault(other, set()).add(number)
    return set(range(len(drafts))) - graph.reachable(out, followers)


def _closure(specs: Mapping[str, Spec], targets: Collection[str]) -> set[str]:
    found: set[str] = set()
    left = list(targets)
    while left:
        address = left.pop()
        if address not in found:
            found.add(address)
            left += direct(specs[address]) if address in specs else ()
    return found
