"""The forms in which a plan is shown, by the name that `--format` gives them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.planning.plan import Plan
    from stackpy.render.graph import Graph


def plan_as(form: str, plan: Plan, width: int | None = None, *, colour: bool = False) -> str:
    """A plan as text, json, markdown, html, dot or mermaid, without a final newline.

    width, colour: of text, see plan_text
    """
    if form == "text":
        from stackpy.render.plan_text import plan_text

        return plan_text(plan, width, colour=colour)
    if form == "json":
        from stackpy.render.plan_json import plan_json

        return plan_json(plan)
    if form == "markdown":
        from stackpy.render.plan_markdown import plan_markdown

        return plan_markdown(plan)
    if form == "html":
        from stackpy.render.plan_html import plan_html

        return plan_html(plan)
    from stackpy.render.graph import of_plan

    return graph_as(form, of_plan(plan))


def graph_as(form: str, graph: Graph) -> str:
    """A graph as dot, mermaid or html, without a final newline."""
    if form == "dot":
        from stackpy.render.graph_dot import dot

        return dot(graph)
    if form == "html":
        from stackpy.render.plan_html import graph_html

        return graph_html(graph)
    from stackpy.render.graph_mermaid import mermaid

    return mermaid(graph)
