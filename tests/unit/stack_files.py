"""Stack files written into a folder and loaded, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpy.dsl.specs import Spec
from stackpy.errors import StackFileError
from stackpy.project import Loaded, load
from stackpy.render.problems import format_problems, line_reader

HEADER = (
    "from stackpy import BuildMount, Container, File, HealthCheck, Image, Job, Network, Output, Secret, Stack, "
    "Update, Volume, template, var\n"
)


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Writes files with the folders that they need."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def load_text(folder: Path, text: str, files: Mapping[str, str | bytes] | None = None, **options: Any) -> Loaded:
    """Loads a stack file given as text, with the DSL's names imported."""
    write(folder, {**(files or {}), "stack.py": HEADER + text})
    return load(folder=str(folder), **options)


def resources(
    folder: Path, text: str, files: Mapping[str, str | bytes] | None = None, **options: Any
) -> dict[str, Spec]:
    """The specs of a stack file given as text, by address."""
    return dict(load_text(folder, text, files, **options).stack.resources)


def container(folder: Path, arguments: str, before: str = "", files: Mapping[str, str | bytes] | None = None) -> Spec:
    """The spec of one container with these arguments besides its name and image."""
    text = f'{before}\nContainer("web", image="app", {arguments})\n'
    return resources(folder, text, files)["container.web"]


def complaints(folder: Path, text: str, files: Mapping[str, str | bytes] | None = None, **options: Any) -> str:
    """All that is wrong with a stack file, as it is shown."""
    try:
        load_text(folder, text, files, **options)
    except StackFileError as error:
        return format_problems(error.problems, line_reader(), str(folder))
    return ""
