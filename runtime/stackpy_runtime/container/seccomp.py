"""The default seccomp profile: what programs use is allowed, what only administers a host is not.

It admits what Docker's default profile admits, so images run unchanged, and is stricter where attacks have come from:
no io_uring, no AF_ALG and AF_VSOCK sockets, no userfaultfd. A call that nobody has listed fails with ENOSYS rather
than EPERM, so that C libraries fall back to the older call.
"""

from __future__ import annotations

import errno
import functools
import os
import threading

from stackpy_runtime.linux import seccomp
from stackpy_runtime.linux.processes import CAPABILITIES
from stackpy_runtime.linux.seccomp import ACT_ALLOW, CMP_EQ, CMP_LT, CMP_MASKED_EQ, Comparison, Rule, act_errno

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64
pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2
rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount listmount statx symlink
symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64
utimes vmsplice write writev cachestat
"""
_PROCESSES = """
alarm capget capset execve execveat exit exit_group fork getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage
getsid gettid getuid getuid32 get_robust_list get_thread_area ioprio_get ioprio_set kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self membarrier nanosleep pause pidfd_open pidfd_send_signal prctl
prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority
setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid
set_thread_area set_tid_address setuid setuid32 sigaltstack signalfd signalfd4 sigprocmask
sigreturn sysinfo tgkill times tkill ugetrlimit uname vfork wait4 waitid waitpid getcpu getrandom
restart_syscall arch_prctl modify_ldt map_shadow_stack uretprobe riscv_hwprobe
"""
_MEMORY = """
brk madvise memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync munlock munlockall
munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages mseal
"""
_TIME = """
adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 getitimer gettimeofday setitimer time timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64
"""
_CONVERSATION = """
accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 futex futex_time64 futex_requeue futex_wait futex_waitv futex_wake getpeername
getsockname getsockopt io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ipc
listen mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
msgctl msgget msgrcv msgsnd _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 recv recvfrom
recvmmsg recvmmsg_time64 recvmsg select semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto
setsockopt shmat shmctl shmdt shmget shutdown socketpair
"""
ALLOWED = " ".join((_FILES, _PROCESSES, _MEMORY, _TIME, _CONVERSATION)).split()

# What a capability opens, beside what the kernel itself asks it for.
BY_CAPABILITY = {
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
    "move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
    "lsm_get_self_attr lsm_list_modules lsm_set_self_attr umount umount2 unshare",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module init_module finit_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "iopl ioperm",
    "SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "SYS_TTY_CONFIG": "vhangup",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
}
# Known and refused to everybody: keyrings are not namespaced in full, the rest has been a way out of sandboxes.
REFUSED = (
    "add_key keyctl request_key kexec_file_load kexec_load userfaultfd io_uring_setup io_uring_enter io_uring_register "
    "nfsservctl swapon swapoff uselib ustat sysfs pciconfig_iobase pciconfig_read pciconfig_write move_pages "
    "migrate_pages pivot_root vm86 vm86old"
).split()

# CLONE_NEW* but CLONE_NEWTIME, which shares a bit with the exit signal
_NAMESPACE_FLAGS = 0x7E020000
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# Those of linux/socket.h that Docker lets programs open: not AF_ALG (38; CVE-2026-31431), AF_VSOCK (40), what has
# long lost its users (12, 19, 20, 23, 25, 34, 37), or what is not known yet.
_FAMILIES_BELOW, _FAMILIES = 12, (*range(13, 19), 21, 22, 24, *range(26, 34), 35, 36, 39, *range(41, 46))
_SOCKET_FAMILIES = (
    (Comparison(0, CMP_LT, _FAMILIES_BELOW),),
    *((Comparison(0, CMP_EQ, family),) for family in _FAMILIES),
)


def rules(capabilities: frozenset[str]) -> list[Rule]:
    """The rules for a container that holds these capabilities (names without CAP_)."""
    allowed = dict.fromkeys(ALLOWED)
    known: dict[str, None] = dict.fromkeys(REFUSED)
    for capability, names in BY_CAPABILITY.items():
        (allowed if capability in capabilities else known).update(dict.fromkeys(names.split()))
    refuse = act_errno(errno.EPERM)
    result = [Rule(name, ACT_ALLOW) for name in allowed]
    result += [Rule(name, refuse) for name in known if name not in allowed and name not in ("clone", "clone3")]
    result += [Rule("personality", ACT_ALLOW, (Comparison(0, CMP_EQ, value),)) for value in _PERSONALITIES]
    # Sockets of the others fail with the default, ENOSYS: an errno of their own collides with these inside libseccomp.
    # socketcall, by which 32-bit programs of old open them, passes the family by pointer: it is not allowed.
    result += [Rule("socket", ACT_ALLOW, comparisons) for comparisons in _SOCKET_FAMILIES]
    if "clone" not in allowed:
        result.append(Rule("clone", ACT_ALLOW, (Comparison(0, CMP_MASKED_EQ, _NAMESPACE_FLAGS, 0),)))
        # clone3 takes its flags by pointer, where a filter cannot look; glibc falls back to clone on ENOSYS.
        result.append(Rule("clone3", act_errno(errno.ENOSYS)))
    return result


@functools.lru_cache(maxsize=32)
def program(capabilities: frozenset[str], profile: str = "") -> bytes:
    """The compiled filter, once per process, set of capabilities and profile (JSON, "" for the default)."""
    unknown = capabilities - set(CAPABILITIES)
    assert not unknown, unknown
    if not profile:
        return seccomp.compile_filter(act_errno(errno.ENOSYS), rules(capabilities))
    from stackpy_runtime.container import seccomp_profile

    found = seccomp_profile.read(profile, capabilities, seccomp_profile.this_host())
    return seccomp.compile_filter(found.default, found.rules, found.architectures)


@functools.cache
def _policy() -> str:
    """What all of the policy is made of, so that a file of an older version of ours is none of this one's."""
    # 2: calls newer than a profile fail with ENOSYS.
    return repr((2, ALLOWED, BY_CAPABILITY, REFUSED, _SOCKET_FAMILIES, _PERSONALITIES, os.uname().release))


def written(folder: str, capabilities: frozenset[str], profile: str = "") -> str:
    """The path of a file in `folder` with the compiled filter; written when it is not there."""
    import hashlib

    key = hashlib.sha256(" ".join([_policy(), *sorted(capabilities), profile]).encode()).hexdigest()[:16]
    path = f"{folder}/seccomp-{key}"
    if not os.path.exists(path):
        aside = f"{path}.{threading.get_ident()}"
        with open(aside, "wb") as file:
            file.write(program(capabilities, profile))
        os.rename(aside, path)
    return path
