"""A Python interpreter of the host with its standard library, so that `import ssl` works in the image."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from stackpy_runtime.errors import InvalidConfig

if TYPE_CHECKING:
    from stackpy_runtime.image.gathering import Tree

# Not needed to run programs: other people's packages, tests, what only a desktop can show, what only building an
# extension needs (a static library of 25 MB), and NIS, whose module alone brings all of Kerberos.
_LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "tkinter"})
_LEFT_OUT_BEGINNINGS = ("config-", "_tkinter.", "nis.")

_QUESTION = """
import sys
try:
    import _ssl
    bundle = _ssl.get_default_verify_paths()[1]
except ImportError:
    bundle = ""
print("\\n".join([getattr(sys, "_base_executable", "") or sys.executable, sys.implementation.cache_tag or "",
                 bundle, *sys.path]))
"""


class Interpreter(NamedTuple):
    """What an interpreter says of itself.

    executable: the real one, behind virtual environments
    cache_tag: of its compiled modules
    bundle: the file in which its OpenSSL looks for certificates, or ""
    path: folders and archives of the standard library
    """

    executable: str
    cache_tag: str
    bundle: str
    path: list[str]


def is_python(path: str) -> bool:
    """Whether a program is a Python interpreter, by its name."""
    name = os.path.basename(path)
    return name.startswith("python") and not name.removeprefix("python").strip("0123456789.dmt")


def ask(executable: str) -> Interpreter:
    """Asks an interpreter of the host; raises InvalidConfig when it cannot answer."""
    import subprocess

    # Isolated, without site: nothing of a user's or a project's is loaded.
    command = [executable, "-I", "-S", "-c", _QUESTION]
    # A version manager's shim finds its versions by HOME and PATH; the rest could change what Python says.
    kept = ("PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, cwd="/", stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidConfig(f"`{executable}` cannot be asked for its library: {str(error).lower()}") from None
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) < 4:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise InvalidConfig(f"`{executable}` cannot be asked for its library: {last}", hint="is it Python 3?")
    return Interpreter(lines[0], lines[1], lines[2], lines[3:])


def add_library(tree: Tree, interpreter: Interpreter) -> list[str]:
    """Adds the standard library to a tree; returns its extension modules, whose libraries are still to be found."""
    extensions: list[str] = []
    done: set[str] = set()
    for path in interpreter.path:
        if os.path.isfile(path):
            tree.add_if_there(path)
        elif os.path.isdir(path) and not any(path.startswith(f"{parent}/") for parent in done):
            real = tree.add(path)
            done.add(path)
            _walk(tree, real, interpreter.cache_tag, extensions)
    return extensions


def _walk(tree: Tree, folder: str, cache_tag: str, extensions: list[str]) -> None:
    tree.add(folder)
    for name in sorted(os.listdir(folder)):
        if name in _LEFT_OUT or name.startswith(_LEFT_OUT_BEGINNINGS):
            continue
        path = f"{folder}/{name}"
        if name == "__pycache__":
            _add_compiled(tree, path, cache_tag)
            continue
        mode = tree.look(path).st_mode
        if stat.S_ISDIR(mode):
            _walk(tree, path, cache_tag, extensions)
        elif tree.add_if_there(path) and ".so" in name:
            extensions.append(path)


def _add_compiled(tree: Tree, folder: str, cache_tag: str) -> None:
    """Compiled modules: without them a container would compile each module at every start."""
    if not cache_tag:
        return
    for name in os.listdir(folder):
        if name.endswith(f".{cache_tag}.pyc"):
            tree.add_if_there(f"{folder}/{name}")
