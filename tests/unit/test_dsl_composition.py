"""Components, outputs that are known after the apply, outputs of other stacks; variables of a shell made of outputs."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stackpy.cli.commands.output import variables
from stackpy.dsl.deferred import Wanted, filled, has_marker, markers, shown
from stackpy.errors import StackFileError, StackpyError
from stackpy.planning.comparison import diff
from stackpy.project.loader import Loaded, load
from stackpy.render.graph import of_stack
from stackpy.testing import imagined, problems_of

HEAD = "from stackpy import *\nimage = Image.host('sh').cmd(['sh'])\n"


def loaded(folder: Path, text: str, others: dict[str, tuple[int, dict[str, Any]]] | None = None) -> Loaded:
    (folder / "stack.py").write_text(HEAD + text)
    return load(folder=str(folder), outputs_of=(others or {}).get)


def problems(folder: Path, text: str, others: dict[str, tuple[int, dict[str, Any]]] | None = None) -> list[str]:
    try:
        loaded(folder, text, others)
    except StackFileError as error:
        return [f"{problem.message} | {problem.hint}" for problem in error.problems]
    return []


# --- components -----------------------------------------------------------------------------------------------------

COMPONENTS = '''
class Postgres(Component):
    """A database on a volume of its own.

    More of it.
    """
    def __init__(self, name, *, limit="64m"):
        super().__init__(name)
        with self:
            data = Volume("data")
            self.server = Container("server", image=image, volumes={data: "/data"}, mem_limit=limit)
            Output("name", self.server.name)

@component
def service(name, *, replicas=1):
    """A service and its cache."""
    database = Postgres("db")
    return Container("web", image=image, replicas=replicas, depends_on=[database.server])

one, two = Postgres("one"), Postgres("two", limit="32m")
web = service("shop", replicas=2)
Container("last", image=image, depends_on=[web, one.server])
Output("children", [child.address for child in one.children])
'''


def test_components_name_what_is_inside_after_themselves(tmp_path: Path) -> None:
    stack = loaded(tmp_path, COMPONENTS).stack
    assert [address for address in stack.resources if not address.startswith(("image.", "network."))] == [
        "volume.one-data", "container.one-server", "volume.two-data", "container.two-server",
        "volume.shop-db-data", "container.shop-db-server", "container.shop-web", "container.last",
    ]  # fmt: skip
    assert stack.outputs == {
        "one-name": "one-server",
        "two-name": "two-server",
        "shop-db-name": "shop-db-server",
        "children": ["volume.one-data", "container.one-server"],
    }
    assert [each.address for each in stack.resources["container.shop-web"].dependencies][
        -1
    ] == "container.shop-db-server"
    assert stack.components["one"] == (
        "Postgres", "A database on a volume of its own.", ("volume.one-data", "container.one-server"),
    )  # fmt: skip
    assert stack.components["shop"].children[-1] == "container.shop-web"
    [shop] = (group for group in of_stack(stack).groups if group.label == "shop (service)")
    assert shop.members == ("container.shop-web",)
    assert [(inner.label, inner.members) for inner in shop.inside] == [
        ("shop-db (Postgres)", ("volume.shop-db-data", "container.shop-db-server"))
    ]


def test_a_component_that_raises_is_left_behind(tmp_path: Path) -> None:
    text = """
@component
def broken(name):
    raise ValueError("no")
try:
    broken("a")
except ValueError:
    pass
