"""Finding the program that a user means by a name, past version managers' shims and virtual environments."""

from __future__ import annotations

import os
import stat

from stackpy_runtime.errors import InvalidConfig

# Where an image looks for programs; also where we look last, whatever PATH says.
IMAGE_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_SHIM_TARGETS = frozenset({"volta-shim", "mise", "rtx", "asdf", "pyenv", "rbenv", "nodenv"})


def search_path() -> list[str]:
    """The folders of PATH, then those of the system."""
    given = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    return list(dict.fromkeys([*given, *IMAGE_PATH]))


def is_program(path: str) -> bool:
    """Whether `path` is a file that may be executed."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def is_shim(path: str) -> bool:
    """Whether a version manager stands behind `path`, which chooses the real program only when it is run."""
    folder = os.path.basename(os.path.dirname(path))
    return folder == "shims" or (os.path.islink(path) and os.path.basename(os.path.realpath(path)) in _SHIM_TARGETS)


def in_virtual_environment(path: str) -> bool:
    """Whether `path` is a program of a Python virtual environment (PEP 405)."""
    return os.path.exists(os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg"))


def find(name: str) -> str:
    """The absolute path of a program; what is only a shim or a virtual environment's comes last.

    Raises InvalidConfig for a name that is nowhere, with the nearest one.
    """
    if "/" in name:
        if not os.path.isabs(name):
            raise InvalidConfig(f"`{name}` is neither a program's name nor an absolute path")
        if not is_program(name):
            what = "is not an executable file" if os.path.exists(name) else "does not exist"
            raise InvalidConfig(f"`{name}` {what} on this host", hint=_near_path(name))
        return name
    found = [path for path in (f"{folder}/{name}" for folder in search_path()) if is_program(path)]
    if not found:
        raise InvalidConfig(f"there is no program `{name}` on this host", hint=_near(name))
    real = [path for path in found if not is_shim(path) and not in_virtual_environment(path)]
    if real and real[0] != found[0] and f"/usr/bin/{name}" in real:
        # What stands first is a stand-in, so nothing tells which of the others is meant: the distribution's.
        return f"/usr/bin/{name}"
    return (real or found)[0]


def _near(name: str) -> str:
    import difflib

    known: set[str] = set()
    for folder in search_path():
        try:
            known.update(os.listdir(folder))
        except OSError:
            continue
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f"did you mean `{near[0]}`?" if near else "install it on this host first, or give its absolute path"


def _near_path(path: str) -> str:
    import difflib

    folder, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, sorted(os.listdir(folder)), 1)
    except OSError:
        near = []
    return f"did you mean `{folder}/{near[0]}`?" if near else "give the path of a program"


def interpreter_of(path: str) -> list[str]:
    """The programs that the first line of a script asks for: the interpreter, and what `env` is to find."""
    with open(path, "rb") as file:
        first = file.readline(512)
    if not first.startswith(b"#!"):
        return []
    words = os.fsdecode(first[2:]).split()
    if not words or not words[0].startswith("/"):
        return []
    if os.path.basename(words[0]) != "env":
        return words[:1]
    rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return [words[0], *rest[:1]]
