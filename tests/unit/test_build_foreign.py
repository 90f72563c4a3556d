"""Whether programs of other platforms run here, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime import platforms
from stackpy_runtime.build import foreign, recipe
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.platforms import Platform
from stackpy_runtime.store.store import Store
from tests.build_lab import file, run, source

ENTRY = """\
{state}
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200{machine}00
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture(autouse=True)
def amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "machine", lambda: Platform("linux", "amd64"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "root"), create=True)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("entry", "platform", "runs"),
    [
        (None, "linux/amd64", True),
        (None, "linux/386", True),
        (None, "linux/arm64", False),
        (("enabled", "POCF", "b700"), "linux/arm64", True),
        (("enabled", "POCF", "b700"), "linux/arm", False),
        (("disabled", "POCF", "b700"), "linux/arm64", False),
        (("enabled", "POC", "b700"), "linux/arm64", False),
        (("enabled", "F", "0016"), "linux/s390x", True),
    ],
)
def test_an_emulator_counts_where_a_container_has_it(
    entry: tuple[str, str, str] | None, platform: str, runs: bool, tmp_path: Path
) -> None:
    (tmp_path / "status").write_text("enabled\n")
    if entry is not None:
        text = ENTRY.format(state=entry[0], flags=entry[1], machine=entry[2])
        (tmp_path / "qemu").write_text(text)
    assert foreign.runs(platform, str(tmp_path)) is runs
    assert foreign.runs("linux/amd64", str(tmp_path / "none"))


def test_run_steps_of_another_platform_are_refused_before_a_build(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "runs", lambda platform: False)
    base: Any = {"kind": "scratch", "platform": "linux/arm64"}
    copied = source(file("/a", "a"), base=base)
    foreign.refuse(copied, recipe.resolve(copied, store), store)
    made: Any = {
        **source(run("here")),
        "stages": {"arm": source(file("/a", "a"), run("make", 7), run("more"), base=base)},
    }
    made["steps"][0]["mounts"] = [{"type": "bind", "target": "/m", "from_stage": "arm"}]
    resolved = recipe.resolve(made, store)
    with pytest.raises(InvalidConfig) as refused:
        foreign.refuse(made, resolved, store)
    assert refused.value.message == (
        "stack.py:7: it runs programs for linux/arm64, and this machine (linux/amd64) has no emulator"
    )
    # What is there already need not run.
    for step in resolved["stages"]["arm"]["steps"]:
        store.put_step(step["id"], "", {})
    foreign.refuse(made, resolved, store)


def test_a_stage_has_the_platform_of_what_it_stands_on() -> None:
    stages: Any = {
        "one": source(base={"kind": "image", "reference": "a", "platform": "linux/arm64"}),
        "two": source(base={"kind": "stage", "stage": "one"}),
    }
    whole: Any = {**source(base={"kind": "stage", "stage": "two"}), "stages": stages}
    assert foreign.platform_of(whole) == "linux/arm64"
    assert foreign.platform_of({**whole, "base": {"kind": "scratch"}}) == ""
