"""A stack that is edited at random, and the stack file that says it; for property tests. Pure.

Items know each other by number and not by name, so that a renamed one is still the one that others use.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from tests.field_forms import FORMS

HEADER = (
    "from stackpy import Component, Container, File, HealthCheck, Image, Job, Network, Output, Secret, Stack, Update\n"
    "from stackpy import Volume, moved\n\n"
    'class Part(Component):\n    pass\n\np = Part("p")\n'
)
PREFIX = {"network": "n", "volume": "v", "secret": "s", "image": "i", "container": "c", "job": "j"}
MOST = {"network": 3, "volume": 3, "secret": 2, "image": 3, "container": 4, "job": 1}
NAMES = ("red", "green", "blue", "grey")
PARTS = ("", "", "", "p")
# What of field_forms.py is said here in another way.
_OWN = {"networks", "volumes", "secrets", "ports", "command", "protect", "ignore_changes"}
LABELS = ['{"team": "a"}', '{"team": "b"}', '{"team": "b", "more": "x"}']
MORE_FIELDS: dict[str, list[list[str]]] = {
    "command": [['["sleep", "500"]', '"sleep 500"'], ['["sleep", "400"]']],
    "replicas": [["2"], ["3"]],
    "update": [
        ['{"order": "start-first"}', 'Update(order="start-first")'],
        ['{"order": "stop-first"}'],
        ["Update(parallelism=0)"],
        ['Update(parallelism=2, failure_action="rollback")'],
    ],
    "protect": [["True"]],
    "ignore_changes": [['["mem_limit"]'], ['["mem_limit", "labels.team"]']],
    "pre_start": [['["true"]']],
    "post_start": [['[{"command": "true"}]']],
    "tmpfs": [['"/run"', '["/run"]'], ['"/cache:size=1m"']],
    "network_mode": [['"none"']],
}
FIELDS: dict[str, dict[str, list[list[str]]]] = {
    "container": {**{key: forms for key, forms in FORMS.items() if key not in _OWN}, **MORE_FIELDS},
    "job": {key: FORMS[key] for key in ("environment", "labels", "user", "mem_limit", "files", "hostname")},
    "network": {"labels": [LABELS], "internal": [["True"]], "protect": [["True"]]},
    "volume": {"labels": [LABELS], "protect": [["True"]], "snapshot": [["True"]]},
    "secret": {"protect": [["True"]]},
    "image": {},
}
FIELDS["network"]["labels"] = FIELDS["volume"]["labels"] = [[form] for form in LABELS]


@dataclass
class Item:
    """One resource. fields: as Python source; uses: numbers of other items; port: which of the free ones, or none."""

    number: int
    kind: str
    name: str
    part: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    uses: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    port: int | None = None
    variant: int = 0

    @property
    def full(self) -> str:
        """Its name on the engine, without the stack's."""
        return f"{self.part}-{self.name}" if self.part else self.name

    @property
    def address(self) -> str:
        """As commands name it."""
        return f"{self.kind}.{self.full}"


