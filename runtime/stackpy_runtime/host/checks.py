"""Which health check a container has: its own, else its image's; one that says NONE is none."""

from __future__ import annotations

from stackpy_runtime.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.model import Container, ContainerConfig, ImageConfig, Probe, ProbeConfig
    from stackpy_runtime.store.store import Store

NONE = ["NONE"]

# Docker's, for what an image leaves out (docs: Dockerfile reference, HEALTHCHECK); seconds.
_INTERVAL, _TIMEOUT, _RETRIES, _START_PERIOD, _START_INTERVAL = 30.0, 30.0, 3, 0.0, 5.0
_DEFAULTS = {
    "interval": _INTERVAL,
    "timeout": _TIMEOUT,
    "retries": _RETRIES,
    "start_period": _START_PERIOD,
    "start_interval": _START_INTERVAL,
}
_NANO = 10**9


def of_container(store: Store, container: Container) -> Probe | None:
    """The health check of a container; None when it has none."""
    asked = container["config"].get("healthcheck")
    if asked is not None and asks(asked):
        return effective(container["config"], {})
    try:
        return effective(container["config"], store.image_config(container["image_id"]))
    except NotFound:
        return None  # an image that was removed by force


def effective(config: ContainerConfig, image: ImageConfig) -> Probe | None:
    """The health check of a container's configuration and of its image's. Pure."""
    asked = config.get("healthcheck") or {}
    if asked.get("test") == NONE:
        return None
    if asks(asked):
        own: Any = {**_DEFAULTS, **asked}
        return own  # type: ignore[no-any-return]
    check = _of_image(image)
    if check is None:
        return None
    merged: Any = {**check, **asked}
    return merged  # type: ignore[no-any-return]


def asks(check: ProbeConfig) -> bool:
    """Whether a health check says itself what is asked, and does not leave that to the image."""
    return "test" in check or "http" in check or "tcp" in check


def _of_image(image: ImageConfig) -> Probe | None:
    check = image.get("Healthcheck")
    if not check:
        return None
    kind, *words = check.get("Test") or NONE
    if kind not in ("CMD", "CMD-SHELL") or not words:
        return None
    return {
        "test": words if kind == "CMD" else [*(image.get("Shell") or ["/bin/sh", "-c"]), words[0]],
        "interval": check.get("Interval", 0) / _NANO or _INTERVAL,
        "timeout": check.get("Timeout", 0) / _NANO or _TIMEOUT,
        "retries": check.get("Retries", 0) or _RETRIES,
        "start_period": check.get("StartPeriod", 0) / _NANO or _START_PERIOD,
        "start_interval": check.get("StartInterval", 0) / _NANO or _START_INTERVAL,
    }
