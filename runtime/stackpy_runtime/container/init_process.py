"""`init`: a first process that reaps what others leave behind and passes signals on to the container's own.

It is a program of its own, some 400 bytes of machine code, executed from memory: the interpreter would cost each
container megabytes and leave the engine's code within reach of whoever is root in there, and a host's `tini` is on few
hosts and links to a C library that an image need not have. Nothing of it lies in the container's file system. What the
container runs is forked before it is executed, as process 2 where no hook has run before it, so that a command that is
not there is told as ever.

The program, in C; it is started with every signal blocked (as tini does it), so that none is lost:

    prctl(PR_SET_NAME, "init");
    for (;;) {
        int signal = rt_sigtimedwait(&all, &info, NULL, 8);
        if (signal < 0 && signal != -EINTR) exit_group(125);
        if (signal > 0 && signal != SIGCHLD) kill(child, signal);
        while (signal == SIGCHLD && (pid = wait4(-1, &status, WNOHANG, NULL)) > 0)
            if (pid == child) exit_group(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct

from stackpy_runtime.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.execution import Ready

_CHILD = 2
_NAME = b"init\0"
# Assembled by GNU as; where the child's number stands is `44332211`.
_CODE = {
    "x86_64": """
        bf0f000000 488d359c000000 b89d000000 0f05                   mov edi, PR_SET_NAME; lea rsi, name; prctl
        4881ec90000000 48838c2480000000ff                           sub rsp, 144; or qword [rsp+128], -1
        488dbc2480000000 4889e6 31d2 41ba08000000                   wait: lea rdi, [rsp+128]; mov rsi, rsp; 0; 8
        b880000000 0f05 85c0 7f0c                                   rt_sigtimedwait; jg got
        83f8fc 74dd bf7d000000 eb54                                 cmp eax, -EINTR; je wait; mov edi, 125; jmp exit
        83f811 7410                                                 got: cmp eax, SIGCHLD; je reap
        89c6 bf44332211 b83e000000 0f05 ebc1                        mov esi, eax; mov edi, child; kill; jmp wait
        48c7c7ffffffff 4889e6 ba01000000 4531d2                     reap: mov rdi, -1; mov rsi, rsp; WNOHANG; 0
        b83d000000 0f05 85c0 7ea4                                   wait4; jle wait
        3d44332211 75dc                                             cmp eax, child; jne reap
        8b3c24 89f8 83e07f 750b                                     mov edi, [rsp]; and eax, 0x7f; jnz signaled
        c1ef08 81e7ff000000 eb06                                    shr edi, 8; and edi, 0xff; jmp exit
        8db880000000                                                signaled: lea edi, [rax+128]
        b8e7000000 0f05                                             exit: exit_group
    """,
    "aarch64": """
        e00180d2 a1050010 e81480d2 010000d4                         mov x0, PR_SET_NAME; adr x1, name; prctl
        ff4302d1 00008092 e04300f9                                  sub sp, sp, 144; str -1, [sp, 128]
        e0030291 e1030091 020080d2 030180d2                         wait: add x0, sp, 128; mov x1, sp; 0; 8
        281180d2 010000d4 1f000071 ac000054                         rt_sigtimedwait; b.gt got
        1f100031 e0feff54 a00f80d2 19000014                         cmn w0, EINTR; b.eq wait; mov x0, 125; b exit
        1f440071 c0000054                                           got: cmp w0, SIGCHLD; b.eq reap
        e103002a e0020018 281080d2 010000d4 eeffff17                mov w1, w0; ldr w0, child; kill; b wait
        00008092 e1030091 220080d2 030080d2                         reap: mov x0, -1; mov x1, sp; WNOHANG; 0
        882080d2 010000d4 1f000071 cdfcff54                         wait4; b.le wait
        61010018 1f00016b c1feff54                                  ldr w1, child; cmp w0, w1; b.ne reap
        e00340b9 01180072 61000054                                  ldr w0, [sp]; ands w1, w0, 0x7f; b.ne signaled
        003c0853 02000014                                           ubfx w0, w0, 8, 8; b exit
        20000211                                                    signaled: add w0, w1, 128
        c80b80d2 010000d4                                           exit: exit_group
        44332211                                                    child: .word
    """,
}
_MACHINES = {"x86_64": 62, "aarch64": 183}  # include/uapi/linux/elf-em.h
_BASE = 0x400000


def code(machine: str, child: int) -> bytes:
    """The instructions, for a child with this number; raises Unsupported."""
    if machine not in _CODE:
        raise Unsupported(f"init: there is none for the architecture {machine}", hint="have one in the image")
    text = "".join(line[:68] for line in _CODE[machine].splitlines()).replace(" ", "")
    return bytes.fromhex(text).replace(b"\x44\x33\x22\x11", struct.pack("<I", child)) + _NAME


def program(machine: str, child: int) -> bytes:
    """An ELF file (elf(5)) with one part, which can be read and executed, and a stack that cannot be executed."""
    body = code(machine, child)
    headers = 64 + 2 * 56
    size = headers + len(body)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = struct.pack(
        "<HHIQQQIHHHHHH", 2, _MACHINES[machine], 1, _BASE + headers, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )  # ET_EXEC
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)  # PT_LOAD, R and X
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK, R and W
    return identity + head + load + stack + body


def beneath(ready: Ready) -> Ready:
    """Forks what the container runs; returns, in either process, what that one is to execute."""
    machine = os.uname().machine
    code(machine, _CHILD)  # where there is none, before anything is forked
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    executed, waiting = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        # Nothing of the container may run beside a process that still is one of ours (CVE-2016-9962): the other end is
        # closed when that one executes.
        os.close(waiting)
        os.read(executed, 1)
        os.close(executed)
        # A group of its own in the foreground: what is typed on the terminal reaches it, and not init as well.
        os.setpgid(0, 0)
        try:
            os.tcsetpgrp(0, os.getpid())
        except OSError:
            # Its standard input is no terminal.
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        return ready
    file = program(machine, child)
    descriptor = os.memfd_create("init", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, file)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return ready._replace(program=descriptor)
