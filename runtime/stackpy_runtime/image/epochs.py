"""The moment to which times in exported layers and configurations are clamped (reproducible-builds.org).

SOURCE_DATE_EPOCH where it is given, else the time at which the image was made that everything stands on: it is the
newest moment that every build of the same recipe shares.
"""

from __future__ import annotations

import os

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import Image


def given() -> int | None:
    """SOURCE_DATE_EPOCH of the environment, in seconds since 1970; raises InvalidConfig where it is no number."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise InvalidConfig(
            f"SOURCE_DATE_EPOCH is `{text[:40]}`, and not a number of seconds", hint="as `date +%s` prints it"
        )
    return int(text)


def of_build(base: Image | None) -> int:
    """The epoch of an image that is built; `base` is the image that it stands on, None for one that has none."""
    asked = given()
    if asked is not None:
        return asked
    return 0 if base is None else _own(base)


def of_image(image: Image) -> int:
    """The epoch of an image that is exported."""
    asked = given()
    return _own(image) if asked is None else asked


def _own(image: Image) -> int:
    return image["epoch"] if "epoch" in image else seconds(image["created"])


def seconds(text: str) -> int:
    """An RFC 3339 time in whole seconds since 1970; 0 for what is none, or is before."""
    import datetime  # 4 ms, and a build without a base needs none of it

    try:
        return max(0, int(datetime.datetime.fromisoformat(text).timestamp()))
    except (ValueError, OverflowError):
        return 0


def utc(date: str) -> str:
    """A date of somebody else's as the engine writes dates: RFC 3339 in UTC; "" for what is none."""
    import datetime

    try:
        moment = datetime.datetime.fromisoformat(date)
        if date.endswith("Z"):
            return date
        return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return ""
