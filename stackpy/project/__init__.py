"""A project on disk: stackpy.toml, environments, variables, the stack file and what it reads."""

from __future__ import annotations

from stackpy.project.settings import Settings, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.project.inputs import Inputs
    from stackpy.project.loader import Loaded, load
    from stackpy.project.secrets import SecretValues

__all__ = ["Inputs", "Loaded", "SecretValues", "Settings", "load", "settings"]

_MODULES = {"Inputs": "inputs", "Loaded": "loader", "SecretValues": "secrets", "load": "loader"}


def __getattr__(name: str) -> Any:
    # commands that only need settings do not import the DSL
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # as importlib.import_module would, whose own import costs 0.4 ms
    return getattr(__import__(f"{__name__}.{_MODULES[name]}", fromlist=[name]), name)
