"""README, ARCHITECTURE and docs/ say what is true: links lead somewhere, commands exist, the example stack loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stackpy.cli import table
from stackpy.dsl import container_fields
from stackpy.project.loader import load

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", TOP / "ARCHITECTURE.md", TOP / "CHANGELOG.md", *sorted(TOP.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_every_command() -> None:
    text = (TOP / "README.md").read_text()
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| ") and "`" in line)
    words = set(re.findall(r"`([a-z]+)", rows)) | {
        f"{noun} {verb}" for noun, verbs in re.findall(r"`([a-z]+) ([a-z\\|]+)`", rows) for verb in verbs.split("\\|")
    }
    assert set(table.NAMES) <= words


def test_the_readme_s_stack_loads(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (TOP / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 21
    (tmp_path / "stack.py").write_text(code)
    (tmp_path / "src").mkdir()
    for name in ("requirements.txt", "postgres.tar", "src/main.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "app.toml.j2").write_text("workers = {{ workers }}\n")
    stack = load(folder=str(tmp_path)).stack
    assert {address.partition(".")[0] for address in stack.resources} == {
        "image", "container", "job", "network", "volume", "secret",
    }  # fmt: skip


def test_the_python_of_the_page_on_plans_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (TOP / "docs" / "plans.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        compile(block, "plans.md", "exec")


def test_the_stack_file_page_has_every_field() -> None:
    text = (TOP / "docs" / "stack-file.md").read_text()
    assert [field for field in container_fields.CONTAINER_FIELDS if f"`{field}`" not in text] == []
