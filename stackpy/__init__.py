"""Declarative stacks of containers. The names that a stack file uses; each is loaded when it is first asked for."""

from __future__ import annotations

# Not from `typing`, which costs 8 ms to import, half of what a command that only asks the engine takes to start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.build_mounts import BuildMount
    from stackpy.dsl.components import Component, component
    from stackpy.dsl.containers import Container, Job
    from stackpy.dsl.files import File, template
    from stackpy.dsl.images import Image
    from stackpy.dsl.moves import moved
    from stackpy.dsl.policies import policy
    from stackpy.dsl.probes import HealthCheck
    from stackpy.dsl.resources import Network, Output, Secret, Stack, Volume
    from stackpy.dsl.stack_refs import StackRef
    from stackpy.dsl.updating import Update
    from stackpy.dsl.variables import var

__all__ = [
    "BuildMount",
    "Component",
    "Container",
    "File",
    "HealthCheck",
    "Image",
    "Job",
    "Network",
    "Output",
    "Secret",
    "Stack",
    "StackRef",
    "Update",
    "Volume",
    "component",
    "moved",
    "policy",
    "template",
    "var",
]

# commands that read no stack file import none of this
_MODULES = {
    "BuildMount": "build_mounts",
    "Component": "components",
    "Container": "containers",
    "File": "files",
    "HealthCheck": "probes",
    "Image": "images",
    "Job": "containers",
    "Network": "resources",
    "Output": "resources",
    "Secret": "resources",
    "Stack": "resources",
    "StackRef": "stack_refs",
    "Update": "updating",
    "Volume": "resources",
    "component": "components",
    "moved": "moves",
    "policy": "policies",
    "template": "files",
    "var": "variables",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=_module())
    # as importlib.import_module would, whose own import costs 0.4 ms
    value = getattr(__import__(f"stackpy.dsl.{_MODULES[name]}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _module() -> Any:
    import sys

    return sys.modules[__name__]
