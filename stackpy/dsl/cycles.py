"""Cycles of dependencies, shown as the user would follow them: a → b → a."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.dsl.session import Place

    Edges = dict[str, list[tuple[str, Place]]]


def report_cycles(edges: Edges) -> None:
    """Reports each group of resources that wait for one another, once, at the reference that closes the circle.

    edges: what each address depends on, and where that was said
    """
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        # by hand instead of by recursion: a chain may be longer than Python's stack
        trail: list[str] = [start]
        pending = [iter(edges.get(start, ()))]
        on_trail = {start}
        while trail:
            following = next(pending[-1], None)
            if following is None:
                done.add(trail[-1])
                on_trail.discard(trail.pop())
                pending.pop()
                continue
            address, place = following
            if address in on_trail:
                _report(trail[trail.index(address) :], place)
            elif address not in done:
                trail.append(address)
                on_trail.add(address)
                pending.append(iter(edges.get(address, ())))


def _report(circle: list[str], place: Place) -> None:
    names = [address.partition(".")[2] for address in (*circle, circle[0])]
    if len(circle) == 1:
        place.report(f"{place.subject} depends on itself")
    else:
        place.report(f"a dependency cycle: {' → '.join(names)}", "remove one of these dependencies")
