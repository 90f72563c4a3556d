"""What editors complete is what the parsers take; tests/typing, which mypy checks too, has each of it once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import stackpy
from stackpy.dsl import container_fields

TOP = Path(__file__).parents[2]


def declared(name: str) -> set[str]:
    """The keys of a TypedDict of containers.py, which exists for type checkers alone."""
    tree = ast.parse((TOP / "stackpy/dsl/containers.py").read_text())
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    own = {
        line.target.id for line in found.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }
    bases = {base.id for base in found.bases if isinstance(base, ast.Name)} - {"TypedDict"}
    return own.union(*map(declared, bases))


def given(path: str, call: str) -> set[str]:
    """The keywords with which a function is called in a file."""
    tree = ast.parse((TOP / path).read_text())
    return {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == call
        for keyword in node.keywords
        if keyword.arg
    }


def test_every_field_has_a_type_and_no_other() -> None:
    assert declared("ContainerFields") == set(container_fields.CONTAINER_FIELDS)
    assert declared("JobFields") == set(container_fields.JOB_FIELDS)


def test_every_field_stands_among_what_is_right() -> None:
    assert set(container_fields.CONTAINER_FIELDS) - given("tests/typing/right.py", "Container") == set()


@pytest.mark.parametrize("name", stackpy.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    public = getattr(stackpy, name)
    assert public.__doc__
    assert name in (TOP / "tests/typing/right.py").read_text()


def test_the_package_says_that_it_is_typed() -> None:
    assert (TOP / "stackpy/py.typed").exists()
