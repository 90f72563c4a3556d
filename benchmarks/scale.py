"""How our work grows with a stack: ours beside our own, on a smaller scale."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measure import Row, Side, command, compare, elapsed, held, most_memory, said, within

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN_MS, PLAN_MB, EACH_MB = 250.0, 80.0, 0.5
EACH = 1.2  # for one of a thousand ÷ for one of ten

VOLUMES = """
from stackpy import Stack, Volume

Stack("volumes-{count}")
for number in range({count}):
    Volume(f"v{{number}}", labels={{"n": str(number)}})
"""

CONTAINERS = """
from stackpy import Container, Image, Stack

Stack("containers-{count}")
image = Image.host("sleep").tag("scale:latest")
for number in range({count}):
    Container(f"c{{number}}", image=image, command=["sleep", "100000"], mem_limit="16m", labels={{"n": str(number)}})
"""

# Each container needs an image, a network, a volume and up to two others: four edges each.
GRAPH = """
from stackpy import Container, Image, Network, Stack, Volume

Stack("graph")
image = Image.host("sleep")
networks = [Network(f"n{{number}}") for number in range(20)]
made = []
for number in range({edges} // 5):
    made.append(
        Container(
            f"c{{number}}",
            image=image,
            networks=[networks[number % 20]],
            volumes={{Volume(f"v{{number}}"): "/data"}},
            depends_on=made[-2:],
        )
    )
"""

LONG = """\
Container(
    "c{number}",
    image=image,
    command=["sleep", "1000"],
    environment={{"NUMBER": "{number}"}},
    mem_limit="16m",
    labels={{"number": "{number}"}},
    restart="always",
    stop_grace_period=5,
)
"""


class Costs(NamedTuple):
    """What containers cost: milliseconds, those of `apply` and `destroy` for each; MB."""

    apply: float
    plan: float
    listing: float
    destroy: float
    plan_mb: float
    each_mb: float


def _each(work: str, ours: str, amount: float, theirs: str, other: float) -> Row:
    return said(Row(f"{work}, each", ours, theirs, amount, other, amount / other, EACH, 1))


class Scale:
    """ours: a command line of ours from its words; environment: what it runs in."""

    def __init__(self, folder: Path, ours: Callable[..., list[str]], environment: dict[str, str]) -> None:
        self.folder, self.ours, self.environment = folder, ours, environment

    def rows(self, rounds: int) -> list[Row]:
        """All of them."""
        return [*self.containers(rounds), *self.volumes(rounds), self.graph(rounds), self.lines(rounds)]

    # --- containers: what each costs, of a thousand and of ten -------------------------------------------------------

    def containers(self, rounds: int) -> list[Row]:
        """Applied, planned with nothing to change, listed and destroyed; a bridge has room for 1,024."""
        few, many = 10, 1000
        small, large = self._costs(few, max(3, rounds // 3), rounds), self._costs(many, 1, rounds)
        ours, theirs = f"stackpy, {many:,}", f"of {few}"
        return [
            _each(f"apply of {many:,} containers", ours, large.apply, theirs, small.apply),
            within(f"plan of {many:,} containers, none changed", ours, large.plan, theirs, small.plan, PLAN_MS),
            within("memory of that plan", ours, large.plan_mb, theirs, small.plan_mb, PLAN_MB, "MB"),
            within(f"`ps` of {many:,} containers", ours, large.listing, theirs, small.listing, PLAN_MS),
            within("memory of our processes for each of them", ours, large.each_mb, "budget", EACH_MB, EACH_MB, "MB"),
            _each(f"destroy of {many:,} containers", ours, large.destroy, theirs, small.destroy),
        ]

    def _costs(self, count: int, times: int, rounds: int) -> Costs:
        name = f"c{count}"
        self._stack(name, CONTAINERS.format(count=count))
        apply, destroy = self._call(name, "apply", "--yes"), self._call(name, "destroy", "--yes")
        if times > 1:
            apply()  # the image, and processes that stand by
            destroy()
        applies, destroys = [], []
        for left in reversed(range(times)):
            before = self._held()
            applies.append(elapsed(apply) / count)
            each_mb = (self._held() - before) / count
            if not left:
                plans = [elapsed(self._call(name, "plan")) for _ in range(rounds)]
                listings = [elapsed(self._call(name, "ps")) for _ in range(rounds)]
                plan_mb = most_memory(*self.ours("plan"), env=self.environment, cwd=str(self.folder / name))
            destroys.append(elapsed(destroy) / count)
        self._call(name, "destroy", "--yes", "--images")()
        medians = [statistics.median(values) for values in (applies, plans, listings, destroys)]
        return Costs(*medians, plan_mb=plan_mb, each_mb=each_mb)

    def _held(self) -> float:
        """Memory of our keeper and supervisor in MB."""
        return held(Path(self.environment["STACKPY_ROOT"]))

    # --- volumes: next to no work for the host, so that what grows is our own ----------------------------------------

    def volumes(self, rounds: int) -> list[Row]:
        """Applies of everything, and plans with nothing to change."""
        small, large = 1000, 5000
        for count in (small, large):
            self._stack(f"v{count}", VOLUMES.format(count=count))
        try:
            return [
                compare(
                    f"apply of {large:,} volumes",
                    Side(f"stackpy apply of {large:,}", self._call(f"v{large}", "apply", "--yes"), self._gone(large)),
                    Side(f"of {small:,}", self._call(f"v{small}", "apply", "--yes"), self._gone(small)),
                    large / small * 1.2,
                    rounds=1,
                    warm=0,
                ),
                compare(
                    f"plan of {large:,} volumes, none changed",
                    Side(f"stackpy plan of {large:,}", self._call(f"v{large}", "plan")),
                    Side(f"of {small:,}", self._call(f"v{small}", "plan")),
                    large / small * 1.2,
                    rounds=rounds,
                ),
            ]
        finally:
            for count in (small, large):
                self._gone(count)()

    # --- what needs no engine -----------------------------------------------------------------------------------------

    def graph(self, rounds: int) -> Row:
        """A graph that people look at."""
        few, many = 400, 2000
        for edges in (few, many):
            self._stack(f"g{edges}", GRAPH.format(edges=edges))
        ours, theirs = f"stackpy graph, {many:,}", f"of {few:,}"
        return compare(
            f"graph of {many:,} edges as html",
            Side(ours, self._call(f"g{many}", "graph", "--format", "html")),
            Side(theirs, self._call(f"g{few}", "graph", "--format", "html")),
            many / few * 1.2,
            rounds=rounds,
        )

    def lines(self, rounds: int) -> Row:
        """A stack file as a program writes it: nothing in it is said but once."""
        few, many = 1000, 10_000
        head = 'from stackpy import Container, Image\n\nimage = Image.host("sleep")\n'
        for count in (few, many):
            self._stack(f"l{count}", head + "".join(LONG.format(number=number) for number in range(count // 10)))
        return compare(
            f"validate of a stack file of {many:,} lines",
            Side(f"stackpy validate, {many:,}", self._call(f"l{many}", "validate")),
            Side(f"of {few:,}", self._call(f"l{few}", "validate")),
            many / few * 1.2,
            rounds=rounds,
        )

    def _stack(self, name: str, text: str) -> None:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stack.py").write_text(text)

    def _call(self, folder: str, *words: str) -> Callable[[], None]:
        return command(*self.ours(*words), env=self.environment, cwd=str(self.folder / folder))

    def _gone(self, count: int) -> Callable[[], None]:
        return self._call(f"v{count}", "destroy", "--volumes", "--allow-data-loss", "volume.*", "--images", "--yes")
