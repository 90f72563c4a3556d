"""From a prepared sandbox to the program: standard streams, terminal, rights, execve. Shared by start and exec."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import array
import errno
import fcntl
import json
import os
import resource
import socket
import stat
import struct
import termios
from typing import TYPE_CHECKING, Any, NamedTuple

from stackpy_runtime.container import ulimits
from stackpy_runtime.errors import EngineError, InvalidConfig, KernelError
from stackpy_runtime.linux import files, mounts, notifications, processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.container import users
    from stackpy_runtime.container.plan import CapabilitySets, ProcessPlan

# docker run: 125 the engine failed, 126 the command cannot be invoked, 127 it cannot be found
ENGINE_FAILED, CANNOT_EXECUTE, NOT_FOUND = 125, 126, 127
LONGEST_MESSAGE = 1000  # characters of an error
USUAL_DESCRIPTORS = 1024  # the kernel's INR_OPEN_CUR, and what select(2) can bear

# include/uapi/asm-generic/ioctls.h; Python's termios lacks them
TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441


class ExecFailed(EngineError):
    """The program cannot be executed; `exit_code` is 126 or 127."""

    code = "process-failed"

    def __init__(self, message: str, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code

    def to_wire(self) -> dict[str, object]:
        """With the exit code."""
        return {**super().to_wire(), "exit_code": self.exit_code}


class Channel:
    """The forked process's line to whoever asked for it: a SOCK_SEQPACKET socket that execve closes.

    Messages are JSON: {"at": "standing"} with the network namespace, {"at": "root"} with the root file system,
    {"at": "terminal"} with the controlling side of it, {"at": "ready"}, {"error": {...}}. End of file without an error
    means that the program runs. What comes the other way, one byte, lets the process go on to execve.
    """

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def become(self, descriptor: int) -> None:
        """Goes on as the line of another descriptor."""
        self.socket.close()
        self.socket = socket.socket(fileno=descriptor)

    def descriptors(self) -> list[int]:
        """All that it needs until execve."""
        return [self.fileno()]

    def hand_on(self, listener: int) -> None:
        """Takes the listener of a filter that asks an agent; here no plan has one."""
        os.close(listener)

    def send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Sends a message with descriptors."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([json.dumps(message).encode()], ancillary)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The document that the other side sends in a memory file, and the descriptors after it; ends with it."""
        data, ancillary, _, _ = self.socket.recvmsg(64, socket.CMSG_SPACE(32), socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(ENGINE_FAILED)
        received = array.array("i")
        for _, _, raw in ancillary:
            received.frombytes(raw)
        memory, *descriptors = received
        with open(memory, "rb") as file:
            file.seek(0)
            return json.load(file), descriptors

    def wait(self) -> None:
        """Says that all is set and waits for the word to go on; the process ends when the other side has gone.

        The word comes only after this message: what lies unread in a socket at its end would cost us the report.
        """
        self.send({"at": "ready"})
        if not self.socket.recv(1):
            os._exit(ENGINE_FAILED)

    def fail(self, error: BaseException, subject: str = "") -> None:
        """Reports an error and ends the process with the exit code that Docker would give.

        subject: what it is about, where that is not the caller's mistake and the message names no name
        """
        if isinstance(error, OSError) and not isinstance(error, EngineError):
            where = f"`{error.filename}`: " if error.filename else ""
            error = EngineError(f"the sandbox cannot be made: {where}{(error.strerror or str(error)).lower()}")
        elif not isinstance(error, EngineError):
            error = EngineError(f"{type(error).__name__}: {error}")
        if isinstance(error, (KernelError, InvalidConfig)) or type(error) is EngineError:
            error.subject = error.subject or subject
        code = getattr(error, "exit_code", ENGINE_FAILED)
        message = error.message
        if len(message) > LONGEST_MESSAGE:
            # A message that the socket has no room for would be lost, and with it the reason, which stands at the end.
            error.message = f"{message[: LONGEST_MESSAGE // 2]} … {message[-LONGEST_MESSAGE // 2 :]}"
        try:
            self.send({"error": error.to_wire()})
        except OSError:
            # Nobody listens any more; the exit code still tells.
            pass
        os._exit(code)


class Ready(NamedTuple):
    """A process that is all set but for its last rights."""

    process: ProcessPlan
    identity: users.Identity
    environment: dict[str, str]
    filter: bytes
    program: int = -1  # descriptor of what to execute instead of the command, which it is given as arguments


def become(identity: users.Identity) -> None:
    """Takes on the identity's IDs; nobody with the same ones may look into the process until it executes.

    The kernel decides that anew at each change, and by fs.suid_dumpable, which may be 1 (commit_creds). Capabilities
    are kept for that moment: who has fewer cannot trace.
    """
    processes.prctl(processes.PR_SET_KEEPCAPS, 1)
    os.setgroups(identity.groups)
    os.setresgid(identity.group, identity.group, identity.group)
    os.setresuid(identity.user, identity.user, identity.user)
    processes.prctl(processes.PR_SET_DUMPABLE, 0)


def prepare_process(
    process: ProcessPlan,
    identity: users.Identity,
    stdio: list[int],
    console: int,
    channel: Channel,
    filter_: bytes = b"",
    *,
    with_console: bool = False,
    make_folder: bool = True,
) -> Ready:
    """Standard streams, terminal, working folder and environment, inside the container's root.

    make_folder: a working folder that is missing is made, as Docker does when a container starts, and not for an exec
    stdio: descriptors for 0, 1 and 2; -1 for stdin means the container's /dev/null. console: the controlling side of
    its terminal, or -1.
    """
    # What the interpreter has changed for itself must not be inherited through execve.
    # Not by `signal`, which makes enums of 60 numbers twice.
    for number in _signal.valid_signals():
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    os.umask(process.get("umask", 0o022))
    if console >= 0:
        if "size" in process:
            set_size(console, *process["size"])
        stdio = [_terminal(console, channel, identity, with_console=with_console)] * 3
    elif stdio[0] < 0:
        stdio = [_open_null(), *stdio[1:]]
    for position, descriptor in enumerate(stdio):
        if descriptor == position:
            os.set_inheritable(descriptor, True)
        else:
            os.dup2(descriptor, position)
    passed = 3 + process.get("descriptors", 0)
    close_others(passed, channel)
    processes.close_on_exec_from(passed)
    if not process.get("callers_limits"):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # The engine's own is raised; programs that close or poll all that they might have want the usual one.
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(USUAL_DESCRIPTORS, hard), hard))
    environment = dict(process["environment"])
    if not environment.get("HOME"):
        # An empty one as well, as runc does.
        environment["HOME"] = identity.home
    _change_folder(process["working_dir"], make=make_folder)
    if "apparmor" in process:
        _set_attribute("apparmor/exec", f"exec {process['apparmor']}", f"AppArmor profile `{process['apparmor']}`")
    if "label" in process:
        _set_attribute("exec", process["label"], f"SELinux label `{process['label']}`")
    return Ready(process, identity, environment, filter_)


