"""The field `depends_on`: objects, names and conditions in a list, or Compose's mapping."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.resources import Resource
from stackpy.dsl.uses import Condition, Use
from stackpy.dsl.values import flag, meant, one_of, show, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.session import Place

CONDITIONS = {"service_started": "started", "service_healthy": "healthy", "service_completed_successfully": "completed"}
_KEYS = ("condition", "restart", "required")


def depends_on(place: Place, value: object) -> list[Use]:
    """What must hold of which containers and jobs; none for those that were not understood."""
    result: list[Use] = []
    if isinstance(value, Resource | Condition):
        value = [value]
    if isinstance(value, Mapping):
        for index, (key, item) in enumerate(value.items()):
            inner = place.item(key if isinstance(key, str) else index)
            fields = _fields(inner, item)
            if fields["condition"]:
                result += _dependency(inner, key, fields, key=True)
        return result
    if isinstance(value, str) or not isinstance(value, list | tuple):
        place.refuse(wrong("a list of containers, jobs and conditions, or a mapping", value))
        return []
    for index, item in enumerate(value):
        result += _dependency(place.item(index), item, {"condition": "started"})
    return result


def _dependency(place: Place, value: object, fields: dict[str, Any], key: bool = False) -> list[Use]:
    if isinstance(value, Condition):
        given = {**fields, "condition": value.condition}
        return [Use(place, value.kind, value.name, True, given)] if value.name else []
    if isinstance(value, Resource) and value.kind in ("container", "job"):
        return [Use(place, value.kind, value.name, True, fields)] if value.name else []
    if isinstance(value, str) and value:
        return [Use(place, "", value, False, fields)]
    place.report(f"{place.name} must be a container, a job, its name or a condition, not {show(value)}", key=key)
    return []


def _fields(place: Place, value: object) -> dict[str, Any]:
    """`condition`, and `restart` and `required` where they are not the default."""
    if not isinstance(value, Mapping):
        place.refuse(wrong("a mapping with `condition`", value))
        return {"condition": ""}
    for key in value:
        if key not in _KEYS:
            place.item(str(key)).report(f"unknown key `{key}` of {place.name}", meant(str(key), _KEYS), key=True)
    word = place.item("condition").parse(one_of(*CONDITIONS), value.get("condition"))
    fields: dict[str, Any] = {"condition": CONDITIONS.get(word, "")}
    if place.item("restart").parse(flag, value.get("restart", False), False):
        fields["restart"] = True
    if place.item("required").parse(flag, value.get("required", True), True) is False:
        fields["required"] = False
    return fields
