"""The systemd unit that brings containers back after a reboot: its name, what is in it, and whether it is there."""

from __future__ import annotations

import os
import sys

from stackpy.engines import SYSTEM_ROOT
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNITS = "etc/systemd/system"  # where an administrator's units are (systemd.unit(5))
WANTS = "multi-user.target.wants"
RUNS = "/run/systemd/system"  # there where systemd is PID 1 (sd_booted(3))


def name(root: str) -> str:
    """The unit of an engine root: each has its own."""
    if root == SYSTEM_ROOT:
        return "stackpy.service"
    import hashlib

    return f"stackpy-{hashlib.sha256(root.encode()).hexdigest()[:8]}.service"


def quoted(word: str) -> str:
    """One word of a command line in a unit (systemd.service(5), COMMAND LINES); StackpyError for a line break."""
    if "\n" in word or "\0" in word:
        raise StackpyError(f"`{word!r}` cannot stand in a unit of systemd", hint="a root whose path is one line")
    # Specifiers and variables mean themselves when doubled.
    plain = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    if any(letter in plain for letter in " \t\"';") or not plain:
        escaped = plain.replace('"', '\\"')
        return f'"{escaped}"'
    return plain


def path(text: str) -> str:
    """A path in a unit's other settings (systemd.syntax(7))."""
    plain = text.replace("\\", "\\\\").replace("%", "%%")
    return f'"{plain}"' if " " in plain or "\t" in plain else plain


def program() -> list[str]:
    """How this very stackpy is called: its script, or its module where there is none."""
    script = os.path.join(os.path.dirname(sys.executable), "stackpy")
    if os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "stackpy.cli.main"]


def text(root: str, called: list[str]) -> str:
    """The unit of an engine root. called: the argument vector that stands for `stackpy`"""
    from stackpy.cli import scaffolds

    line = " ".join(quoted(word) for word in [*called, "--root", root])
    values = {
        "unit": name(root),
        "described": root.replace("%", "%%"),
        "mounts": path(root),
        "start": f"{line} system start",
        "stop": f"{line} system stop",
    }
    ((content, _),) = scaffolds.files("systemd", values=values).values()
    return content


def places(root: str, destination: str) -> tuple[str, str]:
    """The unit's file and the link that enables it. destination: the folder that stands for /"""
    folder = os.path.join(destination or "/", UNITS)
    return os.path.join(folder, name(root)), os.path.join(folder, WANTS, name(root))


def install(root: str, destination: str, content: str) -> bool:
    """Writes and enables the unit; whether anything has changed. Raises StackpyError where it cannot be written."""
    file, link = places(root, destination)
    target = f"/{UNITS}/{name(root)}"
    try:
        if _read(file) == content and os.path.islink(link) and os.readlink(link) == target:
            return False
        os.makedirs(os.path.dirname(link), exist_ok=True)
        aside = f"{file}.new"
        with open(aside, "w", encoding="utf-8") as written:
            written.write(content)
        os.chmod(aside, 0o644)
        os.rename(aside, file)
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(target, link)
    except OSError as error:
        hint = "run it with sudo" if isinstance(error, PermissionError) else "--destdir DIR writes below another folder"
        raise StackpyError(f"cannot write `{error.filename or file}`: {error.strerror}", hint=hint) from error
    return True


def remove(root: str, destination: str) -> bool:
    """Removes the unit and its link, and no drop-ins of the user's; whether there was one. Raises StackpyError."""
    found = False
    for place in reversed(places(root, destination)):
        try:
            os.unlink(place)
            found = True
        except FileNotFoundError:
            continue
        except OSError as error:
            hint = "run it with sudo" if isinstance(error, PermissionError) else ""
            raise StackpyError(f"cannot remove `{place}`: {error.strerror}", hint=hint) from error
    return found


def drop_ins(root: str, destination: str) -> list[str]:
    """The user's own settings for the unit."""
    folder = f"{places(root, destination)[0]}.d"
    try:
        return sorted(os.path.join(folder, each) for each in os.listdir(folder) if each.endswith(".conf"))
    except OSError:
        return []


def finding(root: str) -> dict[str, Any]:
    """The line of `system check`."""
    file, link = places(root, "")
    there, remedy = _read(file), "stackpy system install"
    if there is None:
        ok, detail = False, "containers with a restart policy stay down after a reboot until the next command"
    elif not os.path.lexists(link):
        ok, detail, remedy = False, f"{name(root)} is there, but not enabled", f"systemctl enable {name(root)}"
    elif there != text(root, program()):
        ok, detail = False, f"{name(root)} is of another version or place of stackpy"
    else:
        more = len(drop_ins(root, ""))
        ok, detail = True, name(root) + (f" with {more} drop-in{'s' if more > 1 else ''}" if more else "")
    if not os.path.isdir("/etc/systemd") and not os.path.isdir("/usr/lib/systemd/system"):
        detail, remedy = "this host has no systemd: have `stackpy system start` run at its start", ""
    return {
        "name": "start with the host",
        "ok": ok,
        "required": False,
        "detail": detail,
        "remedy": "" if ok else remedy,
    }


def _read(file: str) -> str | None:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    except (OSError, ValueError):
        return None


def systemctl(*words: str) -> tuple[int, str]:
    """Runs systemctl; its exit code and what it says."""
    import subprocess

    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def runs_here() -> bool:
    """Whether systemd is in charge of this host."""
    return os.path.isdir(RUNS)
