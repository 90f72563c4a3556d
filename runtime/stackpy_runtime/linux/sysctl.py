"""Kernel settings under /proc/sys. Those below net/ are of the network namespace of the thread that writes."""

from __future__ import annotations

import os

from stackpy_runtime.linux.libc import failure


def read(name: str) -> str:
    """The value of `net/ipv4/ip_forward`, "" when this kernel has no such setting."""
    try:
        descriptor = os.open(f"/proc/sys/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, 4096).decode().strip()
    finally:
        os.close(descriptor)


def write_beneath(folder: str, values: tuple[tuple[str, str], ...]) -> None:
    """Sets several values of one folder, `net/ipv6/conf/default`; nothing happens when this kernel has no such folder.

    The folder is looked up once: with a thousand namespaces a thousand entries of the same name stand in one hash
    chain of the kernel's, for every part of a path.
    """
    try:
        above = os.open(f"/proc/sys/{folder}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for name, value in values:
            try:
                descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=above)
                try:
                    os.write(descriptor, value.encode())
                finally:
                    os.close(descriptor)
            except OSError as error:
                hint = "is /proc/sys mounted read-only?" if error.errno == 30 else ""
                raise failure(f"set sysctl {folder}/{name}={value}", error.errno, hint) from None
    finally:
        os.close(above)


def write(name: str, value: str, *, optional: bool = False) -> None:
    """Sets a value; `optional`: nothing happens when this kernel has no such setting. Raises KernelError."""
    try:
        descriptor = os.open(f"/proc/sys/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        if not optional:
            raise failure(f"set sysctl {name}={value}", 2) from None
    except OSError as error:
        hint = "is /proc/sys mounted read-only?" if error.errno == 30 else ""
        raise failure(f"set sysctl {name}={value}", error.errno, hint) from None
