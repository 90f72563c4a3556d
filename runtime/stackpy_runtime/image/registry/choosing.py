"""Which image of an index is meant: in a registry, an archive or a layout. Pure."""

from __future__ import annotations

import re

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.image.manifests import Configuration, Descriptor
    from stackpy_runtime.platforms import Platform

# A 64-bit ARM's only variant is left out as often as not; later ones of amd64 are optional, and asked for by name.
_IMPLIED = {"arm64": "v8", "amd64": "v1"}
_ATTESTATION = "vnd.docker.reference.type"


def choose(descriptors: list[Descriptor], wanted: Platform) -> Descriptor:
    """The descriptor of an index that is for a platform; raises InvalidConfig, listing what there is.

    Of several variants the exact one is taken, else the best of those that run there.
    """
    images = without_attestations(descriptors)
    found = best(images, wanted)
    if found:
        return found[0]
    from stackpy_runtime.image.limits import shown  # plans that pull nothing do without

    others = sorted(
        {"/".join(filter(None, (p.os, p.architecture, p.variant))) for one in images if (p := one.platform)} - {""}
    )
    raise InvalidConfig(
        shown(f"it has no image for {wanted}" + (f", only for {', '.join(others)[:300]}" if others else ""))
    )


def without_attestations(descriptors: list[Descriptor]) -> list[Descriptor]:
    """The images among the descriptors of an index."""
    return [one for one in descriptors if _ATTESTATION not in (one.annotations or {})]


def best(images: list[Descriptor], wanted: Platform) -> list[Descriptor]:
    """Those that fit a platform equally, and better than all others; [] where none does."""
    ranks = [_rank(one, wanted) for one in images]
    top = max(ranks, default=0)
    return [one for one, rank in zip(images, ranks, strict=True) if rank == top] if top else []


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
