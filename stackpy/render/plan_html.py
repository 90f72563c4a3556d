"""A plan as one page: the graph, each change with its reasons and differences. It loads nothing and runs no script.

The policy in its head forbids both, so that even a value that escaped escaping could do nothing.
"""

from __future__ import annotations

from stackpy.planning.quantities import SENSITIVE, human
from stackpy.render.costs import cost_text
from stackpy.render.escaping import escaped
from stackpy.render.graph import COLOURS, PLAIN, of_plan
from stackpy.render.graph_svg import svg
from stackpy.render.plan_text import counted_text, verdict_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.planning.plan import Change, Plan, Reason
    from stackpy.render.graph import Graph

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .6rem}
code,td.v,summary{font-family:ui-monospace,monospace}
.graph{overflow:auto;border:1px solid #d0d7de;border-radius:6px;padding:.5rem;max-height:36rem}
details{border:1px solid #d0d7de;border-left-width:5px;border-radius:6px;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}summary .why{font-family:system-ui,sans-serif;color:#57606a;margin-left:1rem}
table{border-collapse:collapse;margin:.4rem 0;width:100%}td{padding:.15rem .8rem .15rem 0;vertical-align:top}
td.p{color:#57606a;text-align:right;white-space:nowrap;padding-right:0}
td.v{white-space:pre-wrap;overflow-wrap:anywhere}.old{background:#ffebe9}.new{background:#dafbe1}
.deny{color:#cf222e;font-weight:600}.warn{color:#9a6700}.quiet{color:#57606a}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}details,.graph{border-color:#30363d}
.graph{background:#c9d1d9}.old{background:#67060c}.new{background:#033a16}.quiet,td.p,summary .why{color:#8b949e}}
@media print{.graph{max-height:none}}
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document, without a final newline."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>",
        ]
    )


def graph_html(graph: Graph) -> str:
    """A page with the drawing alone."""
    drawing = svg(graph) or '<p class="quiet">nothing to draw</p>'
    return page(graph.title, [f"<h1>{escaped(graph.title)}</h1>", f'<div class="graph">{drawing}</div>'])


def plan_html(plan: Plan) -> str:
    """The page of a plan, without a final newline."""
    title = f"{plan.stack} on {plan.engine}"
    before = f"{plan.generation - 1} → " if plan.changes else ""
    said = f"{counted_text(plan) or 'nothing to change'} · generation {before}{plan.generation}"
    body = [f"<h1>{escaped(title)}</h1>", f"<p>{escaped(said)}</p>", *_remarks(plan)]
    if plan.changes:
        body += ["<h2>Order</h2>", f'<div class="graph">{svg(of_plan(plan))}</div>', "<h2>Changes</h2>"]
        body += [_change(change) for change in plan.changes]
    if plan.outputs:
        rows = "".join(map(_row, plan.outputs))
        body += ["<h2>Outputs</h2>", f"<table>{rows}</table>"]
    return page(f"Plan of {title}", body)


def _remarks(plan: Plan) -> Iterable[str]:
    for verdict in plan.verdicts:
        word = "denied" if verdict.level == "deny" else "warning"
        yield (
            f'<p class="{verdict.level}">{word} by <code>{escaped(verdict.policy)}</code>: '
            f"{escaped(verdict_text(verdict))}</p>"
        )
    for refusal in plan.refusals:
        hint = f" ({escaped(refusal.hint)})" if refusal.hint else ""
        yield f'<p class="deny">refused: <code>{escaped(refusal.address)}</code>: {escaped(refusal.text)}{hint}</p>'
    notes = [*plan.notes, *map(cost_text, plan.costs)]
    if notes:
        yield f"<ul>{''.join(f'<li>{escaped(note)}</li>' for note in notes)}</ul>"


def _change(change: Change) -> str:
    line = COLOURS.get(change.action.word, PLAIN)[1]
    verb = " ".join(filter(None, (change.action.word, change.note, change.order)))
    why = change.reasons[0].text if change.reasons else ""
    rows = "".join(_row(reason) for reason in change.reasons)
    steps = f"<pre>{escaped_lines(change.steps)}</pre>" if change.steps else ""
    after = f'<p class="quiet">after {escaped(", ".join(change.depends_on))}</p>' if change.depends_on else ""
    return (
        f'<details style="border-left-color:{line}"><summary>{escaped(change.action.symbol)} '
        f'<b>{escaped(change.address)}</b> {escaped(verb)}<span class="why">{escaped(why)}</span></summary>'
        f"<table>{rows}</table>{steps}{after}</details>"
    )


def escaped_lines(lines: Iterable[str]) -> str:
    """Lines of a <pre>."""
    return "\n".join(escaped(line) for line in lines)


def _row(reason: Reason) -> str:
    path = f"<td>{escaped(reason.path)}</td>"
    place = f'<td class="p">{escaped(reason.place)}</td>' if reason.place else ""
    if reason.sensitive:
        text = f"{SENSITIVE}: {reason.text.removeprefix(f'{reason.path} {SENSITIVE}: ')}"
        return f'<tr>{path}<td colspan="2" class="quiet">{escaped(text)}</td>{place}</tr>'
    in_words = (reason.old, reason.new) == (None, None) or reason.path in ("state", "image")
    if in_words or reason.path.startswith(("steps[", "files.")):  # of those, the values are hashes
        return f'<tr>{path}<td colspan="2">{escaped(reason.text)}</td>{place}</tr>'
    old, new = (escaped(human(reason.path, value)) for value in (reason.old, reason.new))
    return f'<tr>{path}<td class="v old">{old}</td><td class="v new">{new}</td>{place}</tr>'
