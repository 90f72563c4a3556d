"""`linux.seccomp` of a bundle as a compiled filter."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from stackpy_runtime.errors import InvalidConfig, Unsupported
from stackpy_runtime.linux import seccomp
from stackpy_runtime.linux.seccomp import Comparison, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.oci.fields import Fields
    from stackpy_runtime.oci.plan import Filter

ACTIONS = {**seccomp.ACTIONS, "SCMP_ACT_NOTIFY": seccomp.ACT_NOTIFY}
# As libseccomp names them (seccomp_arch_resolve_name(3)), in upper case behind SCMP_ARCH_.
ARCHITECTURES = (
    "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC "
    "PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
).split()
# include/uapi/linux/seccomp.h
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
NEW_LISTENER = 1 << 3


def _action(fields: Fields, key: str, number: int | None) -> int:
    found = fields.choice(key, ACTIONS)
    if found is None:
        raise InvalidConfig(f"{fields.where(key)} is missing")
    if found in (seccomp.act_errno(0), seccomp.ACT_TRACE):
        return found | (errno.EPERM if number is None else number)
    if number is not None:
        raise InvalidConfig(f"{fields.path}: an errno belongs to SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone")
    return found


def _comparisons(fields: Fields) -> list[tuple[Comparison, ...]]:
    """The conditions of rules: all of a tuple must hold. libseccomp takes one an argument, so several make rules."""
    found = []
    most = (1 << 64) - 1
    for each in fields.objects("args"):
        operator = each.choice("op", seccomp.OPERATORS)
        if operator is None:
            raise InvalidConfig(f"{each.where('op')} is missing")
        index = each.count("index", most=5)
        value, second = each.count("value", most=most), each.count("valueTwo", 0, most)
        found.append(Comparison(index, operator, value, second))
    if len({comparison.argument for comparison in found}) < len(found):
        return [(comparison,) for comparison in found]
    return [tuple(found)]


def compiled(fields: Fields, warn: Callable[[str], None]) -> Filter | None:
    """The filter; None when nothing is to be filtered."""
    if not fields.value:
        return None
    default = _action(fields, "defaultAction", fields.number("defaultErrnoRet", least=0, most=4095))
    architectures = []
    for name in fields.texts("architectures"):
        short = name.removeprefix("SCMP_ARCH_")
        if short not in ARCHITECTURES:
            raise Unsupported(f"{fields.where('architectures')}: `{name}` is not supported")
        architectures.append(short.lower())
    flags = 0
    for name in fields.texts("flags"):
        if name not in FLAGS:
            raise Unsupported(f"{fields.where('flags')}: `{name}` is not supported")
        flags |= FLAGS[name]
    rules = []
    notifies = default == seccomp.ACT_NOTIFY
    for each in fields.objects("syscalls"):
        names = each.texts("names")
        if not names:
            raise InvalidConfig(f"{each.where('names')} is empty")
        action = _action(each, "action", each.number("errnoRet", least=0, most=4095))
        if action == seccomp.ACT_NOTIFY:
            notifies = True
            if "sendmsg" in names:
                raise Unsupported(f"{each.path}: sendmsg is needed to tell the seccomp agent of the filter")
        rules += [Rule(name, action, conditions) for name in names for conditions in _comparisons(each)]
    listener, metadata = fields.text("listenerPath"), fields.text("listenerMetadata")
    if notifies and default == seccomp.ACT_NOTIFY:
        raise Unsupported(f"{fields.where('defaultAction')}: SCMP_ACT_NOTIFY is for single system calls")
    if notifies and not listener:
        raise InvalidConfig(f"{fields.where('listenerPath')} is needed with SCMP_ACT_NOTIFY")
    if listener and not listener.startswith("/"):
        raise InvalidConfig(f"{fields.where('listenerPath')}: `{listener}` is not absolute")
    if metadata and not listener:
        raise InvalidConfig(f"{fields.where('listenerMetadata')} is given without listenerPath")
    if default == seccomp.ACT_ALLOW and not rules:
        return None
    program = seccomp.compile_filter(default, rules, architectures)
    return {
        "program": program,
        "flags": flags | (NEW_LISTENER if notifies else 0),
        "listener": listener if notifies else "",
        "metadata": metadata,
    }