class RandomStack:
    """The stack as it is wanted.

    name: of the stack
    ports: free ports of this host, of which each container has one at most
    """

    def __init__(self, name: str, ports: list[int]) -> None:
        self.name, self.ports = name, ports
        self.items: dict[int, Item] = {}
        self.moves: list[tuple[str, str]] = []
        self._next = 1

    # --- reading -----------------------------------------------------------------------------------------------------

    def of(self, *kinds: str) -> list[Item]:
        """The items of these kinds, in the order of the file."""
        return [item for item in self.items.values() if item.kind in kinds]

    def replicas(self, item: Item) -> int:
        """How many of a container are to run."""
        return int(item.fields.get("replicas", "1"))

    def text(self) -> str:
        """The stack file."""
        lines = [HEADER, f"Stack({self.name!r})\n"]
        order = ("network", "volume", "secret", "image", "job", "container")
        for item in sorted(self.items.values(), key=lambda item: (order.index(item.kind), item.number)):
            lines.append(f"with {item.part}:\n    " if item.part else "")
            lines.append(f"{PREFIX[item.kind]}{item.number} = {self._call(item)}\n")
        lines += [f"moved(old={old!r}, new={new!r})\n" for old, new in self.moves]
        first = next((item for item in self.of("container") if "ports" in self._links(item)), None)
        if first is not None:
            lines.append(f'Output("port", {PREFIX["container"]}{first.number}.port(80))\n')
        return "".join(lines)

    def _call(self, item: Item) -> str:
        if item.kind == "image":
            return (
                f'Image.host("sh", "sleep", "cat", "true", "false").cmd(["sleep", "1000"]).label(of="{item.number}")'
                f'.env(VARIANT="{item.variant}").file("/etc/variant", "{item.variant}\\n")'
            )
        fields = dict(item.fields)
        if item.kind == "secret":
            fields["env"] = repr(f"SECRET_{item.number}")
        if item.kind in ("container", "job"):
            fields = {**self._links(item), **fields}
        if item.kind == "job":
            fields["command"] = '["cat", "/etc/variant"]'
        said = "".join(f", {key}={value}" for key, value in fields.items())
        return f"{item.kind.capitalize()}({item.name!r}{said})"

    def _links(self, item: Item) -> dict[str, str]:
        """The fields of a container that name other items."""
        links: dict[str, str] = {"stop_grace_period": "0"}
        of = {kind: [self.items[n] for n in sorted(item.uses) if self.items[n].kind == kind] for kind in PREFIX}
        links["image"] = f"i{of['image'][0].number}"
        alone = "network_mode" in item.fields
        if of["network"] and not alone:
            links["networks"] = "[" + ", ".join(f"n{one.number}" for one in of["network"]) + "]"
        if of["volume"]:
            links["volumes"] = "{" + ", ".join(f'v{one.number}: "/v{one.number}"' for one in of["volume"]) + "}"
        if of["secret"]:
            links["secrets"] = "[" + ", ".join(f"s{one.number}" for one in of["secret"]) + "]"
        if item.port is not None and not alone:
            links["ports"] = f'["{self.ports[item.port]}:80"]'
        after = [self.items[number] for number in sorted(item.after)]
        if after:
            links["depends_on"] = "[" + ", ".join(map(self._condition, after)) + "]"
        return links

    def _condition(self, item: Item) -> str:
        if item.kind == "job":
            return f"j{item.number}.completed"
        checked = "true" in item.fields.get("healthcheck", "").lower().replace("disable", "")
        return f"c{item.number}.{'healthy' if checked else 'started'}"

    # --- editing: each takes from `choose`, which picks one of a list ------------------------------------------------

    def add(self, kind: str, choose: Any) -> Item | None:
        """A new item with a name that no other has; None where there are enough."""
        if len(self.of(kind)) >= MOST[kind]:
            return None
        if kind in ("container", "job") and not self.of("image"):
            self.add("image", choose)
        part = choose(PARTS) if kind != "image" else ""
        free = [name for name in NAMES if not self._taken(kind, part, name)]
        if not free:
            return None
        item = Item(self._next, kind, choose(free), part)
        self._next += 1
        if kind in ("container", "job"):
            item.uses = {choose(self.of("image")).number}
            if kind == "container":
                item.uses |= {one.number for one in self.of("network", "volume", "secret") if choose((True, False))}
        self.items[item.number] = item
        self._settle_moves()
        return item

    def _taken(self, kind: str, part: str, name: str) -> bool:
        # Containers and jobs share the names on the engine.
        kinds = ("container", "job") if kind in ("container", "job") else (kind,)
        return any((one.part, one.name) == (part, name) for one in self.of(*kinds))

    def remove(self, item: Item) -> None:
        """Takes an item away, and from those that use it; an image that is in use stays."""
        users = [other for other in self.items.values() if item.number in other.uses]
        if item.kind == "image" and users:
            return
        del self.items[item.number]
        for other in self.items.values():
            other.uses.discard(item.number)
            other.after.discard(item.number)
        self._settle_moves()

    def rename(self, item: Item, part: str, name: str, *, move: bool) -> bool:
        """Gives an item another name; with `move` the file says that it has moved. Whether it has one."""
        if self._taken(item.kind, part, name):
            return False
        old = item.address
        item.part, item.name = part, name
        moves = move and item.kind in ("container", "job", "network", "volume")
        if moves and not any(old == one or item.address in (two, one) for one, two in self.moves):
            self.moves.append((old, item.address))
        self._settle_moves()
        return True

    def _settle_moves(self) -> None:
        """Drops moves that lead nowhere, or from what is there again."""
        there = {item.address for item in self.items.values()}
        while wrong := [
            (old, new)
            for old, new in self.moves
            if old in there or (new not in there and new not in [one for one, _ in self.moves])
        ]:
            self.moves = [move for move in self.moves if move not in wrong]

    def set_field(self, item: Item, choose: Any) -> None:
        """Sets a field to one of its values, in one of its forms."""
        table = FIELDS[item.kind]
        if table:
            key = choose(sorted(table))
            item.fields[key] = choose(choose(table[key]))
        elif item.kind == "image":
            item.variant = choose(range(4))

    def unset_field(self, item: Item, choose: Any) -> None:
        """Says nothing of a field any more."""
        if item.fields:
            del item.fields[choose(sorted(item.fields))]

    def link(self, item: Item, choose: Any) -> None:
        """Has a container use something else, or something no more."""
        others = self.of("network", "volume", "secret", "image")
        # a job stands before the containers in the file, and waits for none
        before = [one for one in self.of("container", "job") if one.number < item.number and item.kind != "job"]
        if choose((True, True, False)) and others:
            other = choose(others)
            if other.kind == "image":
                item.uses -= {one.number for one in self.of("image")}
            item.uses ^= {other.number}
        elif before:
            item.after ^= {choose(before).number}

    def publish(self, item: Item, choose: Any) -> None:
        """Gives a container another port, none, or the one that another container has had."""
        wanted = choose((None, *range(len(self.ports))))
        for other in self.of("container"):
            if wanted is not None and other.port == wanted:
                other.port = item.port
        item.port = wanted

    def edit(self, choose: Any) -> None:
        """One change, whichever."""
        running = self.of("container", "job")
        what = choose(("add", "add", "remove", "rename", "set", "set", "set", "unset", "link", "link", "port"))
        if what == "add" or not running:
            kinds = ("network", "volume", "secret", "image", "container", "container", "job")
            self.add(choose(kinds) if running else "container", choose)
        elif what == "remove":
            self.remove(choose(list(self.items.values())))
        elif what == "rename":
            item = choose([one for one in self.items.values() if one.kind != "image"])
            self.rename(item, choose(PARTS), choose(NAMES), move=choose((True, True, False)))
        elif what == "set":
            self.set_field(choose(list(self.items.values())), choose)
        elif what == "unset":
            self.unset_field(choose(running), choose)
        elif what == "link":
            self.link(choose(running), choose)
        elif self.of("container"):
            self.publish(choose(self.of("container")), choose)

    def unprotected(self) -> None:
        """Takes back all that keeps items from going."""
        for item in self.items.values():
            item.fields.pop("protect", None)

    def copy(self) -> RandomStack:
        """What it is now, for later."""
        other = RandomStack(self.name, self.ports)
        other.items = {
            number: dataclasses.replace(item, fields=dict(item.fields), uses=set(item.uses), after=set(item.after))
            for number, item in self.items.items()
        }
        other.moves, other._next = list(self.moves), self._next
        return other
