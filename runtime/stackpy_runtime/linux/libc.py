"""The C library and the one way in which a failed call becomes an error.

ctypes costs 3 ms to import and cffi 30; `CDLL(None)` needs no search for a library. Calls that glibc does not wrap go
through `syscall` with numbers that x86-64 and arm64 share from 424 on (include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import ctypes
import os

from stackpy_runtime.errors import Denied, EngineError, KernelError

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

Argument = int | bytes | str | None | ctypes.Structure

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000

# Older numbers differ by architecture; what is not listed is an architecture nobody has tried.
_NUMBERS = {
    "x86_64": {
        "pivot_root": 155,
        "seccomp": 317,
        "rt_sigaction": 13,
        "setresuid": 117,
        "keyctl": 250,
        "ioprio_set": 251,
        "sched_setattr": 314,
        "bpf": 321,
        "pidfd_getfd": 438,
    },
    "aarch64": {
        "pivot_root": 41,
        "seccomp": 277,
        "rt_sigaction": 134,
        "setresuid": 147,
        "keyctl": 219,
        "ioprio_set": 30,
        "sched_setattr": 274,
        "bpf": 280,
        "pidfd_getfd": 438,
    },
}


def number(name: str) -> int:
    """The number of an older system call on this architecture; EngineError where it is not known."""
    try:
        return _NUMBERS[os.uname().machine][name]
    except KeyError:
        raise EngineError(f"the architecture {os.uname().machine} is not supported") from None


def flag_names(value: int, names: dict[int, str]) -> str:
    """`MS_BIND|MS_REC` for a flag word; bits without a name in hexadecimal."""
    found = [name for bit, name in names.items() if value & bit == bit and bit]
    rest = value
    for bit in names:
        rest &= ~bit
    return "|".join(found + ([hex(rest)] if rest else [])) or "0"


def failure(operation: str, number: int | None = None, hint: str = "") -> EngineError:
    """The error for a call that has just failed; `operation` says what with which names and flags."""
    code = ctypes.get_errno() if number is None else number
    text = f"{operation}: {os.strerror(code).lower()}"
    error = KernelError(text, errno=code, hint=hint)
    if code == 1 and not hint and os.geteuid():
        return Denied(text, hint="run it with sudo")
    return error


def _convert(argument: Argument) -> object:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, str):
        return ctypes.c_char_p(os.fsencode(argument))
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    return ctypes.c_long(argument)


def syscall(number: int, *arguments: Argument) -> int:
    """A system call by number; -1 with errno set for ctypes.get_errno() when it fails."""
    return int(libc.syscall(ctypes.c_long(number), *[_convert(argument) for argument in arguments]))