Container("web", image=image)
"""
    assert "container.web" in loaded(tmp_path, text).stack.resources


def test_wrong_components(tmp_path: Path) -> None:
    assert problems(tmp_path, "@component\ndef x(name): pass\nx('a')\nx('a')\n") == [
        "component `a` is declared twice | give one of them another name"
    ]
    [found] = problems(tmp_path, "@component\ndef x(name): pass\nx('a b')\n")
    assert found.startswith("`name` of component `a b` ")


# --- outputs --------------------------------------------------------------------------------------------------------

WEB = 'web = Container("web", image=image, ports=["80", "53/udp"], replicas=2)\n'


def test_outputs_wait_for_what_the_engine_chooses(tmp_path: Path) -> None:
    text = WEB + (
        'Output("port", web.port(80))\n'
        'Output("url", f"http://localhost:{web.port(80)}/")\n'
        'Output("all", {"dns": web.port(53, "udp"), "ips": [web.ip(), "x" + web.ip("default", replica=2)]})\n'
        'Output("plain", 7)\n'
    )
    outputs = loaded(tmp_path, text).stack.outputs
    assert has_marker(outputs["url"])
    assert not has_marker(outputs["plain"])
    assert [tuple(wanted) for wanted in markers(outputs["all"])] == [
        ("container.web", "port", "53/udp", 1),
        ("container.web", "ip", "default", 1),
        ("container.web", "ip", "default", 2),
    ]
    known = {"80/tcp": 32768, "53/udp": 32769}

    def found(wanted: Wanted) -> Any:
        return known[wanted.argument] if wanted.what == "port" else f"10.0.0.{wanted.replica}"

    assert {name: filled(value, found) for name, value in outputs.items()} == {
        "port": 32768,
        "url": "http://localhost:32768/",
        "all": {"dns": 32769, "ips": ["10.0.0.1", "x10.0.0.2"]},
        "plain": 7,
    }
    assert filled(outputs["url"], lambda wanted: None) is None
    assert shown(outputs["url"]) == "http://localhost:(known after apply)/"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('Output("a", web.port(81))\n', "output `a`: container.web does not publish port 81/tcp: it publishes "),
        ('Output("a", web.port(80, replica=3))\n', "output `a`: container.web has no replica 3"),
        ('Output("a", web.ip("back"))\n', "output `a`: container.web is not on network `back`: it is on default"),
        ('Output("a", web.port(80, replica=0))\n', "`replica` of `port` of container.web must be the number"),
        (
            'Container("b", image=image, environment={"A": f"{web.port(80)}"})\n',
            "`environment` of container.b holds a value that is known only after the apply",
        ),
        (
            'Container("b", image=image, environment={"A": web.port(80)})\n',
            "`environment.A` of container `b` must be ",
        ),
        ('Output("a", int(web.port(80)))\n', "the stack file raised TypeError: <port 80/tcp of container.web"),
        ('Output("a", f"{web.port(80):>5}")\n', "the stack file raised ValueError: <port 80/tcp of container.web"),
    ],
)  # fmt: skip
def test_what_cannot_wait(tmp_path: Path, text: str, message: str) -> None:
    assert problems(tmp_path, WEB + text)[0].startswith(message)


def test_a_component_without_a_name_is_told_where_it_gets_one(tmp_path: Path) -> None:
    text = "class Db(Component):\n    def __init__(self):\n        with self:\n            Volume('x')\nDb()\n"
    with pytest.raises(StackFileError) as caught:
        loaded(tmp_path, text)
    [problem] = caught.value.problems
    assert (problem.message, problem.hint) == (
        "component `Db` has no name yet", "call `super().__init__(name)` before `with self:`"
    )  # fmt: skip
    assert problem.location is not None
    assert problem.location.line == HEAD.count("\n") + 3


def test_outputs_of_another_stack_are_read_and_named_in_the_plan(tmp_path: Path) -> None:
    others = {"db": (4, {"url": "postgres://db", "ports": [1, 2]})}
    text = (
        'db = StackRef("db")\n'
        'Container("web", image=image, environment={"URL": db.output("url"), "X": db.output("x", "none")})\n'
        'Output("ports", db.output("ports"))\n'
    )
    stack = loaded(tmp_path, text, others).stack
    assert stack.resources["container.web"].fields["environment"] == {"URL": "postgres://db", "X": "none"}
    assert stack.outputs == {"ports": [1, 2]}
    plan = diff(imagined.desired(stack), imagined.nothing(stack.name, "e"))
    assert plan.notes == (
        "reads output `url` of stack db, as of its generation 4",
        "reads output `x` of stack db, which is not there: the default is used",
        "reads output `ports` of stack db, as of its generation 4",
    )
    assert [node.id for node in of_stack(stack).nodes][-1] == "stack.db"


def test_outputs_that_are_not_there(tmp_path: Path) -> None:
    others = {"db": (4, {"url": "postgres://db"})}
    assert problems(tmp_path, 'Output("a", StackRef("db").output("urll"))\n', others) == [
        "stack `db` has no output `urll`, as of its generation 4 | did you mean `url`?"
    ]
    assert problems(tmp_path, 'Output("a", StackRef("bd").output("url"))\n', others) == [
        'stack `bd` has not been applied on this engine | apply it before, or give a default: output("url", default=…)'
    ]
    assert problems_of(str(tmp_path)) != []


# --- variables of a shell -------------------------------------------------------------------------------------------


def test_outputs_become_variables_of_a_shell() -> None:
    outputs = {"url": 'it\'s a $HOME `x` "y"\nand more\\', "web.port": 80, "7th": ["a b"], "none": None}
    lines = variables(outputs, shell=True)
    shown_by_shell = subprocess.run(
        ["sh", "-c", "\n".join(lines) + "\nprintf '%s|%s|%s|%s' \"$URL\" \"$WEB_PORT\" \"$_7TH\" \"$NONE\""],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown_by_shell == f'{outputs["url"]}|80|["a b"]|'
    assert [shlex.split(line)[0] for line in lines] == ["export"] * 4


def test_outputs_become_an_environment_file() -> None:
    assert variables({"url": "a 'b' $c", "n": 1.5}, shell=False) == ["URL=a 'b' $c", "N=1.5"]
    with pytest.raises(StackpyError, match="more than one line"):
        variables({"key": "a\nb"}, shell=False)
    with pytest.raises(StackpyError, match="would both be the variable A_B"):
        variables({"a.b": 1, "a-b": 2}, shell=True)
