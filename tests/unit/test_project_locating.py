"""Where a field of a resource is written in the stack file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.problems import Location
from stackpy.project.locating import Locator

FILE = """\
from stackpy import Container, HealthCheck, Image, Volume

data = Volume("data")
common = {"init": True}
if data: Container("first", image="a"); Container("second", image="b", cpus=2)
Container(
    "web",
    image=Image.host("sh").run("true"), mem_limit="64m",
    environment={
        "MODE": "fast",
        "a.b": "c",
    },
    labels=[
        "one=1",
        "two=2",
    ],
    volumes={data: "/data"},
    healthcheck=HealthCheck(
        tcp=80,
        interval=5,
    ),
    ports=[
        "8080:80",
        "53:53/udp",
    ],
    **common,
)
"""


@pytest.mark.parametrize(
    ("path", "line", "text"),
    [
        ("image", 8, "image"),
        ("mem_limit", 8, "mem_limit"),
        ("environment", 9, "environment"),
        ("environment.MODE", 10, '"MODE"'),
        ("environment.a.b", 11, '"a.b"'),
        ("environment.GONE", 9, "environment"),
        ("labels.two", 15, '"two=2"'),
        ("volumes./data", 17, '"/data"'),
        ("ports.80/tcp", 23, '"8080:80"'),
        ("ports.53/udp", 24, '"53:53/udp"'),
        ("ports.99/tcp", 22, "ports"),
        ("healthcheck.interval", 20, "interval"),
        ("healthcheck.retries", 18, "healthcheck"),
    ],
)
def test_the_line_of_a_field(tmp_path: Path, path: str, line: int, text: str) -> None:
    file = tmp_path / "stack.py"
    file.write_text(FILE)
    found = Locator({}).field(Location(str(file), 6), path)
    assert found is not None
    assert found.line == line
    assert FILE.splitlines()[line - 1][found.column - 1 :][: found.length] == text


def test_what_is_not_written_out_has_no_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "stack.py"
    file.write_text(FILE)
    locator = Locator({})
    assert locator.field(Location(str(file), 6), "init") is None  # it is in **common
    assert locator.field(Location(str(file), 6), "state") is None
    assert locator.field(Location(str(file), 5), "cpus") == Location(str(file), 5, 72, 4)
    assert locator.field(Location(str(tmp_path / "gone.py"), 1), "image") is None
