"""What commands do with stackpy.lock: keep what an apply found, move it, say what has moved in the registries."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stackpy.cli.context import Context
    from stackpy.pins import Pins
    from stackpy.planning.plan import Desired


def keep(desired: Desired) -> None:
    """Writes down what the stack's images were that are not pinned yet."""
    stack = desired.stack
    if not desired.locked:
        return
    from stackpy import pins

    # What a pull_policy has asked a registry for is what the tag means from now on.
    asked = pins.policies(stack)
    kept = {
        name: of for name, of in stack.pins.items() if name.removesuffix(":latest") not in asked and name not in asked
    }
    found = pins.merged(kept, desired.locked)
    if found != stack.pins and (found != kept or kept != stack.pins):
        pins.write(stack.folder, pins.merged({**stack.pins, **found}, {}))


def moved(
    context: Context, desired: Desired, names: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str, str, str]]:
    """What tags name in their registries where that is not what is used: name, platform, digest used, digest there.

    names: of the images to ask for; empty: all
    """
    for name, found in desired.locked.items():
        if names and name not in names:
            continue
        for platform, digest in found.items():
            now = context.engine().registry_digest(name, platform)
            if now != digest:
                yield name, platform, digest, now


def moved_text(name: str, platform: str, old: str, new: str) -> str:
    """`debian:bookworm (linux/amd64): sha256:0123456789ab → sha256:ba9876543210`."""
    return f"{name} ({platform}): {old[:19]} → {new[:19]}"


def updated(used: Pins, found: Pins, news: list[tuple[str, str, str, str]]) -> dict[str, dict[str, str]]:
    """The pins of what is used, those of `used` first, with what has moved. Pure."""
    result = {
        name: {platform: used.get(name, {}).get(platform, digest) for platform, digest in platforms.items()}
        for name, platforms in found.items()
    }
    for name, platforms in used.items():
        if name in result:
            result[name] = {**platforms, **result[name]}  # other machines' platforms stay
    for name, platform, _, digest in news:
        result[name][platform] = digest
    return result
