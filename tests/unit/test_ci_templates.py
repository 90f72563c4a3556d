"""The pipelines that `init --ci` writes say commands that exist, and plan on a change request and apply on a merge."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / "templates" / "ci"
GITHUB, GITLAB = CI / ".github" / "workflows" / "stackpy.yml", CI / ".gitlab-ci.yml"


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_the_commands_exist(path: Path) -> None:
    lines = [line.partition("#")[0] for line in path.read_text().splitlines()]
    found = re.findall(r"sudo stackpy ([a-z]+)", "\n".join(lines))
    assert found == ["validate", "plan", "apply"]
    assert [importlib.import_module(f"stackpy.cli.commands.{word}").COMMAND.name for word in found] == found


def test_nothing_of_a_fork_is_run() -> None:
    assert "github.event.pull_request.head.repo.full_name == github.repository" in GITHUB.read_text()
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in GITLAB.read_text()
