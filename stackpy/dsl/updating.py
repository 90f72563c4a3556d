"""How the replicas of a container are replaced: Compose's `deploy.update_config`, on one host."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import quantities
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.resources import Frozen
from stackpy.dsl.session import Place
from stackpy.dsl.values import meant, one_of, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

Duration = str | int | float


class Update(Frozen):
    """How the replicas of a container are replaced."""

    __slots__ = ("config",)
    config: dict[str, Any] | None  # None: nothing usable was given

    @checked("update")
    def __init__(
        self,
        *,
        order: Literal["start-first", "stop-first"] | None = None,
        parallelism: int | None = None,
        delay: Duration | None = None,
        monitor: Duration | None = None,
        max_failure_ratio: float | None = None,
        failure_action: Literal["pause", "continue", "rollback"] | None = None,
    ) -> None:
        """Each argument as in Compose's `deploy.update_config`; times are seconds or durations such as "1.5s".

        order: "start-first": the new replica serves before the old one leaves; "stop-first". Without it start-first,
            but stop-first where the container writes to a named volume or a folder of the host
        parallelism: replicas replaced at a time, 1 without it; 0: all
        delay: from one group of replicas to the next
        monitor: how long a new replica must stay well before it counts as replaced, 0 without it
        max_failure_ratio: the share of replicas that may fail, 0 to 1, 0 without it
        failure_action: what follows when more fail: "pause" leaves the rest as it is, "continue" goes on with it,
            "rollback" brings back what was replaced
        """
        place = Place(caller(), "this update")
        given = {
            "order": order, "parallelism": parallelism, "delay": delay, "monitor": monitor,
            "max_failure_ratio": max_failure_ratio, "failure_action": failure_action,
        }  # fmt: skip
        object.__setattr__(self, "config", _config(place, given))

    def __repr__(self) -> str:
        return "Update(…)"


def _ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise wrong("a number from 0 to 1", value)
    return float(value)


_PARSERS: dict[str, Any] = {
    "order": one_of("start-first", "stop-first"),
    "parallelism": quantities.whole,
    "delay": quantities.duration,
    "monitor": quantities.duration,
    "max_failure_ratio": _ratio,
    "failure_action": one_of("pause", "continue", "rollback"),
}


def _config(place: Place, given: Mapping[str, Any]) -> dict[str, Any] | None:
    config: dict[str, Any] = {}
    sound = True
    for key, value in given.items():
        if value is not None:
            config[key] = place.item(key).parse(_PARSERS[key], value)
            sound = sound and config[key] is not None
    return config if sound else None


def update(place: Place, value: object) -> dict[str, Any] | None:
    """The field `update`: an Update or Compose's mapping; None where it was not understood."""
    if isinstance(value, Update):
        return getattr(value, "config", None)
    if not isinstance(value, Mapping):
        place.refuse(wrong('an Update or a mapping such as {"order": "start-first"}', value))
        return None
    known = {}
    for key, item in value.items():
        if key in _PARSERS:
            known[key] = item
        else:
            place.item(str(key)).report(f"unknown key `{key}` of {place.name}", meant(str(key), _PARSERS), key=True)
    return _config(place, known)


def contradiction(parsed: Mapping[str, Any]) -> str:
    """What keeps two replicas with one number from running side by side, as start-first needs it; "" for nothing.

    parsed: the fields of a container
    """
    mode = str(parsed.get("network_mode", ""))
    if mode == "host" or mode.startswith(("service:", "container:")):
        return f'network_mode="{mode}" has room for one server on each port'
    for use in parsed.get("networks") or ():
        if wanted := use.fields["attachment"].get("ipv4_address"):
            return f"two containers cannot both have the address {wanted}"
    return ""
