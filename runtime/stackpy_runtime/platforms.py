"""Platforms by the names that images use: `linux/arm64`, `linux/arm/v7`. Normalised as containerd does."""

from __future__ import annotations

import os

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.patterns import pattern

_PART = pattern(r"[A-Za-z0-9_.-]+")
_SYSTEMS = "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris windows".split()
_ARCHITECTURES = "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split()
# What uname(2) and people call them.
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
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}


class Platform:
    """What an image is for: `str` gives os/architecture[/variant]. Not a NamedTuple, since every plan comes by here."""

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        self.os, self.architecture, self.variant = os, architecture, variant

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"<platform {self}>"

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def machine() -> Platform:
    """This machine."""
    return normal(Platform("linux", os.uname().machine))


def normal(platform: Platform) -> Platform:
    """The one spelling of a platform."""
    system = "darwin" if platform.os == "macos" else platform.os
    architecture, variant = _ALIASES.get(platform.architecture, (platform.architecture, ""))
    variant = platform.variant or variant
    # A 64-bit ARM's only variant is left out, and the first of amd64.
    if (architecture == "arm64" and variant in ("8", "v8")) or (architecture == "amd64" and variant == "v1"):
        variant = ""
    elif architecture == "arm":
        variant = f"v{variant}" if variant.isdigit() else variant or "v7"
    return Platform(system, architecture, variant)


def named(text: str, default: Platform) -> Platform | None:
    """The platform that a text names: `os/arch[/variant]`, or either of the first two alone; None when it is none.

    default: where the other comes from
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        return None
    parts = [part.lower() for part in parts]
    if len(parts) == 1:
        if parts[0] in ("macos", *_SYSTEMS):
            return normal(Platform(parts[0], default.architecture, default.variant))
        made = normal(Platform(default.os, parts[0]))
        return made if made.architecture in _ARCHITECTURES else None
    return normal(Platform(*parts))


def is_for(architecture: str, wanted: str) -> bool:
    """Whether an image of an architecture ("": of this machine's) is what `--platform` asks for ("": any)."""
    return not wanted or (architecture or machine().architecture) == parse(wanted).architecture


def parse(text: str) -> Platform:
    """What `--platform` says, "" meaning this machine; raises InvalidConfig for what is no platform, or not Linux."""
    if not text:
        return machine()
    found = named(text, machine())
    if found is None:
        raise InvalidConfig(f"`{text}` is no platform", hint="as in linux/amd64 or linux/arm/v7")
    if found.os != "linux":
        raise InvalidConfig(f"`{text}`: this engine runs linux images alone")
    return found
