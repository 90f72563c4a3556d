"""Compiled filters, tried on a fork of this process."""

from __future__ import annotations

import errno
import os

import pytest

from stackpy_runtime.linux import processes, seccomp
from stackpy_runtime.linux.libc import number, syscall
from stackpy_runtime.linux.seccomp import ACT_ALLOW, Rule, act_errno


def error_of(program: bytes, call: int) -> int:
    """The errno with which a system call fails under a filter that allows exit_group."""
    pid = os.fork()
    if not pid:
        import ctypes

        processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
        processes.install_filter(program)
        code = ctypes.get_errno() if syscall(call, 0, 0, 0, 0) < 0 else 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("newest", ["exit_group", "mseal"])
def test_calls_newer_than_a_profile_do_not_exist(newest: str) -> None:
    # EPERM would be an answer; a C library tries an older call where there is none.
    rules = [Rule("exit_group", ACT_ALLOW), Rule(newest, ACT_ALLOW)]
    program = seccomp.compile_filter(act_errno(errno.EPERM), rules)
    assert error_of(program, 1000) == errno.ENOSYS
    assert error_of(program, number("ioprio_set")) == (errno.ENOSYS if newest == "exit_group" else errno.EPERM)
    assert error_of(program, 0) == errno.EPERM


def test_another_default_is_for_all_calls() -> None:
    program = seccomp.compile_filter(act_errno(errno.ENXIO), [Rule("exit_group", ACT_ALLOW)])
    assert error_of(program, 1000) == errno.ENXIO
