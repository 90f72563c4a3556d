"""stackpy.testing: stacks without an engine, and `stackpy test`, which runs a folder's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.testing import load_stack, running

TOP = Path(__file__).parents[2]
STACK = """\
from stackpy import Container, Image, Job, Secret, Volume, var
image = Image.host("sh").cmd(["sh", var("mode", default="slow")])
data, key = Volume("data"), Secret("key", env="KEY")
Job("migrate", image=image, secrets=[key])
db = Container("db", image=image, volumes={data: "/data"}, mem_limit=var("limit", default="64m"))
Container("web", image=image, replicas=var("replicas", default=2), depends_on=[db.healthy], ports=["8080:80"])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stack.py").write_text(STACK)
    return tmp_path


def test_what_a_stack_declares(folder: Path) -> None:
    stack = load_stack(str(folder), sets={"replicas": 3})
    web = stack["container.web"]
    assert (web["replicas"], web.get("mem_limit"), web.depends_on["container.db"]) == (3, None, "healthy")
    assert "ports" in web
    assert stack["container.db"]["mem_limit"] == 64 * 2**20
    assert "container.cache" not in stack
    assert [one.name for one in stack.of_kind("volume")] == ["data"]
    with pytest.raises(KeyError, match=r"no `container.wep` in stack .* it has .*container\.web"):
        stack["container.wep"]
    with pytest.raises(KeyError, match="does not set `cpus`; it sets "):
        web["cpus"]


def test_what_a_plan_would_do(folder: Path) -> None:
    first = load_stack(str(folder))
    assert first.plan().doing("create")[-1] == "container.web"
    assert not first.plan(after=first)
    assert first.plan(after=load_stack(str(folder), sets={"replicas": 1})).reasons("container.web") == [
        "replicas 1 → 2"
    ]
    changed = load_stack(str(folder), sets={"mode": "fast"}).plan(after=first)
    assert changed.actions["job.migrate"] == ["run"]
    assert changed.doing("replace") == ["container.db", "container.web"]
    update = load_stack(str(folder), sets={"limit": "128m"}).plan(after=first)
    assert update.actions == {"container.db": ["update"]}
    assert "mem_limit             64 MiB → 128 MiB" in update.text
    assert first.plan(target=["volume.data"]).actions == {"volume.data": ["create"]}
    assert first.plan(after=first, replace=["container.db"]).doing("replace") == ["container.db"]


@pytest.mark.parametrize(
    "example", sorted(path.name for path in (TOP / "examples").iterdir() if (path / "stack.py").exists())
)
def test_an_example_applied_has_nothing_to_change(example: str) -> None:
    stack = load_stack(str(TOP / "examples" / example))
    assert stack.plan()
    assert stack.plan(after=stack).actions == {}


TESTS = """\
import helper
from stackpy.testing import load_stack

stack = load_stack()

def test_replicas():
    wanted = helper.WANTED
    assert stack["container.web"]["replicas"] == wanted

def test_fails():
    found = stack["container.web"]["replicas"]
    assert (
        found == 7 and stack.name
    )

class TestMore:
    def test_inside(self):
        raise ValueError("no")

def helper_is_no_test(): raise SystemError
"""


def test_a_folder_s_tests_are_found_and_run(folder: Path) -> None:
    (folder / "helper.py").write_text("WANTED = 2\n")
    (folder / "tests").mkdir()
    (folder / ".venv").mkdir()
    (folder / ".venv" / "test_foreign.py").write_text("raise SystemError\n")
    (folder / "tests" / "test_stack.py").write_text(TESTS)
    (folder / "broken_test.py").write_text("def test(:\n")
    paths = running.files(str(folder))
    assert [path.removeprefix(f"{folder}/") for path in paths] == ["broken_test.py", "tests/test_stack.py"]
    results = [one for path in paths for one in running.run(path, str(folder), lambda name: "helper" not in name)]
    assert [(one.name, not one.failure) for one in results] == [
        ("broken_test.py", False),
        ("tests/test_stack.py::test_replicas", True),
        ("tests/test_stack.py::test_fails", False),
        ("tests/test_stack.py::TestMore::test_inside", False),
    ]
    assert "SyntaxError" in results[0].failure
    lines = results[2].failure.splitlines()
    assert lines[0].startswith("test_stack.py:1")  # the line of the statement or of its condition, as Python tells
    assert lines[0].endswith(": AssertionError")
    assert "    found = 2" in lines
    assert any(line.startswith("    stack.name = ") for line in lines)
    assert results[3].failure.splitlines()[0] == "test_stack.py:18: ValueError: no"


CALLS = """\
calls = []
def count(by=1):
    calls.append(by)
    return len(calls)

def test_compared(): assert count() == 2
def test_truth(): assert count() is None or not count(2)
def test_negated(): assert not count()
def test_chained(): assert 9 < count() < 8, "no"
def test_last(): assert count().real == len(calls) + 1
"""


def test_what_calls_in_a_failed_assert_gave_is_told_and_they_are_made_once(tmp_path: Path) -> None:
    (tmp_path / "test_calls.py").write_text(CALLS)
    results = list(running.run(str(tmp_path / "test_calls.py"), str(tmp_path), lambda name: True))
    assert [one.failure.splitlines()[2:] for one in results] == [
        ["    count() = 1"],
        [],  # what is joined by `or` is not taken apart
        ["    count() = 4"],
        ["    count() = 5"],
        ["    count().real = 6", "    calls = [1, 1, 2, 1, 1, 1]"],
    ]