def close_others(first: int, channel: Channel) -> None:
    """Closes the descriptors from `first` on, but those by which the process talks."""
    for keep in (*sorted(channel.descriptors()), processes.MOST_DESCRIPTORS):
        os.closerange(first, keep)
        first = max(first, keep + 1)


def _set_attribute(name: str, value: str, what: str) -> None:
    """Tells the security module what the program to come is; only to procfs itself (CVE-2019-16884, CVE-2025-52881)."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = files.open_in_root(root, f"proc/thread-self/attr/{name}", os.O_WRONLY)
        try:
            if files.file_system_type(descriptor) != files.PROC_SUPER_MAGIC:
                raise InvalidConfig("the container's /proc is not procfs: refused")
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        if isinstance(error, InvalidConfig):
            raise
        if error.errno == errno.ENOENT:
            raise InvalidConfig(f"{what} is not loaded", hint="`apparmor_parser --replace FILE` loads it") from None
        text = os.strerror(error.errno or 0).lower()
        raise InvalidConfig(f"{what} cannot be used: {text}", hint="does the loaded policy know it?") from None
    finally:
        os.close(root)


def _open_null() -> int:
    """The container's /dev/null; what a volume has put in its place is refused: a link there could be a magic one."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Not blocking: opening somebody's FIFO would wait for a writer.
        null = files.open_beneath(root, "dev/null", os.O_RDONLY | os.O_NONBLOCK)
        status = os.fstat(null)
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        raise InvalidConfig(f"the container's /dev/null cannot be used: {text}") from None
    finally:
        os.close(root)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise InvalidConfig("the container's /dev/null cannot be used: it is not the null device")
    os.set_blocking(null, True)
    return null


def _terminal(console: int, channel: Channel, identity: users.Identity, *, with_console: bool) -> int:
    """Makes the container's terminal the controlling one of this session; returns the side that programs use."""
    fcntl.ioctl(console, TIOCSPTLCK, b"\0\0\0\0")
    # TIOCGPTPEER opens the other side without a path, so nothing in the container can stand in for it.
    side = fcntl.ioctl(console, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    os.fchown(side, identity.user, -1)
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    if with_console:
        _mount_console(side)
    channel.send({"at": "terminal"}, (console,))
    os.close(console)
    return side


def set_size(terminal: int, rows: int, columns: int) -> None:
    """The size of a terminal; what runs on it gets SIGWINCH when it changes."""
    fcntl.ioctl(
        terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *(min(max(n, 0), 65535) for n in (rows, columns)), 0, 0)
    )


