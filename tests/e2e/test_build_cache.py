"""`stackpy build --explain`, `--verify`, `--cache-to` and `--cache-from`, on Dockerfiles and on images of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import checked_out, clean_host

pytestmark = pytest.mark.root

STACK = """
from stackpy import Image, Stack

Stack("moving")
base = Image.host("sh", "cat", "touch").run("echo once >> /cache/log; touch /made", cache="/cache")
base.copy("app", "/app").tag("app:1")
"""
DOCKERFILE = """\
FROM box AS tool
RUN echo tool > /tool
FROM box
ARG WHO=nobody
RUN echo "$WHO" > /who
COPY app /app
COPY --from=tool /tool /tool
"""
DIFFERING = """\
FROM box
RUN echo same > /same
RUN cat /proc/sys/kernel/random/uuid > /random
"""


def _steps(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith(("cached ", "ran "))]


def test_the_reason_of_every_step(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "app").write_text("1")
    first = _steps(box("build", "--explain", ".", cwd=tmp_path).stdout)
    assert [line.split()[0] for line in first] == ["cached", "ran", "cached", "ran", "ran", "ran"]
    same = _steps(box("build", "--explain", ".", cwd=tmp_path).stdout)
    assert all(line.startswith("cached ") and ": " not in line for line in same)
    (tmp_path / "app").write_text("2")
    told = _steps(box("build", "--explain", "--build-arg", "WHO=hunter2", ".", cwd=tmp_path).stdout)
    assert told == [
        "cached [tool] 1/2 FROM box",
        "cached [tool] 2/2 RUN echo tool > /tool",
        "cached 1/4 FROM box",
        'ran    2/4 RUN echo "$WHO" > /who: build argument WHO differs',
        "ran    3/4 COPY app /app: app differs",
        "ran    4/4 COPY --from=tool /tool /tool: step 3 ran",
    ]


def test_a_build_that_differs_from_itself(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DIFFERING)
    found = box("build", "--verify", ".", cwd=tmp_path, code=1)
    assert found.stdout == "Dockerfile:3: RUN cat /proc/sys/kernel/random/uuid > /random\n  /random: content\n"
    assert "1 file differed" in found.stderr
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN echo same > /same\n")
    assert box("build", "--verify", ".", cwd=tmp_path).stdout == ""


def test_a_stack_builds_on_a_fresh_machine_as_if_warm(tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    (tmp_path / "app").write_text("1")
    cache = str(tmp_path / "cache")
    digests = []
    for name in ("one", "other"):
        with clean_host(checked_out(tmp_path / name)) as command:
            if name == "one":
                made = command("build", "--explain", "--cache-from", cache, "--cache-to", cache, cwd=tmp_path)
                assert [line.split()[0] for line in _steps(made.stdout)] == ["ran"] * 3
            else:
                (tmp_path / "stackpy.toml").write_text('[cache]\nfrom = "cache"\nto = "cache"\n')
                made = command("apply", "--yes", cwd=tmp_path)
                assert f"build cache taken from {cache}" in made.stdout
                assert "3 steps taken from" in made.stderr
                assert made.stderr.count("(cached)") == 3
            digests.append(command.json("image", "inspect", "app:1")[0]["RootFS"]["Layers"])
            plan = command("plan", cwd=tmp_path).stdout
            assert "nothing to change" in plan
            (tmp_path / "app").write_text("2")
            assert _steps(command("plan", cwd=tmp_path).stdout)[-1] == "ran    3/3 COPY app /app: app differs"
            (tmp_path / "app").write_text("1")
    assert digests[0] == digests[1]


def test_places_that_cannot_be_a_cache(box: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\n")
    (tmp_path / "file").write_text("")
    for words, message in (
        (["--cache-to", "type=gha"], "expected a folder"),
        (["--cache-to", "type=local,src=x"], "`src=x` is not understood"),
        (["--cache-from", ""], "no place is named"),
        (["--cache-to", "file"], "cannot be used: "),
    ):
        assert message in box("build", *words, ".", cwd=tmp_path, code=None).stderr
    box("build", "--cache-to", "type=local,dest=kept,mode=max", ".", cwd=tmp_path)
    box("build", "--cache-from", "type=local,src=kept", "--cache-from", "nothing", ".", cwd=tmp_path)
    assert (tmp_path / "kept" / "index.json").is_file()
