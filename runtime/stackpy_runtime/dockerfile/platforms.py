"""Platforms by the names that images use: `linux/arm64`, `linux/arm/v7`. Normalised as containerd does."""

from __future__ import annotations

import re
from typing import NamedTuple

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEMS = "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris windows".split()
_MACHINES = "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split()
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}


class Platform(NamedTuple):
    """Operating system, machine and its variant."""

    system: str
    machine: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def parse(text: str, default: Platform) -> Platform | None:
    """The platform that a text names: `os/arch[/variant]`, or either of the first two alone; None when it is none.

    default: where the other comes from
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        return None
    parts = [part.lower() for part in parts]
    if len(parts) == 1:
        if parts[0] in ("macos", *_SYSTEMS):
            return normal(Platform(parts[0], default.machine, default.variant))
        made = normal(Platform(default.system, parts[0]))
        return made if made.machine in _MACHINES else None
    return normal(Platform(*parts))


def normal(platform: Platform) -> Platform:
    """The one spelling of a platform."""
    system = "darwin" if platform.system == "macos" else platform.system
    machine, variant = _ALIASES.get(platform.machine, (platform.machine, ""))
    variant = platform.variant or variant
    if (machine == "arm64" and variant in ("8", "v8")) or (machine == "amd64" and variant == "v1"):
        variant = ""
    elif machine == "arm":
        variant = f"v{variant}" if variant.isdigit() else variant or "v7"
    return Platform(system, machine, variant)
