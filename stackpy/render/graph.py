"""A graph as it is drawn, from a plan or from a stack; what draws it (dot, mermaid, svg) knows nothing of either."""

from __future__ import annotations

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from stackpy.dsl.specs import ComponentSpec, StackSpec
    from stackpy.planning.plan import Plan


class Node(NamedTuple):
    """A box. style: a word that its colour goes by: an action's, or a kind's; note: what is said of it besides."""

    id: str
    label: str
    style: str
    note: str = ""


class Edge(NamedTuple):
    """An arrow from what waits, or needs, to what it waits for. label: the condition, where it is not the usual one."""

    source: str
    target: str
    label: str = ""


class Group(NamedTuple):
    """Nodes that belong together, by their IDs. note: what is said of it besides; inside: groups that stand in it."""

    label: str
    note: str
    members: tuple[str, ...]
    inside: tuple[Group, ...] = ()


class Graph(NamedTuple):
    """title: of the whole."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...] = ()


# fill and line of a box; each pair is told apart in grey too, since the symbol of the action stands in the label
COLOURS = {
    "create": ("#dafbe1", "#1a7f37"),
    "update": ("#fff8c5", "#9a6700"),
    "replace": ("#fbefff", "#8250df"),
    "start": ("#ddf4ff", "#0969da"),
    "restart": ("#ddf4ff", "#0969da"),
    "delete": ("#ffebe9", "#cf222e"),
    "build": ("#eef2ff", "#4f46e5"),
    "pull": ("#eef2ff", "#4f46e5"),
    "push": ("#eef2ff", "#4f46e5"),
    "run": ("#e6fffb", "#0f766e"),
    "snapshot": ("#eef2ff", "#4f46e5"),
    "restore": ("#fbefff", "#8250df"),
    "move": ("#fff8c5", "#9a6700"),
    "image": ("#eef2ff", "#4f46e5"),
    "container": ("#ddf4ff", "#0969da"),
    "job": ("#e6fffb", "#0f766e"),
    "network": ("#f6f8fa", "#57606a"),
    "volume": ("#fff8c5", "#9a6700"),
    "secret": ("#ffebe9", "#cf222e"),
    "stack": ("#ffffff", "#24292f"),
}
PLAIN = ("#ffffff", "#57606a")


def of_plan(plan: Plan) -> Graph:
    """The changes, each with what must be done before it."""
    ids: dict[str, list[str]] = {}
    nodes = []
    edges = []
    for number, change in enumerate(plan.changes):
        identity = f"c{number}"
        note = "; ".join(reason.text for reason in change.reasons)
        nodes.append(Node(identity, f"{change.action.symbol} {change.address}", change.action.word, note))
        edges += [Edge(identity, other) for other in ids.get(change.address, ())[-1:]]
        edges += [Edge(identity, other) for address in change.depends_on for other in ids.get(address, ())]
        ids.setdefault(change.address, []).append(identity)
    groups = _groups(plan.components, ids)
    return Graph(f"{plan.stack}: generation {plan.generation}", tuple(nodes), tuple(edges), groups)


def of_stack(stack: StackSpec) -> Graph:
    """The resources, each with what it needs; other stacks whose outputs are read stand among them."""
    from stackpy.planning.ordering import direct

    nodes = [Node(address, address, spec.kind) for address, spec in stack.resources.items()]
    edges = []
    for address, spec in stack.resources.items():
        conditions = {each.address: each.condition for each in spec.dependencies}
        for other in dict.fromkeys(direct(spec)):
            if other in stack.resources:
                condition = conditions.get(other, "started")
                edges.append(Edge(address, other, "" if condition == "started" else condition))
    if stack.references:
        others = dict.fromkeys(name for name, _ in stack.references)
        nodes += [Node(f"stack.{name}", f"stack.{name}", "stack", _read(stack, name)) for name in others]
    return Graph(
        stack.name, tuple(nodes), tuple(edges), _groups(stack.components, {each: [each] for each in stack.resources})
    )


def _groups(components: Mapping[str, ComponentSpec], boxes: Mapping[str, Sequence[str]]) -> tuple[Group, ...]:
    """The components, those that stand in another one inside it.

    boxes: the IDs of the nodes of each address that has some
    """
    inner: dict[str, list[str]] = {"": []}
    for name in components:
        inner[name] = []
    for name in components:
        inner[_around(name, inner)].append(name)

    def group(name: str) -> Group | None:
        one, inside = components[name], tuple(filter(None, map(group, inner[name])))
        deeper = {child for other in inner[name] for child in components[other].children}
        own = tuple(box for child in one.children if child not in deeper for box in boxes.get(child, ()))
        return Group(f"{name} ({one.kind})", one.doc, own, inside) if own or inside else None

    return tuple(filter(None, map(group, inner[""])))


def _around(name: str, names: Collection[str]) -> str:
    """The component in which another stands: its name begins with that one's; "" where there is none."""
    outer = name
    while outer := outer.rpartition("-")[0]:
        if outer in names:
            return outer
    return ""


def _read(stack: StackSpec, name: str) -> str:
    return "outputs read: " + ", ".join(output for other, output in stack.references if other == name)
