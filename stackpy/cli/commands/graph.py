"""stackpy graph."""

from __future__ import annotations

from stackpy.cli.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Prints what the stack is made of and what needs what; asks no engine."""
    from stackpy.render.graph import of_stack
    from stackpy.render.plan_forms import graph_as

    form = arguments.format or ("json" if context.json else "text")
    stack = context.load().stack
    graph = of_stack(stack)
    if form == "json":
        from stackpy.cli import terminal

        terminal.print_json(
            {
                "stack": graph.title,
                "resources": [node.id for node in graph.nodes],
                "edges": [{"from": e.source, "to": e.target, "condition": e.label or "started"} for e in graph.edges],
                "groups": {f"{name} ({one.kind})": list(one.children) for name, one in stack.components.items()},
            }
        )
        return 0
    if form != "text":
        print(graph_as(form, graph))
        return 0
    needs: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        needs[edge.source].append(f"{edge.target} ({edge.label})" if edge.label else edge.target)
    print(graph.title)
    for name, one in stack.components.items():
        doc = f": {one.doc}" if one.doc else ""
        print(f"  {name} ({one.kind}){doc} [{', '.join(one.children)}]")
    for address, others in needs.items():
        print(f"  {address}" + (f" ← {', '.join(others)}" if others else ""))
    return 0


COMMAND = Command(
    "graph",
    "Show what the stack is made of and what needs what; asks no engine",
    run,
    details="`stackpy plan --format dot` and `--format mermaid` draw the changes of a plan in their order.",
    stack=True,
    options=[
        Option(
            "--format",
            metavar="FORMAT",
            choices=("text", "json", "dot", "mermaid", "html"),
            help="text, json, dot (for Graphviz), mermaid, or html (a page with the drawing)",
        )
    ],
    examples=[
        ("stackpy graph", "a line for each resource"),
        ("stackpy graph --format dot | dot -Tsvg > stack.svg", "drawn by Graphviz"),
        ("stackpy graph --format html > stack.html", "drawn by stackpy"),
    ],
)
