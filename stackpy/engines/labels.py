"""The labels that tie an engine's objects to the stack that declared them; the same on every engine."""

from __future__ import annotations

from stackpy.dsl.specs import Dependency
from stackpy.engines import schema
from stackpy_runtime import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STACK = "stackpy.stack"
RESOURCE = "stackpy.resource"  # an address: container.web
REPLICA = "stackpy.replica"  # 1..n
GENERATION = "stackpy.generation"
SPEC = "stackpy.spec"  # JSON: the fields that the user had set at the last apply
SCHEMA = "stackpy.schema"  # the form of that JSON (schema.py); none: the first
DEPENDENCIES = "stackpy.dependencies"  # JSON: [[address, condition, restart?, required?]] at the last apply
ANONYMOUS = "stackpy.anonymous"  # a volume that was made for one container
RECIPE = "stackpy.recipe"  # of a container: the recipe ID of its image
SECRETS = "stackpy.secrets"  # JSON: {secret: fingerprint of the value that the container was made with}
PREFIX = "stackpy."


def users(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that are not ours."""
    return {key: value for key, value in labels.items() if not key.startswith(PREFIX)}


def dump(value: object) -> str:
    """A value as it stands in a label: compact JSON that is equal for equal values."""
    return json_text.dumps(value, sort_keys=True)


def load(labels: Mapping[str, str], label: str, empty: Any) -> Any:
    """The value in a label; `empty` where there is none, or where somebody wrote something else into it."""
    text = labels.get(label)
    if not text:
        return empty
    try:
        value = json_text.loads(text)
    except ValueError:
        return empty
    return value if isinstance(value, type(empty)) else empty


def applied(labels: Mapping[str, str]) -> dict[str, Any]:
    """The fields that the user had set at the last apply, in the present form; raises StackpyError for a later form."""
    fields: dict[str, Any] = load(labels, SPEC, {})
    text = labels.get(SCHEMA, "")
    version = int(text) if text.isascii() and text.isdigit() else 1
    if version == schema.VERSION:
        return fields
    return schema.read(labels.get(RESOURCE, "").partition(".")[0], fields, version)


def dependencies(labels: Mapping[str, str]) -> tuple[Dependency, ...]:
    """What the resource depended on at the last apply."""
    pairs = load(labels, DEPENDENCIES, [])
    return tuple(Dependency(*pair) for pair in pairs if isinstance(pair, list) and 2 <= len(pair) <= 4)


def dump_dependencies(dependencies: tuple[Dependency, ...]) -> str:
    """The label's value; what is as usual is left out."""
    return dump([list(each if each[2:] != (False, True) else each[:2]) for each in dependencies])
