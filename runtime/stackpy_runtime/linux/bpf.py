"""The device filter of version 2 of control groups: a BPF program that says which devices may be used.

Version 2 has no files for devices; a program of type BPF_PROG_TYPE_CGROUP_DEVICE is asked instead
(Documentation/admin-guide/cgroup-v2.rst, "Device controller"; bpf(2)). Ours is assembled here: a comparison for each
rule, so that neither a compiler nor a library is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.linux.libc import failure, number, syscall

if TYPE_CHECKING:
    from collections.abc import Sequence

# enum bpf_cmd, bpf_prog_type, bpf_attach_type and flags (include/uapi/linux/bpf.h)
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 15, 6
_ALLOW_MULTI, _REPLACE = 2, 4
# BPF_DEVCG_DEV_… and BPF_DEVCG_ACC_…
KINDS = {"b": 1, "c": 2}
ACCESSES = {"m": 1, "r": 2, "w": 4}
_MOST_PROGRAMS = 64
# Instructions: class, size, mode and operation of each opcode (Documentation/bpf/standardization/instruction-set.rst)
_LOAD_WORD, _MOVE, _MOVE_NUMBER, _AND, _SHIFT_RIGHT, _JUMP_UNEQUAL, _EXIT = 0x61, 0xBC, 0xB4, 0x54, 0x74, 0x56, 0x95


class DeviceRule(NamedTuple):
    """Devices and what may be done with them.

    kind: c, b, or a for both; major, minor: None for all; access: of r, w and m
    """

    kind: str
    major: int | None
    minor: int | None
    access: str
    allow: bool = True


class _attr(ctypes.Structure):
    """union bpf_attr, as far as the calls here use it, as its largest form."""

    _fields_ = [("words", ctypes.c_byte * 128)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhI", code, target | source << 4, offset, value & 0xFFFFFFFF)


def device_program(rules: Sequence[DeviceRule]) -> bytes:
    """The program: the last rule that covers what is asked for decides; what none covers is refused.

    A rule covers a request when it names every kind of access that is asked for, as in version 1.
    """
    code = [
        # struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor → r2 kind, r3 access, r4 major, r5 minor
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_MOVE, 3, 2),
        _instruction(_AND, 2, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, 3, value=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed(rules):
        tests: list[tuple[int, int]] = []
        if rule.kind != "a":
            tests.append((2, KINDS[rule.kind]))
        tests += [(where, wanted) for where, wanted in ((4, rule.major), (5, rule.minor)) if wanted is not None]
        covered = sum(ACCESSES[letter] for letter in set(rule.access))
        every = covered == sum(ACCESSES.values())
        # Behind each test: the tests that follow, three instructions for the access, and the two of the answer.
        left = len(tests) + (0 if every else 3)
        for where, wanted in tests:
            left -= 1
            code.append(_instruction(_JUMP_UNEQUAL, where, offset=left + 2, value=wanted))
        if not every:
            code.append(_instruction(_MOVE, 1, 3))
            code.append(_instruction(_AND, 1, value=~covered))
            code.append(_instruction(_JUMP_UNEQUAL, 1, offset=2, value=0))
        code += [_instruction(_MOVE_NUMBER, 0, value=int(rule.allow)), _instruction(_EXIT)]
        if every and not tests:
            # What is never reached the kernel refuses to load.
            return b"".join(code)
    return b"".join([*code, _instruction(_MOVE_NUMBER, 0, value=0), _instruction(_EXIT)])


def _bpf(command: int, layout: str, *values: int) -> tuple[int, _attr]:
    """bpf(2) with an attribute block that `layout` (struct) describes; -1 when it fails."""
    block = _attr()
    packed = struct.pack(f"={layout}", *values)
    ctypes.memmove(block.words, packed, len(packed))
    return syscall(number("bpf"), command, block, ctypes.sizeof(block)), block


def _load(program: bytes) -> int:
    text, license_ = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"Apache-2.0")
    result, _ = _bpf(
        _PROG_LOAD, "IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(text), ctypes.addressof(license_)
    )
    if result < 0:
        raise failure("bpf BPF_PROG_LOAD of a device filter", hint=_hint(ctypes.get_errno()))
    return result


def _hint(code: int) -> str:
    if code in (errno.EINVAL, errno.ENOSYS):
        return "this kernel has no device filter for control groups (CONFIG_CGROUP_BPF)"
    return "loading BPF programs may be forbidden here" if code == errno.EPERM else ""


def _attached(group: int) -> list[int]:
    """IDs of the device filters of a group itself."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    result, block = _bpf(_PROG_QUERY, "IIIIQI", group, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS)
    if result < 0:
        raise failure("bpf BPF_PROG_QUERY")
    count = struct.unpack_from("=I", bytes(block.words), 24)[0]
    return list(ids[:count])


def filter_devices(folder: str, rules: Sequence[DeviceRule]) -> None:
    """Has the control group `folder` of version 2 allow these devices and no others, in place of what it allowed.

    Raises KernelError where the kernel has no such filter.
    """
    group = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    opened = [group]
    try:
        loaded = _load(device_program(rules))
        opened.append(loaded)
        # Several would all have to allow: what is there is exchanged in one step, so that at no moment there is none.
        before = []
        for identity in _attached(group):
            held, _ = _bpf(_PROG_GET_FD_BY_ID, "I", identity)
            if held >= 0:
                opened.append(held)
                before.append(held)
        flags, replaced = (_ALLOW_MULTI | _REPLACE, before[0]) if before else (_ALLOW_MULTI, 0)
        result, _ = _bpf(_PROG_ATTACH, "IIIII", group, loaded, _CGROUP_DEVICE, flags, replaced)
        if result < 0:
            raise failure(f"bpf BPF_PROG_ATTACH {folder}", hint=_hint(ctypes.get_errno()))
        for other in before[1:]:
            _bpf(_PROG_DETACH, "III", group, other, _CGROUP_DEVICE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
