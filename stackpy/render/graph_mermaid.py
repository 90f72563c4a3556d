"""A graph as a Mermaid flowchart (mermaid.js.org/syntax/flowchart.html), which forges draw in review comments."""

from __future__ import annotations

from stackpy.render.graph import COLOURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.render.graph import Graph, Group

# Mermaid refuses to draw more (maxEdges, maxTextSize), and only the page that it stands in can raise its limits.
_EDGES, _TEXT = 499, 50_000


def mermaid(graph: Graph) -> str:
    """The text of a flowchart, without a final newline."""
    numbers = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {numbers[node.id]}["{_escaped(node.label)}"]:::{node.style}' for node in graph.nodes]
    for number, group in enumerate(graph.groups):
        lines += _subgraph(group, f"g{number}", "  ", numbers)
    for edge in graph.edges:
        label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
        lines.append(f"  {numbers[edge.source]} -->{label} {numbers[edge.target]}")
    for style in dict.fromkeys(node.style for node in graph.nodes):
        if style in COLOURS:
            fill, line = COLOURS[style]
            lines.append(f"  classDef {style} fill:{fill},stroke:{line},color:#1f2328")
    text = "\n".join(lines)
    if len(graph.edges) > _EDGES or len(text) > _TEXT:
        limits = f"maxEdges: {len(graph.edges) + 1}, maxTextSize: {2 * len(text)}"
        return f"%% Mermaid draws this only on a page that gives it {limits}; html and dot have no limit\n{text}"
    return text


def _subgraph(group: Group, identity: str, indent: str, numbers: dict[str, str]) -> list[str]:
    lines = [f'{indent}subgraph {identity}["{_escaped(group.label)}"]']
    lines += [f"{indent}  {numbers[member]}" for member in group.members]
    for number, inner in enumerate(group.inside):
        lines += _subgraph(inner, f"{identity}_{number}", indent + "  ", numbers)
    return [*lines, f"{indent}end"]


def _escaped(text: str) -> str:
    """Entities of Mermaid's own: `#quot;`; a letter that it would read as markup has none but its number."""
    return "".join(char if char.isalnum() or char in " ._-/:+!@~*=,()" else f"#{ord(char)};" for char in text)
