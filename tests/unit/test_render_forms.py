"""A plan as Markdown, HTML and graphs, and back from its JSON: nothing of a stack is ever read as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stackpy.cli.commands.plan import FORMAT
from stackpy.dsl.specs import ComponentSpec
from stackpy.planning.attribution import attributed
from stackpy.planning.plan import Action, Change, Cost, Data, Desired, Plan, Reason, Refusal, Verdict
from stackpy.project.locating import Locator
from stackpy.render.costs import cost_text
from stackpy.render.graph import COLOURS, Edge, Graph, Group, Node, of_plan, of_stack
from stackpy.render.plan_forms import graph_as, plan_as
from stackpy.render.plan_json import plan_document
from stackpy.render.plan_reading import plan_from
from tests.unit.stack_files import load_text

HOSTILE = '</svg><script>alert(1)</script> "q" `tick` | @team #12 \x1b[31m\n```\n</details>'
PLAN = Plan(
    "shop",
    "embedded",
    5,
    (
        Change(
            "image.web",
            Action.BUILD,
            (Reason("steps[1]", "a", "b", "step 2/2 RUN make: src/app.py differs", place="stack.py:5"),),
            note="1 of 2 steps",
            steps=("cached 1/2 FROM debian", f"ran    2/2 RUN {HOSTILE}"),
        ),
        Change(
            "container.web",
            Action.REPLACE,
            (
                Reason("image", "a", "b", "its image changes"),
                Reason("environment.MODE", HOSTILE, "live", "environment.MODE: x → live", place=f"{HOSTILE}.py:8"),
                Reason(
                    "environment.TOKEN", None, None, "environment.TOKEN (sensitive): its value changes", True, "", "x:9"
                ),
            ),
            depends_on=("image.web",),
            order="stop-first",
            replicas=(2,),
        ),
    ),
    notes=(f"container.web: {HOSTILE}",),
    costs=(Cost("container.web", Action.REPLACE, 1, 1, 4.2, ("127.0.0.1:8080/tcp",)),),
    verdicts=(Verdict("no-privileged", "deny", "container.web", "is privileged", "stack.py:3"),),
    refusals=(Refusal("container.db", "it is protected", "take protect=True away"),),
    outputs=(
        Reason("note", "a", HOSTILE, f"note a → {HOSTILE}"),
        Reason("db_token", None, None, "db_token (sensitive): its value changes", True),
    ),
    components={"web": ComponentSpec("Web", HOSTILE, ("container.web",))},
)


class Page(HTMLParser):
    """Collects tags, and complains of those that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "rect", "path") or (tag == "path" and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_the_page_holds_no_markup_of_the_stack_and_loads_nothing() -> None:
    page = Page()
    text = plan_as("html", PLAN)
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert page.outside == []
    assert text.count("<details") == 2
    assert "default-src 'none'" in text
    assert '<td colspan="2">step 2/2 RUN make: src/app.py differs</td><td class="p">stack.py:5</td>' in text
    assert '<td colspan="2" class="quiet">(sensitive): its value changes</td>' in text


def test_markdown_folds_the_details_and_escapes() -> None:
    lines = plan_as("markdown", PLAN).split("\n")
    assert lines[0] == "**shop** on embedded: 1 to build, 1 to replace, 2 outputs to change (generation 4 → 5)"
    assert lines[2] == "- **refused**: `container.db`: it is protected (take protect=True away)"
    assert lines[4] == "- **denied** by `no-privileged`: container.web: is privileged (stack.py:3)"
    assert [line for line in lines if line.startswith("</details>")] == ["</details>"] * 2
    assert not any(line.startswith("<script") for line in lines)
    assert "! environment.TOKEN (sensitive)" in lines
    assert "+ environment.MODE: live" in lines
    assert "`step 2/2 RUN make: src/app.py differs` (stack.py:5) |" in plan_as("markdown", PLAN)
    token = lines.index("! environment.TOKEN (sensitive)")
    assert lines[token - 1] == "@@ x:9 @@"
    # A mention or the number of an issue is parted from its sign outside code.
    assert "@\u200bteam" in plan_as("markdown", PLAN)


def test_markdown_of_a_huge_plan_fits_a_comment() -> None:
    changes = tuple(
        Change(f"container.c{n}", Action.UPDATE, (Reason("environment.A", "x" * 200, "y", "A: x → y"),))
        for n in range(1000)
    )
    text = plan_as("markdown", Plan("shop", "embedded", 2, changes[:200]))
    assert text.count("<details>") > 20
    assert len(plan_as("markdown", Plan("shop", "embedded", 2, changes)).split("are in the plan itself")) == 2


@pytest.mark.parametrize("form", FORMAT.choices)
def test_every_form_shows_a_plan_without_changes(form: str) -> None:
    assert plan_as(form, Plan("shop", "embedded", 4, ()))


def test_every_action_has_its_colour() -> None:
    actions = [action for action in vars(Action).values() if isinstance(action, Action)]
    assert [action.word for action in actions if action.word not in COLOURS] == []
    plan = Plan("shop", "embedded", 2, tuple(Change("container.a", action, ()) for action in actions))
    assert all(plan_as(form, plan) for form in FORMAT.choices)


def test_a_plan_comes_back_from_its_document() -> None:
    """But for the notes of changes, which the contract of the JSON has not."""
    gone = Change("volume.old", Action.DELETE, (Reason("state", "present", "absent", "x"),), data=Data(9, 1.5))
    plain = PLAN._replace(changes=(*(change._replace(note="") for change in PLAN.changes), gone))
    assert plan_from(plan_document(plain)) == plain


@pytest.mark.parametrize("form", ["dot", "mermaid", "html"])
def test_two_thousand_edges_and_a_cycle(form: str) -> None:
    nodes = tuple(Node(f"n{n}", f"container.n{n}", "create") for n in range(500))
    edges = tuple(Edge(f"n{n}", f"n{(n * 7 + k * 13) % 500}") for n in range(500) for k in range(1, 5))
    text = graph_as(form, Graph("big", nodes, edges))
    assert text.count("n499") >= 1
    assert {"dot": " -> ", "mermaid": " --> ", "html": "marker-end"}[form] in text
    if form == "mermaid":
        assert text.startswith("%% Mermaid draws this only on a page that gives it maxEdges: 2001, maxTextSize: ")


COMPONENTS = """\
from stackpy import Component, component
image = Image.host("sh")
@component
def cache(name):
    "A <cache> that forgets."
    Container("server", image=image)
class Postgres(Component):
    "A database."
    def __init__(self, name):
        super().__init__(name)
        with self:
            Container("server", image=image, volumes={Volume("data"): "/data"})
            cache("spare")
            Container("reader", image=image)
Postgres("db")
cache("fast")
Container("web", image=image)
"""


def test_components_are_drawn_with_what_stands_in_them(tmp_path: Path) -> None:
    graph = of_stack(load_text(tmp_path, COMPONENTS).stack)
    spare = Group("db-spare (cache)", "A <cache> that forgets.", ("container.db-spare-server",))
    assert graph.groups == (
        Group(
            "db (Postgres)",
            "A database.",
            ("volume.db-data", "container.db-server", "container.db-reader"),
            (spare,),
        ),
        Group("fast (cache)", "A <cache> that forgets.", ("container.fast-server",)),
    )
    places = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = [line.strip() for line in graph_as("mermaid", graph).splitlines()]
    start = lines.index('subgraph g0["db (Postgres)"]')
    assert lines[start + 4 : start + 8] == [
        'subgraph g0_0["db-spare (cache)"]', places["container.db-spare-server"], "end", "end"
    ]  # fmt: skip
    dot = graph_as("dot", graph)
    assert dot.index("cluster_0 {") < dot.index("cluster_0_0 {") < dot.index("cluster_1 {")


def test_frames_of_components_stand_round_their_members_alone(tmp_path: Path) -> None:
    """All containers stand in one layer, those of a component side by side."""
    page = graph_as("html", of_stack(load_text(tmp_path, COMPONENTS).stack))
    assert "A &lt;cache&gt; that forgets." in page
    number = r'="(-?[\d.]+)" '
    boxes = {
        title.partition(":")[0]: (float(x), float(y), float(x) + float(w), float(y) + float(h))
        for title, x, y, w, h in re.findall(
            rf"<g><title>([^<]*)</title><rect x{number}y{number}width{number}height{number}", page
        )
    }

    def holds(outer: str, inner: str) -> bool:
        a, b = boxes[outer], boxes[inner]
        return a[0] < b[0] and a[1] < b[1] and b[2] < a[2] and b[3] < a[3]

    assert [box for box in boxes if holds("db-spare (cache)", box)] == ["container.db-spare-server"]
    assert [box for box in boxes if holds("fast (cache)", box)] == ["container.fast-server"]
    inside = {"db-spare (cache)", "container.db-server", "container.db-spare-server", "container.db-reader"}
    assert {box for box in boxes if holds("db (Postgres)", box)} - {"volume.db-data"} == inside


def test_graphs_quote_what_a_label_holds() -> None:
    graph = Graph(HOSTILE, (Node("a", HOSTILE, "create", HOSTILE),), ())
    assert graph_as("dot", graph).count('\\"q\\"') == 3
    assert '"q"' not in graph_as("mermaid", graph).replace('["', "").replace('"]', "")


def test_what_a_plan_changes_of_components_is_drawn_in_their_frames(tmp_path: Path) -> None:
    stack = load_text(tmp_path, COMPONENTS).stack
    addresses = ["container.db-server", "container.db-spare-server", "container.db-spare-server", "container.web"]
    plan = Plan("shop", "embedded", 2, tuple(Change(address, Action.UPDATE, ()) for address in addresses))
    desired = Desired(stack, {}, {})
    graph = of_plan(attributed(plan, desired, Locator({}).written))
    spare = Group("db-spare (cache)", "A <cache> that forgets.", ("c1", "c2"))
    assert graph.groups == (Group("db (Postgres)", "A database.", ("c0",), (spare,)),)


def test_reasons_have_the_user_s_line(tmp_path: Path) -> None:
    text = 'Container("web", image=Image.host("sh"),\n          mem_limit="1m",\n          ports=["80:80"])\n'
    stack = load_text(tmp_path, text).stack
    reasons = [Reason(path, 1, 2, "") for path in ("mem_limit", "ports.80/tcp", "state", "init")]
    plan = Plan(
        "shop",
        "embedded",
        2,
        tuple(Change(f"container.{name}", Action.UPDATE, tuple(reasons)) for name in ("web", "gone")),
    )
    first, second = attributed(plan, Desired(stack, {}, {}), Locator({}).written).changes
    line = stack.resources["container.web"].location.line
    assert [reason.place for reason in first.reasons] == [f"stack.py:{line + n}" for n in (1, 2, 0, 0)]
    assert [reason.place for reason in second.reasons] == [""] * 4


def test_changes_of_one_address_follow_each_other_in_the_graph() -> None:
    twice = Plan("shop", "embedded", 2, (*PLAN.changes, Change("container.web", Action.DELETE, ())))
    assert [(edge.source, edge.target) for edge in of_plan(twice).edges] == [("c1", "c0"), ("c2", "c1")]


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost("image.web", Action.BUILD, seconds=75.0), "image.web: build took 1 min 15 s last time"),
        (PLAN.costs[0], "container.web: 127.0.0.1:8080/tcp does not answer while it is replaced (4.2 s last time)"),
        (
            Cost("container.db", Action.RESTART, 1, 1),
            "container.db: does not run while it is restarted",
        ),
        (
            Cost("container.web", Action.REPLACE, 4, 4, 21.0, (), ("0.0.0.0:80/tcp",)),
            (
                "container.web: 4 replicas of 4 are replaced one after the other; 0.0.0.0:80/tcp goes on answering"
                " (21 s last time)"
            ),
        ),
        (
            Cost("container.web", Action.REPLACE, 0, 2, None, (), ("0.0.0.0:80/tcp",)),
            "container.web: the new one starts before the old one stops; 0.0.0.0:80/tcp goes on answering",
        ),
    ],
)
def test_costs_in_words(cost: Cost, text: str) -> None:
    assert cost_text(cost) == text
