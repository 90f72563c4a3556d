"""A graph in the language of Graphviz (graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from stackpy.render.graph import COLOURS, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.render.graph import Graph, Group


def dot(graph: Graph) -> str:
    """The text of a digraph, without a final newline."""
    lines = [
        f"digraph {_quoted(graph.title)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    for node in graph.nodes:
        fill, line = COLOURS.get(node.style, PLAIN)
        tip = f", tooltip={_quoted(node.note)}" if node.note else ""
        lines.append(f'  {_quoted(node.id)} [label={_quoted(node.label)}, fillcolor="{fill}", color="{line}"{tip}];')
    for number, group in enumerate(graph.groups):
        lines += _cluster(group, f"cluster_{number}", "  ")
    for edge in graph.edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{label};")
    return "\n".join([*lines, "}"])


def _cluster(group: Group, identity: str, indent: str) -> list[str]:
    tip = f" tooltip={_quoted(group.note)};" if group.note else ""
    lines = [f"{indent}subgraph {identity} {{", f"{indent}  label={_quoted(group.label)}; style=dashed;{tip}"]
    lines += [f"{indent}  {_quoted(member)};" for member in group.members]
    for number, inner in enumerate(group.inside):
        lines += _cluster(inner, f"{identity}_{number}", indent + "  ")
    return [*lines, f"{indent}}}"]


def _quoted(text: str) -> str:
    r"""In a quoted ID only `"` ends it, but in labels `\N`, `\G` and such mean something: no backslash stays one."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
