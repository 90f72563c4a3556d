"""What a container may do by default: its capabilities are Docker's (oci/caps/defaults.go)."""

from __future__ import annotations

import functools
import os

from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.linux.processes import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.security_options import SecurityOptions

DEFAULT_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
).split()


def capabilities(add: list[str], drop: list[str]) -> frozenset[str]:
    """The set that results from Compose's cap_add and cap_drop; ALL stands for every one.

    Raises InvalidConfig for a name that the kernel does not know.
    """

    def known(name: str) -> str:
        short = name.upper().removeprefix("CAP_")
        if short != "ALL" and short not in CAPABILITIES:
            import difflib

            near = difflib.get_close_matches(short, CAPABILITIES, 1)
            raise InvalidConfig(f"unknown capability `{name}`", hint=f"did you mean `{near[0]}`?" if near else "")
        return short

    added, dropped = {known(name) for name in add}, {known(name) for name in drop}
    base = set() if "ALL" in dropped else set(DEFAULT_CAPABILITIES)
    if "ALL" in added:
        return frozenset(set(CAPABILITIES) - dropped)
    return frozenset((base - dropped) | added)


@functools.cache
def held() -> frozenset[str]:
    """The capabilities that the engine has itself: those that it can give in the host's user namespace."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        mask = next((int(line.split()[1], 16) for line in file if line.startswith("CapPrm:")), 0)
    return frozenset(name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def has_apparmor() -> bool:
    """Whether the kernel confines by AppArmor."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether the kernel confines by SELinux: a policy is loaded."""
    return os.path.exists("/sys/fs/selinux/enforce")


def check_modules(options: SecurityOptions) -> None:
    """Raises Unsupported for what only a security module could do that this kernel does not have."""
    if options.apparmor not in ("", "unconfined") and not has_apparmor():
        raise Unsupported(
            f"AppArmor profile `{options.apparmor}`: this kernel has no AppArmor",
            hint="leave the option out, or boot with `apparmor=1 security=apparmor`",
        )
    if options.labels and "disable" not in options.labels and not has_selinux():
        raise Unsupported(
            f"SELinux label `{next(iter(options.labels.values()))}`: this kernel has no SELinux policy",
            hint="leave the option out, or load a policy",
        )


def selinux_label(labels: dict[str, str]) -> str:
    """The label of a process: what is asked for over what containers have; "" where nothing is to be set."""
    if not labels or "disable" in labels:
        return ""
    usual = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
    return ":".join({**usual, **labels}[part] for part in ("user", "role", "type", "level"))
