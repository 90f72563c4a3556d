"""Compiles seccomp filters with libseccomp (seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3))."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import Unsupported
from stackpy_runtime.linux.libc import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

ACT_KILL_THREAD, ACT_TRAP, ACT_NOTIFY, ACT_TRACE, ACT_LOG, ACT_ALLOW, ACT_KILL_PROCESS = (
    0x00000000, 0x00030000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000, 0x80000000,
)  # fmt: skip
CMP_NE, CMP_LT, CMP_LE, CMP_EQ, CMP_GE, CMP_GT, CMP_MASKED_EQ = 1, 2, 3, 4, 5, 6, 7
_CTL_OPTIMIZE = 8
_ARCH_NATIVE, _ARCH_X86, _ARCH_X32 = 0, 0x40000003, 0x4000003E


# What a libseccomp of today's distributions does not know yet: numbers that all architectures share
# (include/uapi/asm-generic/unistd.h).
_NEWER = {
    "set_mempolicy_home_node": 450, "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454,
    "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464,
    "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
}  # fmt: skip
_X32 = 1 << 30  # __X32_SYSCALL_BIT
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def act_errno(number: int) -> int:
    """The action that makes a call fail with errno `number`."""
    return 0x00050000 | number


# As profiles and bundles name them (seccomp_rule_add(3)).
ACTIONS = {
    "SCMP_ACT_KILL": ACT_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": ACT_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": ACT_KILL_PROCESS,
    "SCMP_ACT_TRAP": ACT_TRAP,
    "SCMP_ACT_ERRNO": act_errno(0),
    "SCMP_ACT_TRACE": ACT_TRACE,
    "SCMP_ACT_ALLOW": ACT_ALLOW,
    "SCMP_ACT_LOG": ACT_LOG,
}
OPERATORS = {
    "SCMP_CMP_NE": CMP_NE,
    "SCMP_CMP_LT": CMP_LT,
    "SCMP_CMP_LE": CMP_LE,
    "SCMP_CMP_EQ": CMP_EQ,
    "SCMP_CMP_GE": CMP_GE,
    "SCMP_CMP_GT": CMP_GT,
    "SCMP_CMP_MASKED_EQ": CMP_MASKED_EQ,
}


class scmp_arg_cmp(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class Comparison(NamedTuple):
    """A condition on one argument: index, CMP_…, value and, for CMP_MASKED_EQ, what the masked argument must equal."""

    argument: int
    operator: int
    value: int
    other: int = 0


class Rule(NamedTuple):
    """An action for one system call, when all comparisons hold."""

    call: str
    action: int
    comparisons: tuple[Comparison, ...] = ()


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise Unsupported("libseccomp is missing", hint="apt-get install libseccomp2") from None
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def _usual_architectures() -> tuple[int, ...]:
    return (_ARCH_X86, _ARCH_X32) if os.uname().machine == "x86_64" else ()


def _numbers(library: ctypes.CDLL, names: Iterable[str]) -> list[int]:
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    result = []
    for name in names:
        number = int(library.seccomp_arch_resolve_name(name.encode()))
        if not number:
            raise Unsupported(f"this libseccomp does not know the architecture {name}")
        result.append(number)
    return result


def call_name(architecture: int, number: int) -> str:
    """The name of a system call as a filter sees it; "" for one that this libseccomp does not know."""
    library = _library()
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    found = library.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(architecture), ctypes.c_int(number))
    if not found:
        return ""
    name = ctypes.string_at(found).decode()
    libc.free(ctypes.c_void_p(found))
    return name


def compile_filter(default: int, rules: Iterable[Rule], architectures: Iterable[str] | None = None) -> bytes:
    """The filter as an array of struct sock_filter; names that nobody knows here are left out.

    Leaving one out is safe: an unknown call gets the default action. Where that is EPERM, calls newer than all that
    have rules fail with ENOSYS instead, as with runc: C libraries try older ones then.
    architectures: those besides this machine's own, as libseccomp names them; None: the usual ones
    """
    library = _library()
    newer: dict[int, int] = {}
    last = -1
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    if not context:
        raise Unsupported("libseccomp refused the default action")
    try:
        for extra in _usual_architectures() if architectures is None else _numbers(library, architectures):
            library.seccomp_arch_add(context, ctypes.c_uint32(extra))
        library.seccomp_attr_set(context, _CTL_OPTIMIZE, ctypes.c_uint32(2))
        for rule in rules:
            call = library.seccomp_syscall_resolve_name(rule.call.encode())
            last = max(last, _NEWER.get(rule.call, call))
            if call == -1 and rule.call in _NEWER and not rule.comparisons:
                newer[_NEWER[rule.call]] = rule.action
            if call == -1 or rule.action == default:
                continue
            array = (scmp_arg_cmp * max(1, len(rule.comparisons)))(
                *[scmp_arg_cmp(c.argument, c.operator, c.value, c.other) for c in rule.comparisons]
            )
            code = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(rule.action), call, len(rule.comparisons), array
            )
            # EDOM: the call does not exist on one of the architectures; libseccomp has then added it to the others.
            if code not in (0, -33):
                raise Unsupported(f"libseccomp refused the rule for {rule.call}: {os.strerror(-code).lower()}")
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            if code := library.seccomp_export_bpf(context, descriptor):
                raise Unsupported(f"libseccomp could not export the filter: {os.strerror(-code).lower()}")
            size = os.lseek(descriptor, 0, os.SEEK_END)
            known = last if default == act_errno(errno.EPERM) else -1
            return _before(os.pread(descriptor, size, 0), newer, known)
        finally:
            os.close(descriptor)
    finally:
        library.seccomp_release(context)


def _before(program: bytes, actions: dict[int, int], last: int) -> bytes:
    """A filter that first looks for calls of the machine's own architecture, by number.

    actions: of single ones; last: those above it fail with ENOSYS; -1 for none of that
    """
    native = _AUDIT_ARCH.get(os.uname().machine)
    if native is None or (not actions and last < 0):
        return program
    # linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, …JGE, …JGT, BPF_RET|BPF_K; struct seccomp_data:
    # nr, arch
    code = [(0x20, 0, 0, 0)]
    for number, action in actions.items():
        code += [(0x15, 0, 1, number), (0x06, 0, 0, action)]
    if last >= 0:
        code += [(0x35, 2, 0, _X32), (0x25, 0, 1, last), (0x06, 0, 0, act_errno(errno.ENOSYS))]
    code = [(0x20, 0, 0, 4), (0x15, 0, len(code), native), *code]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code) + program
