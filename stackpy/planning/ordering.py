"""What of a plan must come before what.

Five rules, all but the last of them hard:
1. a resource after what it needs: its image, networks, volumes and secrets, and the containers and jobs that it depends
   on, also through such as do not change. An update in place needs only networks and secrets
   that it is about, a start no image.
2. a network, volume or secret leaves after what used it, and a network is replaced after what leaves it.
3. where rule 1 says the contrary (what leaves a network waits for something that joins it), rule 1 holds: whoever
   replaces a network removes what is on it.
4. a port, a name or a subnet is given up before another takes it. Where the one that gives it up must itself wait for
   the taker (two containers swap their ports), its replacement is split into a deletion and a creation.
5. of containers that leave, those that depended on another go first; given up where it would close a cycle, since the
   dependencies of the last apply and those of now may contradict each other.
"""

from __future__ import annotations

from stackpy.planning import claims, graph
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action, Reason
from stackpy.planning.uses import uses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Observed

    Specs = Mapping[str, Spec]
    Existing = Mapping[str, Observed]
    Numbers = dict[str, list[int]]  # the drafts of each address


_PROCESSES = ("container", "job")
_RELEASING = (Action.DELETE, Action.REPLACE, Action.RUN)  # what ends a container that exists
_LEAVING = (Action.UPDATE, Action.RESTART)  # what may take it off a network


def link(drafts: list[Draft], specs: Specs, existing: Existing) -> None:
    """Fills `needs` and `prefers` of all drafts; may split one in two, and appends the new one."""
    numbers: Numbers = {}
    for number, draft in enumerate(drafts):
        numbers.setdefault(draft.address, []).append(number)
    through = _changed_processes(specs, numbers)
    moves = sum(draft.action is Action.MOVE for draft in drafts)
    conflicts = claims.conflicts(drafts, specs, existing)
    # a job may move to the name of a container that leaves, and the other way round
    first = {giver for taker, giver, _ in conflicts if drafts[taker].action is Action.MOVE}
    for number, draft in enumerate(drafts):
        # what has moved is found by its new name from then on, by others too
        if draft.action is not Action.MOVE and number not in first:
            draft.needs.update(range(moves))
        # the changes of one address are made as they stand
        draft.needs.update(other for other in numbers[draft.address] if other < number)
        if draft.action not in (Action.DELETE, Action.MOVE) and draft.address in specs:
            for address in _needed(draft, specs[draft.address], numbers, through):
                if draft.action is Action.UPDATE and not _is_joined(draft, address):
                    continue
                # nobody waits until an image has been given to a registry
                draft.needs.update(n for n in numbers[address] if drafts[n].action is not Action.PUSH)
    _after_users(drafts, specs, existing, numbers)
    splitter = _Splitter(drafts, existing)
    for taker, giver, what in conflicts:
        splitter.give_up(taker, giver, what)


def order(drafts: list[Draft]) -> list[int]:
    """The numbers of the drafts in an order in which they can be made."""
    hard = {number: draft.needs for number, draft in enumerate(drafts)}
    try:
        return graph.order(range(len(drafts)), {n: needs | drafts[n].prefers for n, needs in hard.items()})
    except graph.CycleError:
        for draft in drafts:
            draft.prefers.clear()
        return graph.order(range(len(drafts)), hard)


def direct(spec: Spec) -> Iterable[str]:
    """Addresses of all that the resource needs, from its fields and from its dependencies."""
    if spec.kind in _PROCESSES:
        yield spec.fields["image"]
        for _, address in uses(spec.fields):
            yield address
        for mount in spec.fields.get("secrets", ()):
            yield f"secret.{mount['secret']}"
    for dependency in spec.dependencies:
        yield dependency.address


def _changed_processes(specs: Specs, numbers: Numbers) -> dict[str, tuple[str, ...]]:
    """For each container and job: itself where it changes, else those that change of what it depends on."""
    addresses = [address for address, spec in specs.items() if spec.kind in _PROCESSES]
    places = {address: place for place, address in enumerate(addresses)}
    needs = {
        places[address]: [places[d.address] for d in specs[address].dependencies if d.address in places]
        for address in addresses
        if specs[address].dependencies
    }
    result: dict[str, tuple[str, ...]] = {}
    for place in graph.order(range(len(addresses)), needs):
        address = addresses[place]
        if address in numbers:
            result[address] = (address,)
        else:
            result[address] = tuple(dict.fromkeys(a for n in needs.get(place, ()) for a in result[addresses[n]]))
    return result


