"""`init` writes stacks that load, and never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli, checked_out


@pytest.fixture
def typed(tmp_path: Path) -> Cli:
    """The command on a root that does not exist."""
    return checked_out(tmp_path / "root")


@pytest.mark.parametrize("template", ["service", "flask"])
def test_what_it_writes_loads_in_every_environment(typed: Cli, tmp_path: Path, template: str) -> None:
    typed("init", "--template", template, "My Shop", cwd=tmp_path)
    folder = tmp_path / "My Shop"
    assert typed("validate", cwd=folder).stdout.startswith("myshop: ")
    for path in folder.rglob("*"):
        assert path.suffix != ".jinja"
        assert not path.is_file() or "{{ name }}" not in path.read_text()
    if (folder / "stackpy.toml").exists():
        typed("validate", "-e", "production", cwd=folder)


def test_nothing_is_overwritten(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("mine")
    result = typed("init", cwd=tmp_path, code=1)
    assert result.stderr == (
        "error: already there, and not overwritten: `app/main.py`\nhint: choose another folder: `stackpy init FOLDER`\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_pipelines_beside_a_stack(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text("mine")
    written = typed("init", "--ci", cwd=tmp_path).stdout.split()
    assert written == [".gitlab-ci.yml", ".github/workflows/stackpy.yml"]
    assert (tmp_path / "stack.py").read_text() == "mine"
    assert "already there" in typed("init", "--ci", cwd=tmp_path, code=1).stderr


def test_pipelines_and_a_stack(typed: Cli, tmp_path: Path) -> None:
    typed("init", "--ci", cwd=tmp_path)
    assert {"stack.py", ".gitlab-ci.yml", ".github"} <= {path.name for path in tmp_path.iterdir()}
    typed("validate", cwd=tmp_path)
