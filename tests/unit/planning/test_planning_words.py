"""Values, times and reasons in words; targets that do not exist; what destroy says that it keeps."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.dsl.specs import Spec, StackSpec
from stackpy.errors import UsageError
from stackpy.planning import destroy_plan, diff, graph
from stackpy.planning.plan import Desired, Observation, Observed, Recipe, RecipeStep, Replica
from stackpy.planning.quantities import ago, human, printable, size
from stackpy.planning.targeting import Selection, meant
from stackpy.problems import Location
from stackpy.render.plan_text import plan_text

NOWHERE = Location("stack.py", 1)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("mem_limit", 268435456, "256 MiB"),
        ("mem_limit", 1536 << 20, "1.5 GiB"),
        ("cpus", 0.5, "0.5"),
        ("cpus", 2.0, "2"),
        ("pids_limit", 100, "100"),
        ("healthcheck.interval", 1.5, "1.5 s"),
        ("stop_grace_period", 10.0, "10 s"),
        ("read_only", True, "true"),
        ("user", "", '""'),
        ("user", None, "(unset)"),
        ("command", ["sh", "-c", "echo 'a b'"], "sh -c 'echo '\"'\"'a b'\"'\"''"),
        ("command", [], "[]"),
        ("ports.80/tcp", ["127.0.0.1:80", "0.0.0.0:81"], "127.0.0.1:80, 0.0.0.0:81"),
        ("files./a.mode", 0o600, "0600"),
        ("logging", {"max_size": 1 << 20, "max_file": 3}, "max_size=1 MiB, max_file=3"),
        ("environment.A", "a\x1b[2Jb\n", r"a\x1b[2Jb\n"),
    ],
)
def test_values_in_words(path: str, value: Any, expected: str) -> None:
    assert human(path, value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "just now"),
        (1.0, "one second ago"),
        (59.9, "59 seconds ago"),
        (60.0, "one minute ago"),
        (250.0, "four minutes ago"),
        (3600.0 * 13, "13 hours ago"),
        (86400.0 * 400, "400 days ago"),
    ],
)
def test_times_in_words(seconds: float, expected: str) -> None:
    assert ago(seconds) == expected


@given(st.integers(0, 1 << 50))
def test_sizes_are_true(count: int) -> None:
    value, unit = size(count).split()
    factor = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
    assert abs(float(value) * factor - count) <= max(0.01 * factor, 1e-5 * count)


@given(st.text())
def test_nothing_unprintable_is_printed(text: str) -> None:
    assert printable(text).isprintable()


@given(st.integers(1, 40), st.data())
def test_order_puts_everything_after_what_it_needs(count: int, data: Any) -> None:
    names = data.draw(st.permutations(range(count)))
    needs = {
        name: set(data.draw(st.lists(st.sampled_from(names[:place]), max_size=3))) if place else set()
        for place, name in enumerate(names)
    }
    found = graph.order(range(count), needs)
    assert sorted(found) == list(range(count))
    assert all(found.index(need) < found.index(name) for name, those in needs.items() for need in those)
    assert graph.reachable([names[-1]], needs) >= {names[-1], *needs[names[-1]]}


def test_a_cycle_is_named() -> None:
    with pytest.raises(graph.CycleError) as caught:
        graph.order(range(4), {0: {1}, 1: {2}, 2: {3}, 3: {1}})
    assert caught.value.members == [1, 2, 3]


def test_a_long_chain_is_no_recursion() -> None:
    count = 5000
    assert graph.order(range(count), {n: {n + 1} for n in range(count - 1)}) == list(reversed(range(count)))


# --- whole plans --------------------------------------------------------------------------------------------------

RECIPE = Recipe("r", (RecipeStep("s", "FROM host sh", "", {}),))


def world(count: int) -> tuple[Desired, Observation]:
    """`count` containers in a chain that are as they should be."""
    specs = {"image.a": Spec("image", "a", {"source": {"base": {"kind": "host"}, "steps": []}}, (), NOWHERE)}
    existing = {}
    for number in range(count):
        fields = {
            "image": "image.a",
            "environment": {"A": "1", "B": "2"},
            "mem_limit": 1 << 28,
            "networks": {"default": {"aliases": []}},
            "ports": [{"host_ip": "127.0.0.1", "published": 9000 + number, "target": 80, "protocol": "tcp"}],
            "healthcheck": {"tcp": 80, "interval": 1.0},
            "replicas": 1,
        }
        name = f"c{number}"
        live = {key: value for key, value in fields.items() if key not in ("image", "replicas")}
        live["environment"] = {"A": "1", "B": "2", "PATH": "/bin"}
        replica = Replica(1, "id", f"shop-{name}-1", "running", "", None, 0.0, "r", live, dict(fields))
        specs[f"container.{name}"] = Spec("container", name, fields, (), NOWHERE)
        existing[f"container.{name}"] = Observed("container", name, live, fields, (replica,))
    specs["network.default"] = Spec("network", "default", {}, (), NOWHERE)
    existing["network.default"] = Observed("network", "default", {"internal": False, "subnet": "10.0.0.0/20"}, {})
    observation = Observation("shop", "embedded", 4, existing, {"image.a": RECIPE}, frozenset(["s"]), {})
    return Desired(StackSpec("shop", specs, {}, "/"), {"image.a": RECIPE}, {}), observation


def test_a_thousand_unchanged_resources_cost_little() -> None:
    desired, observation = world(1000)
    took = []
    for _ in range(3):
        begun = time.process_time()
        plan = diff(desired, observation)
        took.append(time.process_time() - begun)
    assert plan.changes == () and plan.generation == 4
    assert min(took) < 0.06, "30 ms is the budget; twice that is no noise"


def test_planning_imports_nothing_heavy() -> None:
    heavy = (
        "asyncio dataclasses difflib hashlib inspect ipaddress jinja2 json msgspec pathlib rich shlex socket sqlite3 "
    )
    heavy += "stackpy.engines stackpy.applying subprocess threading"
    code = (
        "import sys; before = set(sys.modules); import stackpy.planning.comparison, stackpy.render.plan_text; "
        f"print(*sorted((set(sys.modules) - before) & set({heavy.split()!r})))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("container.c11", "did you mean `container.c1`?"),
        ("defualt", "did you mean `network.default`?"),
        ("zzz", "the stack has container.c0, container.c1, image.a, network.default"),
    ],
)
def test_a_target_must_exist(target: str, hint: str) -> None:
    desired, observation = world(2)
    with pytest.raises(UsageError) as caught:
        diff(desired, observation, Selection((target,)))
    assert (caught.value.message, caught.value.hint) == (f"no resource `{target}` in this stack", hint)


def test_targets_may_stand_together() -> None:
    desired, observation = world(3)
    observation = observation._replace(resources={})
    both = diff(desired, observation, Selection(("container.c0,container.c2",)))
    assert both == diff(desired, observation, Selection(("container.c0", "container.c2")))
    assert both == diff(desired, observation, Selection(("c0,c2",)))
    assert [change.address for change in both.changes] == ["network.default", "container.c0", "container.c2"]


def test_a_name_means_what_runs_before_what_it_needs() -> None:
    known = ["image.db", "secret.db", "network.back", "job.db", "container.db", "volume.data"]
    assert [meant(word, known) for word in ("db", "image.db", "back", "data", "container.back", "d")] == [
        "container.db", "image.db", "network.back", "volume.data", "", ""
    ]  # fmt: skip


def test_destroy_says_what_it_keeps() -> None:
    _, observation = world(1)
    volume = Observed("volume", "data", {}, {})
    observation = observation._replace(resources={**observation.resources, "volume.data": volume})
    assert plan_text(destroy_plan(observation)) == (
        "shop on embedded · generation 4 → 5\n"
        "\n"
        "  - container.c0            delete                         the stack is destroyed\n"
        "  - network.default         delete                         the stack is destroyed\n"
        "\n"
        "  volume.data is kept: `stackpy destroy --volumes` deletes it and its data\n"
        "  1 image and the history are kept: --images removes them\n"
        "\n"
        "Plan: 2 to delete."
    )
    plan = destroy_plan(observation, volumes=True, images=True)
    assert [change.address for change in plan.changes][-1] == "volume.data" and plan.notes == ()
    assert plan.changes[-1].reasons[0].text == "with its data"
    assert destroy_plan(observation._replace(resources={})).changes == ()
