"""`runtime` of a container: which program of the host it is handed over to, and whether it can be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stackpy_runtime.errors import InvalidConfig, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = "stackpy"
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# What the engine's sandbox does itself, and a bundle has no words for, or not the same.
_NOT_HANDED_OVER = ("init", "pre_start", "cgroup")


def resolve(name: str) -> str:
    """The path of a runtime; NotFound for one that this host has not."""
    paths = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in FOLDERS]
    if "/" in name and not name.startswith("/"):
        raise InvalidConfig(f"runtime `{name}` is neither a name nor an absolute path")
    for path in paths:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    hint = "`apt-get install crun` brings one" if name in ("crun", "runc") else "a name such as crun, or a path"
    raise NotFound(f"runtime `{name}` is not on this host", hint=hint)


def check(config: Mapping[str, Any]) -> None:
    """Raises NotFound or InvalidConfig for a container that cannot be handed over."""
    from stackpy_runtime.container import confinement

    if config["runtime"] == OWN:
        return
    resolve(config["runtime"])
    found: Any = config
    for field in _NOT_HANDED_OVER:
        if found.get(field):
            raise InvalidConfig(f"{field} and runtime={config['runtime']} exclude each other")
    if not confinement.is_plain(found):
        raise InvalidConfig(
            f"runtime={config['runtime']} takes no sharing of namespaces, devices, security options or privileges",
            hint="leave `runtime` out: the engine's own sandbox does them",
        )
