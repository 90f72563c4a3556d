"""Graphs of numbered nodes: `needs[n]` holds the nodes that must come before n. Knows nothing of resources."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


class CycleError(ValueError):
    """The nodes in `members` wait for each other, each for the next and the last for the first."""

    def __init__(self, members: list[int]) -> None:
        super().__init__(f"cycle: {members}")
        self.members = members


def order(nodes: Iterable[int], needs: Mapping[int, Collection[int]]) -> list[int]:
    """All of `nodes`, each after what it needs, otherwise in the order given.

    Raises CycleError. Iterative, because a chain of a thousand resources exceeds Python's recursion limit.
    """
    result: list[int] = []
    state: dict[int, bool] = {}  # False: on the path that is being followed, True: placed
    for root in nodes:
        if root in state:
            continue
        path = [(root, iter(sorted(needs.get(root, ()))))]
        state[root] = False
        while path:
            node, rest = path[-1]
            for other in rest:
                if other not in state:
                    state[other] = False
                    path.append((other, iter(sorted(needs.get(other, ())))))
                    break
                if not state[other]:
                    members = [member for member, _ in path]
                    raise CycleError(members[members.index(other) :])
            else:
                state[node] = True
                result.append(node)
                path.pop()
    return result


def reachable(starts: Iterable[int], needs: Mapping[int, Collection[int]]) -> set[int]:
    """`starts` and all that they need, directly or through others."""
    found = set(starts)
    open_nodes: Sequence[int] = list(found)
    while open_nodes:
        following = {other for node in open_nodes for other in needs.get(node, ())} - found
        found |= following
        open_nodes = list(following)
    return found
