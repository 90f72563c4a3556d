"""Which image of an index is meant. Pure but for the machine's name."""

from __future__ import annotations

import os
import re

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.image.manifests import Configuration, Descriptor

_MACHINES = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "i686": ("386", "")}
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}
# A 64-bit ARM's only variant is left out as often as not; later ones of amd64 are optional, and asked for by name.
_IMPLIED = {"arm64": "v8", "amd64": "v1"}
_ATTESTATION = "vnd.docker.reference.type"


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
    name = os.uname().machine
    return Platform("linux", *_MACHINES.get(name, (name, "")))


def parse(text: str) -> Platform:
    """What `--platform` says, "" meaning this machine; raises InvalidConfig for what is no platform, or not Linux."""
    if not text:
        return machine()
    parts = text.lower().split("/")
    if len(parts) == 1 and parts[0] != "linux":
        parts = ["linux", *parts]
    if len(parts) == 1:
        return machine()
    if len(parts) > 3 or not all(re.fullmatch("[a-z0-9_.-]+", part) for part in parts):
        raise InvalidConfig(f"`{text}` is no platform", hint="as in linux/amd64 or linux/arm/v7")
    if parts[0] != "linux":
        raise InvalidConfig(f"`{text}`: this engine runs linux images alone")
    architecture = _ALIASES.get(parts[1], parts[1])
    return Platform("linux", architecture, parts[2] if len(parts) == 3 else "")


def choose(descriptors: list[Descriptor], wanted: Platform) -> Descriptor:
    """The descriptor of an index that is for a platform; raises InvalidConfig, listing what there is.

    Of several variants the exact one is taken, else the best of those that run there.
    """
    images = [one for one in descriptors if _ATTESTATION not in (one.annotations or {})]
    best = max(images, key=lambda one: _rank(one, wanted), default=None)
    if best is not None and _rank(best, wanted):
        return best
    from stackpy_runtime.image.limits import shown  # plans that pull nothing do without

    found = sorted(
        {"/".join(filter(None, (p.os, p.architecture, p.variant))) for one in images if (p := one.platform)} - {""}
    )
    raise InvalidConfig(
        shown(f"it has no image for {wanted}" + (f", only for {', '.join(found)[:300]}" if found else ""))
    )


def check(configuration: Configuration, wanted: Platform, *, asked: bool) -> None:
    """Raises InvalidConfig for an image without an index that is for another architecture.

    asked: the platform was given, so the machine's own does not count
    """
    if configuration.architecture and configuration.architecture != wanted.architecture:
        from stackpy_runtime.image.limits import shown

        found = shown(f"linux/{configuration.architecture[:40]}")
        error = f"it is an image for {found}, and {'not for' if asked else 'this machine is'} {wanted}"
        raise InvalidConfig(error, hint="" if asked else f"`--platform {found}` takes it all the same")


def _rank(one: Descriptor, wanted: Platform) -> int:
    """How well it fits; 0: not at all."""
    given = one.platform
    if given is None:
        return 1
    if given.os not in ("", "linux") or given.architecture not in ("", wanted.architecture):
        return 0
    implied = _IMPLIED.get(wanted.architecture, "")
    have, want = given.variant or implied, wanted.variant or implied
    if have == want:
        return 1000
    number = re.fullmatch(r"v(\d+)", have), re.fullmatch(r"v(\d+)", want)
    if wanted.architecture == "arm" and number[0] and (number[1] is None or int(number[0][1]) <= int(number[1][1])):
        return 10 + int(number[0][1])
    return 2 if not given.variant else 0
