"""What is configured of registries: mirrors, certificate authorities, whether TLS may be missing.

One rule: what is nearest says all of a host. A stack's `[registries."HOST"]` replaces, for the stack's commands, what
ROOT/registries.toml says of HOST, and that what /etc/stackpy/registries.toml says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.errors import EngineError, InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = "/etc/stackpy/registries.toml"
FILE = "registries.toml"


class Host(NamedTuple):
    """What is configured of one registry, or mirror.

    mirrors: where pulls are tried first: HOST[:PORT][/PREFIX], or a URL of it
    ca: a file of certificate authorities (PEM) trusted for it, besides the host's
    insecure: its certificate is not checked, and where it speaks no TLS plain HTTP is used
    """

    mirrors: tuple[str, ...] = ()
    ca: str = ""
    insecure: bool = False


class Settings(NamedTuple):
    """All of it. keep_blobs: compressed layers stay, so that pushing elsewhere keeps their digests."""

    hosts: Mapping[str, Host] = {}
    keep_blobs: bool = True

    def host(self, name: str) -> Host:
        """What is configured of `name` (HOST or HOST:PORT)."""
        return self.hosts.get(name, Host())


def load(root: str, given: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings for an engine root.

    given: `registries` of a stack, by host

    Raises InvalidConfig for what is no such setting, EngineError for a file that cannot be read.
    """
    hosts: dict[str, Host] = {}
    keep = True
    for path in (SYSTEM, f"{root}/{FILE}"):
        document = _read(path)
        keep = _flag(document, "keep_blobs", path, keep)
        tables = document.pop("registries", {})
        document.pop("keep_blobs", None)
        if document or not isinstance(tables, dict):
            what = f"unknown setting `{next(iter(document))}`" if document else "`registries` must be a table"
            raise InvalidConfig(f"{path}: {what}", hint='it holds [registries."HOST"] and keep_blobs')
        hosts |= {name: host(name, table, path) for name, table in tables.items()}
    hosts |= {name: host(name, table, "stackpy.toml") for name, table in (given or {}).items()}
    return Settings(hosts, keep)


def host(name: str, table: Any, where: str) -> Host:
    """The settings of one registry from its table; raises InvalidConfig, naming the file `where`."""
    place = f'{where}: [registries."{name}"]'
    if not isinstance(table, dict):
        raise InvalidConfig(f"{place} must be a table")
    unknown = sorted(table.keys() - set(Host._fields))
    if unknown:
        raise InvalidConfig(f"{place}: unknown setting `{unknown[0]}`", hint=f"known are {', '.join(Host._fields)}")
    mirrors, ca = table.get("mirrors", []), table.get("ca", "")
    if not isinstance(mirrors, list) or not all(isinstance(mirror, str) and mirror for mirror in mirrors):
        raise InvalidConfig(f"{place}: `mirrors` must be a list of hosts or URLs")
    if not isinstance(ca, str) or (ca and not os.path.isabs(ca)):
        raise InvalidConfig(f"{place}: `ca` must be an absolute path")
    return Host(tuple(mirrors), ca, _flag(table, "insecure", place, False))


def _flag(table: Mapping[str, Any], name: str, place: str, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise InvalidConfig(f"{place}: `{name}` must be true or false")
    return value


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            import tomllib  # 8 ms, and mostly there is no such file

            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EngineError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise InvalidConfig(f"{path}: {error}") from None
