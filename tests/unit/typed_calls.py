"""The calls that the DSL is made of, by what a stack file writes before the parenthesis."""

from __future__ import annotations

import inspect
from typing import Any

import stackpy
from stackpy.dsl import container_fields

# Whatever belongs there is somebody else's: any value, any variable of a template, the function of a component.
_OPEN = {
    ("Output", "value"),
    ("other.output", "default"),
    ("template", "variables"),
    ("component", "function"),
    ("var", "default"),
}
_OBJECTS = {"Container": "web", "Image": "image", "StackRef": "other"}


def typed_calls() -> dict[str, list[inspect.Parameter]]:
    """`Network` or `image.run` → its parameters."""
    found: dict[str, list[inspect.Parameter]] = {}
    for name in stackpy.__all__:
        one = getattr(stackpy, name)
        if inspect.isclass(one):
            found[name] = _parameters(one.__init__)
            for method, function in _methods(one):
                receiver = name if isinstance(function, classmethod) else _OBJECTS.get(name)
                if receiver is not None:
                    found[f"{receiver}.{method}"] = _parameters(getattr(function, "__func__", function))
        else:
            found[name] = _parameters(one)
    for name, fields in {"Container": container_fields.CONTAINER_FIELDS, "Job": container_fields.JOB_FIELDS}.items():
        only = inspect.Parameter.KEYWORD_ONLY
        found[name][-1:] = [inspect.Parameter(field, only, default=None) for field in fields]
    del found["BuildMount"]  # made by its methods
    return {call: [one for one in parameters if (call, one.name) not in _OPEN] for call, parameters in found.items()}


def _methods(kind: Any) -> list[tuple[str, Any]]:
    known: dict[str, Any] = {}
    for each in reversed(kind.__mro__[:-1]):
        known.update(vars(each))
    return [
        (name, one)
        for name, one in known.items()
        if not name.startswith("_") and (isinstance(one, classmethod) or inspect.isfunction(one))
    ]


def _parameters(function: Any) -> list[inspect.Parameter]:
    return [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]
