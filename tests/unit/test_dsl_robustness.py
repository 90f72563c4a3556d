"""Whatever is passed to the DSL, it is a spec or a problem, never another exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpy import Container, File, HealthCheck, Image, Job, Network, Output, Secret, Stack, Volume, template, var
from stackpy.dsl.assemble import Assembly
from stackpy.dsl.container_fields import CONTAINER_FIELDS, JOB_FIELDS
from stackpy.dsl.session import Finding, Session, activate
from stackpy.project.inputs import Recorder
from stackpy.project.reading import FileReader

WORDS = st.sampled_from(
    [
        "", "a", "data", "/a", "./a", "a:/b", "/a:/b:ro", "80", "80:80", "1.5s", "256m", "KEY", "KEY=x", "condition",
        "service_healthy", "source", "target", "type", "bind", "volume", "tmpfs", "size", "test", "CMD", "NONE", "http",
        "aliases", "driver", "options", "max-size", "path", "published", "no", "always", "host", "a b", "'", "\0", "ü",
    ]
)  # fmt: skip
OBJECTS = st.sampled_from(
    [
        lambda: Volume("data"), lambda: Network("net"), lambda: Secret("key", env="K"), lambda: Image.scratch(),
        lambda: Image("x").run("y"), lambda: Container("db", image="x").healthy, lambda: Job("job", image="x"),
        lambda: HealthCheck(tcp=1), lambda: HealthCheck(), lambda: File(content="x"), lambda: File(),
        lambda: Image("Wrong"), object, lambda: Volume, lambda: b"\xff", lambda: {1}, lambda: iter([]),
        lambda: Volume(""),
    ]
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | WORDS | st.text(max_size=4)
    | OBJECTS.map(lambda make: ("make", make))
)  # fmt: skip
KEYS = WORDS | st.integers(0, 3) | OBJECTS.map(lambda make: ("make", make))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def built(value: Any) -> Any:
    """The value with its objects made, within the session."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == "make":
        return value[1]()
    if isinstance(value, list | tuple):
        return type(value)(built(item) for item in value)
    if isinstance(value, dict):
        made = [(built(key), built(item)) for key, item in value.items()]
        return {key: item for key, item in made if type(key).__hash__ is not None}
    return value


def outcome(declare: Callable[[], Any]) -> None:
    """Declares something in a session of its own and puts the stack together."""
    session = Session(lambda name: None)
    before = activate(session)
    try:
        declare()
        reader = FileReader(session, Recorder())
        stack = Assembly(session, reader, "/nowhere", "127.0.0.1").stack("s")
    finally:
        activate(before)
    for finding in session.findings:
        assert isinstance(finding, Finding)
        assert finding.message
        assert "\n" not in finding.message
    if not session.findings:
        json.dumps([dict(spec.fields) for spec in stack.resources.values()])


FEW = settings(max_examples=15)


@pytest.mark.parametrize("field", CONTAINER_FIELDS)
@FEW
@given(value=VALUES)
def test_fields_of_containers(field: str, value: Any) -> None:
    outcome(lambda: Container("web", **{"image": "x", field: built(value)}))


@FEW
@given(name=VALUES, field=st.sampled_from(JOB_FIELDS), value=VALUES)
def test_jobs(name: Any, field: Any, value: Any) -> None:
    outcome(lambda: Job(built(name), **{field: built(value)}))


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "image": lambda one, two: Image(one),
    "run": lambda one, two: Image("x").run(one, cache=two),
    "run network": lambda one, two: Image("x").run("y", network=one),
    "copy": lambda one, two: Image("x").copy(one, two).tag("t"),
    "copy options": lambda one, two: Image("x").copy("a", "b", exclude=one, chown=two, mode=one),
    "workdir": lambda one, two: Image("x").workdir(one),
    "env": lambda one, two: Image("x").env(one, A=two).tag("t"),
    "label": lambda one, two: Image("x").label(one, A=two).tag("t"),
    "user": lambda one, two: Image("x").user(one),
    "expose": lambda one, two: Image("x").expose(one, two).tag("t"),
    "cmd": lambda one, two: Image("x").cmd(one).entrypoint(two).tag("t"),
    "file": lambda one, two: Image("x").file(one, two, mode=one).tag("t"),
    "file content": lambda one, two: Image("x").file("/a", one, chown=two).tag("t"),
    "tag": lambda one, two: Image("x").tag(one, two),
    "host": lambda one, two: Image.host(one, two).tag("t"),
    "bootstrap": lambda one, two: Image.bootstrap(one, packages=two).tag("t"),
    "archive": lambda one, two: Image.archive(one).tag("t"),
    "network": lambda one, two: Network("n", internal=one, subnet=two),
    "network labels": lambda one, two: Network(one, labels=two),
    "volume": lambda one, two: Volume(one, labels=two),
    "secret": lambda one, two: Secret("s", env=one, file=two),
    "secret command": lambda one, two: Secret(one, command=two),
    "output": lambda one, two: Output(one, two),
    "stack": lambda one, two: Stack(one),
    "health": lambda one, two: Container("w", image="x", healthcheck=HealthCheck(one, interval=two)),
    "health http": lambda one, two: HealthCheck(http=one, status=two, retries=one),
    "health tcp": lambda one, two: HealthCheck(tcp=one, timeout=two, start_period=one),
    "content": lambda one, two: Container("w", image="x", files={"/a": File(content=one, mode=two)}),
    "path": lambda one, two: Container("w", image="x", files={"/a": File(one, mode=two)}),
    "template": lambda one, two: Container("w", image="x", files={"/a": template(one, x=two)}),
    "var": lambda one, two: var(one, default=two),
    "var type": lambda one, two: var("x", one, type=two),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@FEW
@given(one=VALUES, two=VALUES)
def test_calls(call: Callable[[Any, Any], Any], one: Any, two: Any) -> None:
    outcome(lambda: call(built(one), built(two)))