def _mount_console(side: int) -> None:
    """Shows the terminal as /dev/console by descriptor: no /dev/pts/N of an image can stand in (CVE-2025-52565)."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    device = files.open_beneath(root, "dev", os.O_PATH | os.O_DIRECTORY)
    try:
        try:
            os.close(os.open("console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o620, dir_fd=device))
        except FileExistsError:
            # A bundle's own /dev may hold one. It is covered, whatever it is; a link would be followed.
            if stat.S_ISLNK(os.stat("console", dir_fd=device, follow_symlinks=False).st_mode):
                raise InvalidConfig("the container's /dev/console is a link: refused") from None
        mount = mounts.open_tree(side, "")
        mounts.move_mount(mount, device, "console")
        os.close(mount)
    finally:
        os.close(device)
        os.close(root)


def _change_folder(path: str, *, make: bool) -> None:
    """Changes to the working folder; no magic link of /proc may lead there."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            folder = files.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
        except KernelError as error:
            if error.errno != errno.ENOENT or not make:
                raise
            folder = files.make_folders(root, path)
        os.fchdir(folder)
        os.close(folder)
        if not os.getcwd().startswith("/"):
            raise InvalidConfig(f"working folder {path} lies outside the container")
    except OSError as error:
        if isinstance(error, InvalidConfig):
            raise
        # ELOOP: a magic link of /proc, which could lead out of the container.
        text = (
            "it leads through a link of /proc" if error.errno == errno.ELOOP else os.strerror(error.errno or 0).lower()
        )
        raise InvalidConfig(f"working folder {path} cannot be used: {text}") from None
    finally:
        os.close(root)


def _sets(process: ProcessPlan, identity: users.Identity) -> CapabilitySets:
    """The capability sets that a process is to have: those of a plan that has one list are root's alone."""
    if "sets" in process:
        return process["sets"]
    names = process["capabilities"]
    held = names if identity.user == 0 else []
    return {"bounding": names, "permitted": held, "effective": held, "inheritable": [], "ambient": []}


def _install_filter(ready: Ready, channel: Channel) -> None:
    if ready.filter:
        # Before the other: what is refused is nothing that the program needs.
        listener = processes.install_filter(ready.filter, ready.process.get("filter_flags", 0))
        if listener:
            channel.hand_on(listener)
    if ready.process.get("learn"):
        notifications.ask_always()


def _restrict(ready: Ready, channel: Channel, last: Callable[[], None] | None) -> None:
    """Gives up every right that the plan does not grant."""
    process, identity = ready.process, ready.identity
    sets = _sets(process, identity)
    mask = processes.capability_mask
    sealed = not process.get("new_privileges")
    if sealed:
        processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
    processes.drop_bounding(mask(sets["bounding"]))
    if not sealed:
        # Without no_new_privs it takes CAP_SYS_ADMIN, so not later.
        _install_filter(ready, channel)
    # Still privileged inside the container until here: changing IDs needs SETUID and SETGID, which may not be granted.
    become(identity)
    processes.set_capabilities(mask(sets["effective"]), mask(sets["permitted"]), mask(sets["inheritable"]))
    processes.prctl(processes.PR_CAP_AMBIENT, processes.PR_CAP_AMBIENT_CLEAR_ALL)
    for name in sets["ambient"]:
        number = processes.CAPABILITIES.index(name)
        processes.prctl(processes.PR_CAP_AMBIENT, processes.PR_CAP_AMBIENT_RAISE, number)
    if last:
        last()
    if sealed:
        # As late as can be: a filter may refuse what was done until here.
        _install_filter(ready, channel)


def execute(ready: Ready, channel: Channel, last: Callable[[], None] | None = None) -> None:
    """Gives up every right that the plan does not grant and executes; reports why when that fails.

    last: done with the program's rights, before the system calls are filtered
    """
    process = ready.process
    _restrict(ready, channel, last)
    if ulimits_ := process.get("ulimits"):
        # The last: what was done up to here may need more than they allow.
        ulimits.set_own(ulimits_)
    vector = process["argv"]
    try:
        if ready.program >= 0:
            os.execve(ready.program, ["init", *vector], ready.environment)
        os.execvpe(vector[0], vector, ready.environment)
    except FileNotFoundError:
        near = "" if "/" not in vector[0] else "; its interpreter or loader may be missing"
        remedy = "options stand before the image" if vector[0].startswith("-") else "check the command and PATH"
        channel.fail(ExecFailed(f"`{vector[0]}` is not in the image{near}", NOT_FOUND, remedy))
    except OSError as error:
        text = os.strerror(error.errno or 0).lower()
        code = NOT_FOUND if error.errno == errno.ENOTDIR else CANNOT_EXECUTE
        channel.fail(ExecFailed(f"cannot execute `{vector[0]}`: {text}", code, what_forbids(error.errno or 0, process)))


def what_forbids(error: int, process: ProcessPlan) -> str:
    """What to do where execve fails with an errno; "" where the message says it all."""
    if error == errno.ENOEXEC:
        return "it is for another kind of machine (--platform), or a script without `#!`"
    if error in (errno.EPERM, errno.EACCES) and "label" in process:
        # security/selinux/hooks.c, check_nnp_nosuid
        nnp = "" if process.get("new_privileges") else ", and nnp_transition, or give `no-new-privileges:false` too"
        return f"SELinux: the policy must allow the transition to `{process['label']}`{nnp}"
    return ""