def _needed(draft: Draft, spec: Spec, numbers: Numbers, through: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    for address in direct(spec):
        if address in through:
            yield from through[address]
        elif address in numbers and not (draft.action is Action.START and address.startswith("image.")):
            yield address


def _is_joined(draft: Draft, address: str) -> bool:
    """Whether an update in place needs what is at an address: a network that it joins, a secret whose value it gets."""
    kind, _, name = address.partition(".")
    return kind in ("network", "secret") and any(reason.path == f"{kind}s.{name}" for reason in draft.reasons)


def _after_users(drafts: list[Draft], specs: Specs, existing: Existing, numbers: Numbers) -> None:
    """Rules 2, 3 and 5."""
    leaving = {a for a, own in numbers.items() if drafts[own[0]].action in (Action.DELETE, Action.REPLACE)}
    needs = {number: draft.needs for number, draft in enumerate(drafts)}
    for user, own in numbers.items() if leaving else ():
        observed = existing.get(user)
        if observed is None or observed.kind not in _PROCESSES:
            continue
        stays = set(direct(specs[user])) if user in specs else set()
        for address in _used(observed) & leaving:
            for number in numbers[address]:
                for other in (n for n in own if _releases(drafts[n], address)):
                    goes = drafts[other].action is Action.DELETE
                    if goes or (address not in stays and number not in graph.reachable([other], needs)):
                        drafts[number].needs.add(other)
        for dependency in observed.dependencies:
            for number in numbers.get(dependency.address, ()):
                if drafts[number].action is Action.DELETE and dependency.address not in specs:
                    drafts[number].prefers.update(own)


def _releases(draft: Draft, address: str) -> bool:
    """Whether a container uses what is at an address no longer after this: it ends, or leaves the network."""
    return draft.action in _RELEASING or (draft.action in _LEAVING and _is_joined(draft, address))


def _used(observed: Observed) -> set[str]:
    """The networks, volumes and secrets that a container uses now."""
    found: set[str] = set()
    for replica in observed.replicas:
        found.update(address for _, address in uses(replica.live))
        found.update(f"secret.{mount['secret']}" for mount in replica.live.get("secrets", ()))
    return found


class _Splitter:
    """Rule 4. Every edge that it adds leaves the graph without a cycle."""

    def __init__(self, drafts: list[Draft], existing: Existing) -> None:
        self._drafts, self._existing = drafts, existing
        self._needs = {number: draft.needs for number, draft in enumerate(drafts)}
        self._split: dict[int, int] = {}  # a replacement that became a creation → the deletion before it

    def give_up(self, taker: int, giver: int, what: str) -> None:
        """Puts what gives something up before what takes it."""
        why = f"its {what} goes to {self._drafts[taker].address}"
        if self._waits(giver, taker):
            if self._drafts[giver].kind in _PROCESSES:
                self._part(giver, why)
            else:
                # a network waits for its containers, and one of those for the network that takes its subnet
                for number in [n for n in self._needs[giver] if self._waits(n, taker)]:
                    if self._drafts[giver].action is Action.REPLACE:
                        self._needs[giver].discard(number)  # rule 3
                    else:
                        self._part(number, f"{self._drafts[giver].address} has to go before")
        giver = self._split.get(giver, giver)
        # two networks that swap their subnets cannot be ordered: one of them succeeds, and the next apply does the rest
        if not self._waits(giver, taker):
            self._needs[taker].add(giver)

    def _waits(self, number: int, other: int) -> bool:
        return other in graph.reachable([number], self._needs)

    def _part(self, number: int, why: str) -> None:
        """Makes a replacement a creation, preceded by a deletion that waits for nothing; a job's run likewise."""
        later = self._drafts[number]
        if number in self._split or later.action not in (Action.REPLACE, Action.RUN, *_LEAVING):
            return
        reason = Reason("state", "present", "absent", why)
        earlier = Draft(later.kind, later.name, Action.DELETE, [reason], replicas=later.replicas, note=later.note)
        place = self._split[number] = len(self._drafts)
        self._drafts.append(earlier)
        self._needs[place] = earlier.needs
        if later.action is not Action.RUN:
            later.action = Action.CREATE
        used = _used(self._existing[later.address])
        for draft in self._drafts:
            if draft.kind == "network" and draft.address in used and draft.action in (Action.DELETE, Action.REPLACE):
                draft.needs.discard(number)
                draft.needs.add(place)
        later.needs.add(place)
