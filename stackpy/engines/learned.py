"""What a container has used of system calls and capabilities → the smallest fields that allow it. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ENOSYS = 38  # what a call that is not listed fails with, so that C libraries fall back to another
# What any program may come to without having called it before.
_ALWAYS = ("exit", "exit_group", "restart_syscall", "rt_sigreturn")
_WIDTH = 100
# AUDIT_ARCH_… → the name that profiles use
_ARCHITECTURES = {"0x40000003": "SCMP_ARCH_X86", "0x40000028": "SCMP_ARCH_ARM"}


def fields(learned: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """`cap_add`, `cap_drop` (where the kernel told) and `security_opt`.

    learned: calls, architectures, capabilities; config: of the container, whose other options stay
    """
    import json  # only where something was learned

    calls = sorted({*learned["calls"], *_ALWAYS} - {name for name in learned["calls"] if " " in name})
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}],
    }
    others = [_ARCHITECTURES[each] for each in learned["architectures"] if each in _ARCHITECTURES]
    if others:
        profile["architectures"] = ["SCMP_ARCH_NATIVE", *others]
    options = [option for option in config.get("security_opt", ()) if not option.startswith("seccomp=")]
    result: dict[str, Any] = {}
    if learned["capabilities"] is not None:
        result = {"cap_drop": ["ALL"], "cap_add": sorted(learned["capabilities"])}
    return {**result, "security_opt": [*options, f"seccomp={json.dumps(profile, separators=(',', ':'))}"]}


def text(learned: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The same as lines to paste into a stack file, with a comment above; no final newline."""
    found = fields(learned, config)
    used = learned["capabilities"]
    lines = [f"# {config['name']} has used {len(learned['calls'])} system calls" + _and_capabilities(used)]
    if not learned["ended"]:
        lines[0] += " until now"
    if used is None:
        lines.append("# this kernel does not tell which capabilities were used (Linux 6.14 does): keep your own")
    unknown = [name for name in learned["calls"] if " " in name]
    if unknown:
        lines.append(f"# libseccomp has no name for {', '.join(unknown)}: they are not listed")
    for key in ("cap_drop", "cap_add"):
        if key in found:
            names = ", ".join(f'"{name}"' for name in found[key])
            lines.append(f"{key}=[{names}],")
    lines.append("security_opt=[")
    for option in found["security_opt"]:
        pieces = _pieces(option)
        lines += [f"    {piece!r}" for piece in pieces[:-1]]
        lines.append(f"    {pieces[-1]!r},")
    return "\n".join([*lines, "],"])


def _and_capabilities(used: list[str] | None) -> str:
    if used is None:
        return ""
    return f" and {len(used)} {'capability' if len(used) == 1 else 'capabilities'}"


def _pieces(option: str) -> list[str]:
    """A long option in parts that fit a line, cut behind commas."""
    parts: list[str] = [""]
    for piece in option.split(","):
        grown = f"{parts[-1]}{piece},"
        if parts[-1] and len(grown) > _WIDTH:
            parts.append(f"{piece},")
        else:
            parts[-1] = grown
    parts[-1] = parts[-1].removesuffix(",")
    return parts
