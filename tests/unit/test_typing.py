"""What editors complete is what the parsers take; tests/typing, which mypy checks too, has each of it once."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection
from pathlib import Path
from typing import is_typeddict

import pytest

import stackpy
from stackpy.dsl import (
    addresses,
    container_fields,
    dependencies,
    hooks,
    log_driver,
    mappings,
    mount_options,
    mounts,
    ports,
    probes,
    resource_fields,
    updating,
    variable_files,
)
from tests.unit.typed_calls import typed_calls

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


@pytest.mark.parametrize(("call", "parameters"), typed_calls().items())
def test_every_argument_stands_among_what_is_wrong(call: str, parameters: list[inspect.Parameter]) -> None:
    """So that none of them has a type that takes everything."""
    tree = ast.parse((TOP / "tests/typing/wrong_fields.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == call]
    named = {keyword.arg for node in calls for keyword in node.keywords if ast.unparse(keyword.value) == "NOTHING"}
    unnamed = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    assert {one.name for one in parameters if one not in unnamed} - named == set()
    others = [node for node in calls if any(ast.unparse(one) == "NOTHING" for one in node.args)]
    keywords = [node for node in calls if {keyword.arg for keyword in node.keywords} - {one.name for one in parameters}]
    assert len(others) + len(keywords) >= len(unnamed)


PARSED: dict[str, Collection[str]] = {
    "HealthCheckFields": probes._COMPOSE_FIELDS,
    "UpdateFields": updating._PARSERS,
    "PortFields": ports.LONG_FIELDS,
    "BindFields": mounts.LONG_FIELDS["bind"],
    "BindOptions": mount_options._BIND,
    "VolumeFields": mounts.LONG_FIELDS["volume"],
    "VolumeOptions": ("nocopy", "subpath"),
    "TmpfsFields": mounts.LONG_FIELDS["tmpfs"],
    "TmpfsOptions": (*mounts._TMPFS, "exec"),
    "SecretFields": ("source", "target", "on_change"),
    "AttachmentFields": ("aliases", *addresses.PARSERS),
    "DependencyFields": dependencies._KEYS,
    "HookFields": hooks._FIELDS,
    "VariableFileFields": variable_files._KEYS,
    "DeviceFields": ("source", "target", "permissions"),
    "UlimitFields": ("soft", "hard"),
    "DeviceWeight": ("path", "weight"),
    "DeviceRate": ("path", "rate"),
    "BlkioFields": ("weight", "weight_device", *resource_fields.BLKIO_RATES),
    "LogOptions": (*log_driver._OPTIONS, "max-size", "max-file"),
    "LoggingFields": (*log_driver._OPTIONS, "max-size", "max-file", "driver", "options"),
}


def test_mappings_have_the_keys_that_are_parsed_and_each_stands_among_what_is_wrong() -> None:
    types = {name: one for name, one in vars(mappings).items() if is_typeddict(one)}
    assert {name: set(one.__annotations__) for name, one in types.items()} == {
        name: set(keys) for name, keys in PARSED.items()
    }
    tree = ast.parse((TOP / "tests/typing/wrong_mappings.py").read_text())
    wrong = {
        (ast.unparse(node.annotation), key.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
        for key, value in zip(node.value.keys, node.value.values, strict=True)
        if isinstance(key, ast.Constant) and ast.unparse(value) == "NOTHING"
    }
    assert wrong == {(f"mappings.{name}", key) for name, one in types.items() for key in one.__annotations__}


@pytest.mark.parametrize("name", stackpy.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    public = getattr(stackpy, name)
    assert public.__doc__
    assert name in (TOP / "tests/typing/right.py").read_text()


def test_the_package_says_that_it_is_typed() -> None:
    assert (TOP / "stackpy/py.typed").exists()
