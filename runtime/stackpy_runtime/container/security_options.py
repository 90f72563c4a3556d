"""`security_opt` as docker run and Compose have it (daemon/daemon_unix.go, parseSecurityOpt). Pure.

A profile for seccomp stands in it whole, as JSON: whoever sends the configuration has read the file.
"""

from __future__ import annotations

from typing import NamedTuple

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

KNOWN = ("seccomp", "no-new-privileges", "systempaths", "apparmor", "label")


class SecurityOptions(NamedTuple):
    """What is asked for.

    seccomp: "" for the default, "unconfined", or a profile as JSON
    new_privileges: None where nothing is said
    unmasked: nothing of /proc and /sys is hidden or read-only
    apparmor: a profile's name, "" for none
    labels: SELinux: user, role, type, level, by name; {"disable": ""} turns it off
    """

    seccomp: str = ""
    new_privileges: bool | None = None
    unmasked: bool = False
    apparmor: str = ""
    labels: dict[str, str] = {}


def parse(options: Iterable[str]) -> SecurityOptions:
    """Reads them; raises InvalidConfig for what nobody knows."""
    found = SecurityOptions()
    for option in options:
        # Docker's older form has a colon. A profile has colons of its own, but an equals sign before them.
        equals, colon = option.find("="), option.find(":")
        at = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
        key, value = (option[:at], option[at + 1 :]) if at >= 0 else (option, "")
        if key == "no-new-privileges":
            if value not in ("", "true", "false"):
                raise InvalidConfig(f"security option `{option[:60]}`: true or false is meant")
            found = found._replace(new_privileges=value == "false")
        elif key == "seccomp":
            if value in ("", "builtin"):
                found = found._replace(seccomp="")
                if not value:
                    raise InvalidConfig("security option `seccomp` names no profile", hint="`seccomp=unconfined`")
            elif value != "unconfined" and not value.lstrip().startswith("{"):
                raise InvalidConfig(
                    f"security option `seccomp={value[:60]}` is neither `unconfined` nor a profile in JSON",
                    hint="the file is read by whoever sends the configuration",
                )
            else:
                found = found._replace(seccomp=value)
        elif key == "systempaths":
            if value != "unconfined":
                raise InvalidConfig(f"security option `{option[:60]}`", hint="`systempaths=unconfined` is meant")
            found = found._replace(unmasked=True)
        elif key == "apparmor":
            if not value or not value.isprintable() or " " in value:
                raise InvalidConfig(f"security option `{option[:60]}` names no AppArmor profile")
            found = found._replace(apparmor=value)
        elif key == "label":
            found = found._replace(labels={**found.labels, **_label(option, value)})
        else:
            raise InvalidConfig(f"unknown security option `{option[:60]}`", hint=f"known are {', '.join(KNOWN)}")
    return found


def _label(option: str, value: str) -> dict[str, str]:
    if value == "disable":
        return {"disable": ""}
    key, _, word = value.partition(":")
    if key not in ("user", "role", "type", "level") or not word or not word.isprintable():
        raise InvalidConfig(
            f"security option `{option[:60]}` is no label", hint="label=disable, or label=type:NAME (user, role, level)"
        )
    return {key: word}
