"""The fields `pull_policy` and `platform`: when a registry is asked for a container's image, and for which platform."""

from __future__ import annotations

from stackpy.dsl import quantities, references
from stackpy.dsl.images import Image
from stackpy.dsl.values import Invalid, meant, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.dsl.session import Place

_WORDS = ("always", "never", "missing", "if_not_present", "build", "daily", "weekly")
_EVERY = pattern(r"every_(.+)")
_DAY = 86400.0
# Compose's durations here have days and weeks too: every_1w, every_2d12h
_LONG = pattern(r"(?:([0-9]+)w)?(?:([0-9]+)d)?(.*)")


def pull_policy(value: object) -> str:
    """One of Compose's policies; `if_not_present` is `missing`."""
    match = _EVERY.fullmatch(value) if isinstance(value, str) else None
    if match:
        try:
            if period(str(value)):
                return str(value)
        except Invalid:
            pass
        raise wrong('a time after `every_`, as in "every_12h"', value)
    if not isinstance(value, str) or value not in _WORDS:
        expected = "`always`, `never`, `missing`, `if_not_present`, `build`, `daily`, `weekly` or `every_12h`"
        raise wrong(expected, value, meant(value, _WORDS) if isinstance(value, str) else "")
    return "missing" if value == "if_not_present" else value


def period(policy: str) -> float | None:
    """Seconds after which an image that is here is looked for in its registry; None: never again."""
    if policy in ("daily", "weekly", "always"):
        return {"daily": _DAY, "weekly": 7 * _DAY, "always": 0.0}[policy]
    match = _EVERY.fullmatch(policy)
    if not match:
        return None
    parts = _LONG.fullmatch(match[1])
    assert parts is not None
    rest = quantities.duration(parts[3]) if parts[3] else 0.0
    return 7 * _DAY * int(parts[1] or 0) + _DAY * int(parts[2] or 0) + rest


def checked(place: Place, parsed: Mapping[str, Any]) -> Any:
    """The image with what `platform` and `pull_policy` say; reports what does not go with it."""
    image = parsed.get("image")
    if not isinstance(image, Image) or image._base is None:
        return image
    is_plain = image._base["kind"] == "image" and not image._steps
    policy, platform = parsed.get("pull_policy", "missing"), parsed.get("platform")
    if policy == "build" and is_plain:
        what = f"`pull_policy` of {place.subject} is `build`, but its image is a registry's: there is nothing to build"
        place.item("pull_policy").report(what, "describe the image: Image(…).copy(…).run(…)")
    elif policy not in ("build", "missing") and not is_plain:
        what = f"`pull_policy` of {place.subject} is for images of registries, and its image is built"
        place.item("pull_policy").report(what, "it is built again when what it is made of changes")
    if platform is None:
        return image
    if not is_plain:
        what = f"`platform` of {place.subject} is for images of registries, and its image is built"
        place.item("platform").report(what, 'give it to the base: Image("name:tag", platform="linux/arm64")')
        return image
    if image._base.get("platform", platform) != platform:
        what = f"`platform` of {place.subject} is {platform}, but its image is for {image._base['platform']}"
        place.item("platform").report(what, "give one of them")
        return image
    return image if "platform" in image._base else Image._of({**image._base, "platform": platform}, image._call)


platform = references.platform
